//! Runs the checks: a task for each target, so that one that waits for its time to be over delays no other, all of them on a
//! thread of their own, so that nothing else delays them and they delay nothing.
//!
//! What a probe has led to goes into [`Standings`], where it is kept for those who look; the receivers are woken only when
//! something follows from it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::lanes::{Keep, Lanes};
use super::lateness::Lateness;
use super::look_around::{address, look_around, way_is_known};
use super::probe::{Failure, Kept, Peer, Probe, Report};
use super::standing::{Standing, Standings};
use super::{Around, Diagnosis, Event, Machine, Spec, State, Target, Ways, diagnose};

/// Targets that may wait to be asked at once.
const HURRY_LEN: usize = 1024;

/// What is to be checked, and how.
pub type Wanted = BTreeMap<Target, Spec>;

/// The ends of the task that others hold. Checks end when `wanted` is dropped.
#[derive(Debug)]
pub struct Checker {
    pub wanted: watch::Sender<Wanted>,
    pub standings: watch::Receiver<Standings>,
    pub lateness: Arc<Lateness>,
    /// Targets that are to be asked at once, whenever their time would be.
    pub hurry: mpsc::Sender<Target>,
}

/// Whether targets were healthy when an earlier daemon ended.
pub type Known = BTreeMap<Target, bool>;

/// Starts the thread that runs checks, in the network namespace of the calling thread, each from the state that is `known`.
/// `ways`: the addresses of those through tunnels.
///
/// # Errors
/// When this host has no thread or no timers for it.
pub fn spawn(known: Known, ways: watch::Receiver<Ways>) -> io::Result<Checker> {
    let (wanted, asked) = watch::channel(Wanted::new());
    let (sender, standings) = watch::channel(Standings::new());
    let lateness = Arc::new(Lateness::default());
    let host = Host { standings: sender, ways, lanes: Lanes::new(), lateness: lateness.clone() };
    let (hurry, hurried) = mpsc::channel(HURRY_LEN);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("health".to_owned()).spawn(move || {
        runtime.block_on(supervise(asked, hurried, host, known));
        // A file system that does not answer holds nobody up.
        runtime.shutdown_background();
    })?;
    Ok(Checker { wanted, standings, lateness, hurry })
}

/// What all checks share.
#[derive(Clone)]
struct Host {
    standings: watch::Sender<Standings>,
    ways: watch::Receiver<Ways>,
    lanes: Lanes,
    lateness: Arc<Lateness>,
}

/// Begins and ends checks as they are wanted. What has not changed goes on undisturbed, and a check that runs otherwise from now
/// on begins with the state that is known.
async fn supervise(
    mut wanted: watch::Receiver<Wanted>,
    mut hurried: mpsc::Receiver<Target>,
    host: Host,
    mut known: Known,
) {
    let mut running: BTreeMap<Target, Running> = BTreeMap::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        running.retain(|target, check| now.get(target) == Some(&check.spec));
        host.standings.send_if_modified(|standings| {
            let before = standings.len();
            standings.retain(|target, _| now.contains_key(target));
            before != standings.len()
        });
        for (target, spec) in now {
            if running.contains_key(&target) {
                continue;
            }
            let mut standing = host.standings.borrow().get(&target).cloned();
            standing = standing.or_else(|| known.remove(&target).map(Standing::known));
            let machine = Machine::new(spec.rhythm.clone(), standing.as_ref().map(Standing::state));
            let mut standing = standing.unwrap_or_default();
            standing.begin(&machine, SystemTime::now());
            host.standings.send_modify(|standings| {
                standings.insert(target.clone(), standing);
            });
            let hurry = Arc::new(Notify::new());
            let check = Check {
                target: target.clone(),
                spec: spec.clone(),
                machine,
                host: host.clone(),
                hurry: hurry.clone(),
            };
            let task = tokio::spawn(check.run()).abort_handle();
            running.insert(target, Running { spec, hurry, task });
        }
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(target) = hurried.recv() => {
                    running.get(&target).inspect(|check| check.hurry.notify_one());
                }
            }
        }
    }
}

/// A check's task, which ends with it.
struct Running {
    spec: Spec,
    hurry: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Check {
    target: Target,
    spec: Spec,
    machine: Machine,
    host: Host,
    /// The backend is to be asked now.
    hurry: Arc<Notify>,
}

/// What a target keeps from one probe to the next.
#[derive(Default)]
struct Between {
    kept: Kept,
    keep: Option<Keep>,
    /// Whom the last probe asked.
    at: Option<SocketAddr>,
    /// The last probe ran into its timeout.
    was_slow: bool,
}

impl Check {
    async fn run(mut self) {
        way_is_known(&self.target, &mut self.host.ways).await;
        let random = RandomState::new();
        let jitter = |count: u64| random.hash_one(count) as u16;
        let mut between = Between::default();
        let mut next = self.machine.first(Instant::now(), jitter(0));
        for count in 1.. {
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.hurry.notified() => next = Instant::now(),
            }
            // A backend that fails is looked at from all sides at once, so that it is known at the end why.
            let is_doubtful = self.machine.progress().0 > 0 || self.machine.state() == State::Unhealthy;
            let ((report, began), around) = if is_doubtful {
                tokio::join!(self.ask(&mut between, next), self.look_around())
            } else {
                (self.ask(&mut between, next).await, None)
            };
            let failure = report.result.as_ref().err().cloned();
            let event = Event { outcome: self.spec.outcome(&report), began, jitter: jitter(count) };
            let actions = self.machine.on_event(event, Instant::now());
            let meaning = failure.as_ref().and_then(|failure| self.diagnose(failure, around.as_ref()));
            self.tell(report, actions.changed_from, meaning);
            if let Some(failure) = failure.filter(|_| self.target.way.is_some() && !is_doubtful) {
                let around = self.look_around().await;
                self.explain(self.diagnose(&failure, around.as_ref()), actions.changed_from);
            }
            next = actions.next;
        }
    }

    /// One probe, in a place of its own that is free again at its end, and when it began. `due`: when it was to begin.
    async fn ask(&self, between: &mut Between, due: Instant) -> (Report, Instant) {
        let address = match address(&self.target, &self.host.ways) {
            Ok(address) => address,
            Err(failure) => {
                return (Report { result: Err(failure), took: Duration::ZERO }, Instant::now());
            }
        };
        let at = SocketAddr::new(address, self.target.port);
        if between.at.replace(at).is_some_and(|before| before != at) {
            between.kept.close();
        }
        let _place = self.host.lanes.enter(self.spec.probe.is_command(), between.was_slow).await;
        let began = Instant::now();
        self.host.lateness.note(began.saturating_duration_since(due));
        let peer = Peer { at, origin: &self.spec.origin };
        let report = self.spec.probe.run(peer, &mut between.kept, self.spec.timeout).await;
        let keep = between.keep.take();
        if between.kept.has_connection() {
            between.keep = keep.or_else(|| self.host.lanes.keep());
        }
        if between.keep.is_none() {
            between.kept.close();
        }
        between.was_slow = matches!(report.result, Err(Failure::TimedOut { .. }));
        (report, began)
    }

    async fn look_around(&self) -> Option<Around> {
        look_around(&self.target, &self.spec, &self.host.ways, &self.host.lanes).await
    }

    /// `None` too when it takes a look around that nobody has taken yet.
    fn diagnose(&self, failure: &Failure, around: Option<&Around>) -> Option<Diagnosis> {
        if self.target.way.is_some() && around.is_none() {
            return None;
        }
        let connects = match &self.spec.probe {
            // It is on this host, whatever it says of the backend.
            Probe::File(_) => return None,
            // What a command has heard that asks directly, nobody knows.
            Probe::Exec(_) if self.target.way.is_none() => true,
            probe => probe.connects(),
        };
        diagnose(failure, around, connects)
    }

    /// Adds to what was told what it means.
    fn explain(&self, diagnosis: Option<Diagnosis>, changed_from: Option<State>) {
        let Some(meaning) = diagnosis else { return };
        if changed_from.is_some() {
            let Target { check, address, port, .. } = &self.target;
            warn!(check, %address, port, diagnosis = %meaning, "why the backend is unhealthy");
        }
        self.host.standings.send_if_modified(|standings| {
            let Some(standing) = standings.get_mut(&self.target) else { return false };
            standing.explain(diagnosis);
            false
        });
    }

    fn tell(&self, report: Report, changed_from: Option<State>, diagnosis: Option<Diagnosis>) {
        let Target { check, address, port, .. } = &self.target;
        let meaning = diagnosis.map(tracing::field::display);
        let (state, took) = (self.machine.state(), report.took);
        match (&report.result, changed_from) {
            (Ok(_), Some(_)) => info!(check, %address, port, ?took, "backend is healthy"),
            (Err(reason), Some(_)) => {
                warn!(check, %address, port, %reason, diagnosis = meaning, "backend is unhealthy");
            }
            (Ok(_), None) => {}
            (Err(reason), None) => debug!(check, %address, port, %reason, "check failed"),
        }
        let progress = self.machine.progress();
        self.host.standings.send_if_modified(|standings| {
            // A check that is not wanted any more says nothing.
            let Some(standing) = standings.get_mut(&self.target) else { return false };
            let outcome = self.spec.outcome(&report);
            let wakes = standing.take_in(report, outcome, state, progress, SystemTime::now());
            standing.explain(diagnosis);
            wakes
        });
    }
}

#[cfg(test)]
mod tests;
