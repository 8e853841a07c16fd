//! The controller task: takes commands, next hops and retries one at a time and hands them to the engine.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lb_vrrp::gate::Flows;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, block_in_place, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep, sleep_until, timeout_at};
use tracing::{error, warn};

use super::candidate::Candidate;
use super::elections::{Elections, OtherNodes};
use super::engine::{Engine, Refused};
use super::events::News;
use super::handle::{Command, ControllerHandle};
use super::under_way::{self, Done, UnderWay};
use super::{health, health_view, silence, view};
use crate::announce::Announcer;
use crate::api::types::{AddressStatus, ChangeResult};
use crate::dataplane::{ChangesWanted, Dataplane};
use crate::health::Checker;
use crate::net::{HostFacts, Resolver};
use crate::state::{NextHops, Unresolved};
use crate::tunnel_probes;

/// Next hops change in bursts; so long the rest of a burst is waited for.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// How long a start or a change waits for the next hops of its backends.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// How often the remembered flows are counted while there are any.
const TICK: Duration = Duration::from_secs(1);
/// Commands that may queue; more wait at the sender.
const QUEUE_LEN: usize = 64;

/// Starts the controller on the present (multi-threaded) runtime. The task gives the engine back when it was stopped.
#[must_use]
pub fn spawn<D: Dataplane + 'static>(
    engine: Engine<D>,
    resolver: Resolver,
    announcer: Announcer,
    facts: watch::Receiver<HostFacts>,
    checker: Checker,
    tunnels: watch::Sender<tunnel_probes::Wanted>,
    nodes: OtherNodes,
) -> (ControllerHandle, JoinHandle<Engine<D>>) {
    let (sender, commands) = mpsc::channel(QUEUE_LEN);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = tokio::time::interval(silence::WINDOW);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let task = Task {
        engine,
        resolver,
        announcer,
        facts,
        checker,
        tunnels,
        copies: nodes.peers.flows.clone(),
        elections: Elections::new(nodes),
        checker_lives: true,
        news: News::default(),
        resolver_lives: true,
        facts_live: true,
        retry: Retry::default(),
        ticks,
        looks,
        under_way: None,
        waiting: VecDeque::new(),
    };
    (ControllerHandle::new(sender), tokio::spawn(task.run(commands)))
}

struct Task<D> {
    engine: Engine<D>,
    resolver: Resolver,
    announcer: Announcer,
    facts: watch::Receiver<HostFacts>,
    checker: Checker,
    /// Wants the ways of checks.
    tunnels: watch::Sender<tunnel_probes::Wanted>,
    elections: Elections,
    /// How copies of other nodes' flows compare.
    copies: watch::Receiver<Flows>,
    checker_lives: bool,
    /// What checks have said that hooks were told.
    news: News,
    resolver_lives: bool,
    facts_live: bool,
    retry: Retry,
    ticks: Interval,
    /// When counters are looked at for backends that answer nobody.
    looks: Interval,
    under_way: Option<UnderWay>,
    /// Changes that came meanwhile.
    waiting: VecDeque<Command>,
}

impl<D: Dataplane> Task<D> {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Engine<D> {
        self.want(BTreeSet::new());
        loop {
            self.retry.plan(self.engine.needs_retry());
            self.announce();
            self.lead_through_tunnels();
            self.elections.tell(&self.engine, &self.checker.standings.borrow());
            if self.under_way.is_none()
                && let Some(command) = self.waiting.pop_front()
            {
                if matches!(command, Command::Stop) {
                    return self.engine;
                }
                self.handle(command).await;
                continue;
            }
            tokio::select! {
                command = commands.recv() => match command {
                    None => return self.engine,
                    Some(command) if self.under_way.is_some() && command.changes() => {
                        self.waiting.push_back(command);
                    }
                    Some(Command::Stop) => return self.engine,
                    Some(command) => self.handle(command).await,
                },
                done = under_way::done(&mut self.under_way) => self.go_on(done).await,
                changed = self.resolver.hops.changed(), if self.resolver_lives => match changed {
                    Ok(()) => {
                        sleep(DEBOUNCE).await;
                        self.refresh();
                    }
                    Err(_) => {
                        error!("next hops are not watched any more; restart the daemon");
                        self.resolver_lives = false;
                    }
                },
                changed = self.checker.standings.changed(), if self.checker_lives => match changed {
                    Ok(()) => {
                        sleep(DEBOUNCE).await;
                        self.follow_health();
                    }
                    Err(_) => {
                        error!("backends are not checked any more; restart the daemon");
                        self.checker_lives = false;
                    }
                },
                changed = self.facts.changed(), if self.facts_live => match changed {
                    Ok(()) => self.follow_links(),
                    Err(_) => self.facts_live = false,
                },
                () = until(self.engine.next_due()) => {
                    block_in_place(|| self.engine.advance(SystemTime::now()));
                }
                () = self.elections.due() => {}
                Ok(()) = self.copies.changed() => {}
                () = self.retry.due() => block_in_place(|| self.engine.retry()),
                _ = self.looks.tick() => {
                    let hurry = block_in_place(|| self.engine.look_for_silence(SystemTime::now()));
                    // Where so many wait, the next look comes soon enough.
                    hurry.into_iter().for_each(|target| drop(self.checker.hurry.try_send(target)));
                }
                _ = self.ticks.tick(), if self.engine.needs_tick() => block_in_place(|| self.engine.tick()),
            }
        }
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Status(reply) => {
                let mut status = block_in_place(|| self.engine.status());
                status.addresses = self.addresses();
                answer(reply, status);
            }
            Command::Vip(name, reply) => answer(reply, block_in_place(|| self.engine.vip(&name))),
            Command::Access(options, reply) => match self.engine.access(&options) {
                // Nobody waits for the task: whoever asked gets the answer from there.
                Ok(job) => drop(spawn_blocking(move || answer(reply, job.run()))),
                Err(refused) => answer(reply, Err(refused)),
            },
            Command::Flows(options, buckets, reply) => {
                answer(reply, block_in_place(|| self.engine.flow_dump(&options, buckets)));
            }
            Command::FlowCounts(options, reply) => {
                answer(reply, block_in_place(|| self.engine.flow_counts(&options)));
            }
            Command::ImportFlows(dump, reply) => {
                answer(reply, block_in_place(|| self.engine.import_flows(&dump)));
            }
            Command::Stats(reply) => answer(reply, block_in_place(|| self.engine.stats())),
            Command::Config(reply) => answer(reply, self.engine.config_show()),
            Command::Journal(reply) => answer(reply, block_in_place(|| self.engine.journal())),
            Command::Metrics(reply) => {
                let mut snapshot = block_in_place(|| self.engine.metrics());
                snapshot.addresses = self.addresses();
                snapshot.checks = health_view::samples(&self.checker.standings.borrow());
                snapshot.check_delays = self.checker.lateness.tally();
                snapshot.vrrp = Some(self.elections.status(&self.engine));
                snapshot.peers = self.elections.peers(&self.engine);
                answer(reply, snapshot);
            }
            Command::Health(vip, reply) => {
                let standings = self.checker.standings.borrow().clone();
                answer(reply, self.engine.health(vip.as_deref(), &standings));
            }
            Command::Vrrp(name, reply) => answer(reply, self.elections.show(&self.engine, name)),
            Command::Peers(reply) => answer(reply, self.elections.peers(&self.engine)),
            Command::Fitness(reply) => answer(reply, self.elections.fitness(&self.engine)),
            Command::VrrpOrder { order, caller, reply } => {
                self.elections.order(&self.engine, order, caller, reply);
            }
            Command::Addresses(reply) => answer(reply, self.addresses()),
            Command::Explain(flow, reply) => answer(reply, block_in_place(|| self.engine.explain(&flow))),
            Command::Change { change, caller, dry_run, reply } => {
                let result = match self.engine.prepare_change(&change, &caller) {
                    Ok(candidate) => self.carry_out(candidate, dry_run).await,
                    Err(refused) => Err(refused),
                };
                match &result {
                    Ok(done) => tracing::info!(
                        user = caller.user,
                        pid = caller.pid,
                        dry_run,
                        ?change,
                        vips_changed = done.vips.len(),
                        "change"
                    ),
                    Err(refused) => {
                        warn!(user = caller.user, pid = caller.pid, dry_run, ?change, error = %refused, "change refused")
                    }
                }
                answer(reply, result);
            }
            Command::Reload { dry_run, reply } => {
                self.under_way = Some(UnderWay::read(dry_run, reply, self.engine.reader()));
            }
            Command::Copied(reply) => answer(reply, self.engine.copied()),
            Command::Changes { mut told, of, most, most_opened, reply } => {
                let wanted = ChangesWanted { addresses: &of, most, most_opened };
                let changes = block_in_place(|| self.engine.changes(&mut told, wanted));
                answer(reply, changes.map(|changes| (told, changes)));
            }
            Command::FollowRings(rings, reply) => {
                block_in_place(|| self.engine.follow_rings(rings));
                self.want(BTreeSet::new());
                answer(reply, ());
            }
            Command::FollowFlows(records, reply) => {
                answer(reply, block_in_place(|| self.engine.follow_flows(records)));
            }
            Command::FollowHealth(healths, reply) => {
                block_in_place(|| self.engine.take_healths(healths));
                answer(reply, ());
            }
            Command::Own(mine, reply) => {
                self.engine.own(mine);
                answer(reply, ());
            }
            Command::ForgetCopies(reply) => {
                self.engine.forget_copies();
                answer(reply, ());
            }
            Command::Stop => {}
        }
    }

    /// Takes the next step of what is under way.
    async fn go_on(&mut self, done: Done) {
        let Some(under_way) = self.under_way.take() else { return };
        let dry_run = under_way.dry_run;
        let (result, reply) = match done {
            Done::Read(Ok(config)) => {
                let candidate = block_in_place(|| self.engine.prepare_reload(*config));
                let job =
                    if dry_run { Ok(None) } else { block_in_place(|| self.engine.prepare_lists(&candidate)) };
                match job {
                    Ok(Some(job)) => {
                        self.under_way = Some(under_way.load(candidate, job));
                        return;
                    }
                    Ok(None) => (self.carry_out(candidate, dry_run).await, under_way.reply),
                    Err(refused) => (Err(refused), under_way.reply),
                }
            }
            Done::Loaded(Ok(())) => match under_way.into_candidate() {
                (Some(candidate), reply) => (self.carry_out(candidate, dry_run).await, reply),
                (None, reply) => (Err(Refused::Stopped), reply),
            },
            Done::Read(Err(refused)) | Done::Loaded(Err(refused)) => (Err(refused), under_way.reply),
        };
        if !dry_run {
            self.engine.abandon_lists();
            self.engine.reload_ended(result.as_ref());
        }
        answer(reply, result);
    }

    /// Says what is to be announced: the addresses of what the kernel forwards.
    fn announce(&self) {
        let wanted = Some(self.engine.announced());
        self.announcer.wanted.send_if_modified(|before| {
            let modified = *before != wanted;
            *before = wanted;
            modified
        });
    }

    /// Says which ways checks take through tunnels.
    fn lead_through_tunnels(&self) {
        let wanted = self.engine.tunnel_ways();
        self.tunnels.send_if_modified(|before| {
            let modified = *before != wanted;
            *before = wanted;
            modified
        });
    }

    fn addresses(&self) -> Vec<AddressStatus> {
        view::addresses(&self.announcer.reports.borrow())
    }

    async fn carry_out(&mut self, candidate: Candidate, dry_run: bool) -> Result<ChangeResult, Refused> {
        if dry_run {
            return Ok(self.engine.preview(&candidate));
        }
        // New backends need their next hops before the ring that names them is published.
        let wanted = candidate.wanted();
        if !wanted.is_subset(&self.engine.wanted()) {
            self.want(wanted.clone());
            self.wait_for_answers(&wanted).await;
        }
        let result = block_in_place(|| self.engine.commit(candidate));
        self.want(BTreeSet::new());
        result
    }

    /// Waits, within bounds, until there is an answer for all of `wanted`; what runs is kept up to date meanwhile.
    async fn wait_for_answers(&mut self, wanted: &BTreeSet<IpAddr>) {
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let answered = all_answered(&self.refresh(), wanted);
            if answered || !matches!(timeout_at(deadline, self.resolver.hops.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Hands the present next hops to the engine, and gives back which.
    fn refresh(&mut self) -> NextHops {
        let hops = self.resolver.hops.borrow_and_update().clone();
        block_in_place(|| self.engine.refresh(hops.clone()));
        hops
    }

    /// Tells the engine what links there are now.
    fn follow_links(&mut self) {
        let links = self.facts.borrow_and_update().links.clone();
        block_in_place(|| self.engine.follow_links(links));
    }

    /// Hands to the engine what the checks say now.
    fn follow_health(&mut self) {
        let (verdicts, changes) = {
            let standings = self.checker.standings.borrow_and_update();
            (health::verdicts(&standings), self.news.take(&standings))
        };
        self.engine.tell(&changes);
        block_in_place(|| self.engine.follow_health(verdicts));
    }

    /// Asks for the checks of the engine, and for the next hops that it and `more` need.
    fn want(&self, more: BTreeSet<IpAddr>) {
        let checks = self.engine.checks();
        self.checker.wanted.send_if_modified(|before| {
            let modified = *before != checks;
            *before = checks;
            modified
        });
        let mut wanted = self.engine.wanted();
        wanted.extend(more);
        self.resolver.wanted.send_if_modified(|before| {
            let modified = *before != wanted;
            *before = wanted;
            modified
        });
    }
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // The one who asked may have gone; what was done stays done.
    let _ = reply.send(value);
}

/// Sleeps until a time on the wall; for a minute at most, since that clock may be set.
async fn until(due: Option<SystemTime>) {
    const MOST: Duration = Duration::from_secs(60);
    match due {
        Some(due) => sleep(due.duration_since(SystemTime::now()).unwrap_or_default().min(MOST)).await,
        None => std::future::pending().await,
    }
}

/// Whether nothing about `wanted` is open any more.
pub(super) fn all_answered(hops: &NextHops, wanted: &BTreeSet<IpAddr>) -> bool {
    wanted.iter().all(|address| match hops.get(address) {
        None => false,
        Some(answer) => !answer.as_ref().is_err_and(Unresolved::is_open),
    })
}

/// Exponential back-off.
#[derive(Debug, Default)]
struct Retry {
    next: Option<(Instant, Duration)>,
}

impl Retry {
    /// Called after every event: sets the next attempt, or forgets about it when none is needed.
    fn plan(&mut self, needed: bool) {
        self.next = match self.next {
            _ if !needed => None,
            None => Some((Instant::now() + RETRY_FIRST, RETRY_FIRST)),
            Some((at, pause)) if at <= Instant::now() => {
                let pause = (pause * 2).min(RETRY_LAST);
                Some((Instant::now() + pause, pause))
            }
            waiting => waiting,
        };
    }

    async fn due(&self) {
        match self.next {
            Some((at, _)) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
