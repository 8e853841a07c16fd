//! How long an address is without answers when its master goes, what that breaks, and how long two masters answer: Ferrolev, and
//! keepalived in the same place.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use lb_user::net::link;

use super::report::{Better, Cell, Column, Effort, Figure, Sink};
use crate::lab::{
    Asker, Connections, Daemon, DaemonConfig, Keepalived, Load, Mac, Namespace, Network, Shape, VIP4,
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(60);
const ASKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
/// Clients that make one new connection after the other.
const CLIENTS: usize = 4;

/// A master that goes, several times.
#[derive(Clone, Debug)]
struct Round {
    who: &'static str,
    /// Between two adverts, in milliseconds.
    interval_ms: u32,
    event: Event,
    /// From the event to the first answer of the next master, in milliseconds, for each time.
    takeover_ms: Vec<f64>,
    /// From the last answer of the one to the first of the next.
    silence_ms: Vec<f64>,
    /// From the first answer of the next master to the last of the one before; 0: never two.
    two_masters_ms: Vec<f64>,
    /// Connections that were held, and those of them that are broken, all times together; none for keepalived, which balances
    /// nothing.
    held: usize,
    broken: usize,
    /// New connections that clients made all the while, and those of them that failed.
    requests: usize,
    failed: usize,
    /// How long the slowest of them took that did not fail: a lost packet costs a second until it is sent again.
    slowest_ms: f64,
    /// What the RFC says, for a backup of priority 100: master-down time, or skew when the master says that it leaves.
    rfc_ms: f64,
}

/// How a master goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// `ferrolev vrrp failover`.
    Failover,
    /// SIGTERM.
    Terminated,
    /// SIGKILL.
    Killed,
}

impl Event {
    const ALL: &[Self] = &[Self::Failover, Self::Terminated, Self::Killed];
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failover => "failover",
            Self::Terminated => "SIGTERM",
            Self::Killed => "kill -9",
        })
    }
}

const METHOD: &str = "Two hosts, one address by VRRP, three backends; a client asks for the address's owner all the while, holds \
    connections, and makes new ones. \"takeover\": from the event to the first answer of the next master; \"silence\": without any \
    answer; \"two masters\": while both answer. keepalived runs in the same place, beside nothing. RFC is what RFC 9568 says for a \
    backup of priority 100: master-down time, or skew when the master says that it leaves.\n\n\
    What is not fair: keepalived balances nothing, so it has no connections to break.";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    intervals_ms: &'static [u32],
    times: usize,
    held: usize,
    /// After a takeover, for what is on its way to fail.
    settle: Duration,
    /// How long a master has to stay.
    busy: Duration,
}

/// Measures masters that go in several ways, with several intervals.
///
/// # Errors
/// When a program does not start, or nobody takes over.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    type Take = fn(u32, Event, Plan) -> Result<Round>;
    const ROUNDS: [(Event, Take); 5] = [
        (Event::Failover, ferrolev),
        (Event::Terminated, ferrolev),
        (Event::Terminated, keepalived),
        (Event::Killed, ferrolev),
        (Event::Killed, keepalived),
    ];
    let plan = effort.pick(
        Plan {
            intervals_ms: &[100],
            times: 1,
            held: 200,
            settle: Duration::from_secs(1),
            busy: Duration::ZERO,
        },
        Plan {
            intervals_ms: &[10, 100, 1000],
            times: 5,
            held: 1_000,
            settle: Duration::from_secs(2),
            busy: Duration::from_secs(30),
        },
    );
    sink.section("failover", "When a master goes", METHOD)?;
    let connections = ["held: broken", "new: failed", "slowest new"].map(|name| Column::wide(name, 14));
    let times = ["takeover", "RFC", "silence", "two masters"].map(Column::from);
    let columns = [Column::wide("who, interval, event", 30)].into_iter().chain(times).chain(connections);
    sink.table("Takeovers", columns)?;
    // An order and a death; what a master does at its end lies between them.
    let events = effort.pick(&[Event::Failover, Event::Killed][..], Event::ALL);
    for interval_ms in plan.intervals_ms {
        for (event, take) in ROUNDS.into_iter().filter(|(event, _)| events.contains(event)) {
            take(*interval_ms, event, plan)?.tell(sink)?;
        }
    }
    if effort.is_quick() {
        return Ok(());
    }
    sink.table(
        "Masters that stay, while more threads than there are cores are busy",
        [Column::wide("who, interval", 30), "seconds".into(), Column::wide("changes of the master", 22)],
    )?;
    for interval_ms in plan.intervals_ms {
        for (who, stay) in [("ferrolev", ferrolev_stays as fn(_, _) -> _), ("keepalived", keepalived_stays)] {
            let changes: usize = stay(*interval_ms, plan)?;
            let changes = Figure::once(changes as f64, "", Better::Lower).expecting(0.0);
            let seconds = Cell::number(plan.busy.as_secs_f64(), "s");
            sink.row(&format!("{who}, {interval_ms} ms"), [seconds, changes.into()])?;
        }
    }
    Ok(())
}

/// Every core has two threads that want it, for so long; gives back how often another master was heard meanwhile.
fn changes_while_busy(asker: &Asker, first: Mac, busy: Duration) -> Result<usize> {
    wait_for(asker, first)?;
    asker.forget();
    let until = Instant::now() + busy;
    let threads = 2 * std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < until {
                    std::hint::spin_loop()
                }
            });
        }
    });
    asker.check()?;
    Ok(asker.owners().len().saturating_sub(1))
}

fn ferrolev_stays(interval_ms: u32, plan: Plan) -> Result<usize> {
    let (network, macs) = network()?;
    let _daemons = ferrolevs(&network, interval_ms)?;
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    changes_while_busy(&asker, macs[0], plan.busy)
}

fn keepalived_stays(interval_ms: u32, plan: Plan) -> Result<usize> {
    let (network, macs) = network()?;
    let _daemons = [keepalived_at(&network, 0, interval_ms)?, keepalived_at(&network, 1, interval_ms)?];
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    changes_while_busy(&asker, macs[0], plan.busy)
}

/// RFC 9568 6.1, for priority 100.
fn rfc_ms(interval_ms: u32, event: Event) -> f64 {
    let interval = f64::from(interval_ms);
    let skew = 156.0 / 256.0 * interval;
    if event == Event::Killed { 3.0 * interval + skew } else { skew }
}

fn network() -> Result<(Network, [Mac; 2])> {
    let network = Network::new(Shape { balancers: 2, backends: 3 })?;
    network.router.ip(&format!("route replace {VIP4}/32 dev br0\n"))?;
    let mac = |namespace: &Namespace| namespace.inside(|| Ok(link::mac("eth0")?));
    let macs = [mac(&network.balancers[0])?, mac(&network.balancers[1])?];
    Ok((network, macs))
}

fn wait_for(asker: &Asker, mac: Mac) -> Result<()> {
    wait_until("the right master", PATIENCE, || {
        asker.check()?;
        ensure!(asker.last() == Some(mac), "{:x?} answers", asker.last());
        Ok(())
    })
}

fn config(network: &Network, priority: u8, interval_ms: u32) -> DaemonConfig {
    let names: Vec<&str> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    let backends = network
        .backends
        .iter()
        .fold(DaemonConfig::default(), |config, backend| config.backend(&backend.name, backend.address4));
    backends.vip("web", VIP4, 80, "tcp", &names).vip_line(&format!(
        "announce = \"arp\"\n\n[[vrrp.router]]\nname = \"edge\"\ninterface = \"eth0\"\nrouter_id = 51\n\
         addresses = [\"{VIP4}\"]\npriority = {priority}\ninterval = \"{interval_ms}ms\"\n"
    ))
}

/// The priorities of the two hosts.
const PRIORITIES: [u8; 2] = [150, 100];

fn ferrolevs(network: &Network, interval_ms: u32) -> Result<[Daemon; 2]> {
    let start = |number: usize| {
        let config = config(network, PRIORITIES[number], interval_ms);
        Daemon::start(&network.lab, &network.balancers[number], &format!("lb{number}"), &config, &[])
    };
    Ok([start(0)?, start(1)?])
}

fn keepalived_at(network: &Network, number: usize, interval_ms: u32) -> Result<Keepalived> {
    let instance = format!(
        "vrrp_instance it {{\nstate BACKUP\ninterface eth0\nvirtual_router_id 51\npriority {}\n\
         version 3\nadvert_int {}\nvirtual_ipaddress {{\n{VIP4}/32\n}}\n}}\n",
        PRIORITIES[number],
        f64::from(interval_ms) / 1000.0
    );
    Keepalived::start(&network.lab, &network.balancers[number], &format!("kd{number}"), &instance)
}

fn ferrolev(interval_ms: u32, event: Event, plan: Plan) -> Result<Round> {
    let (network, macs) = network()?;
    let mut daemons = ferrolevs(&network, interval_ms)?;
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    let mut round = Round::new("ferrolev", interval_ms, event);
    let server = SocketAddr::from((VIP4, 80));
    for _ in 0..plan.times {
        wait_for(&asker, macs[0])?;
        let mut held = Connections::open(&network.client, server, plan.held)?;
        let load = Load::start(&network.client, &[server], CLIENTS)?;
        sleep(plan.settle);
        asker.forget();
        let at = Instant::now();
        match event {
            Event::Failover => _ = daemons[0].cli(["vrrp", "failover"]).with_context(|| daemons[0].log())?,
            Event::Terminated => daemons[0].terminate()?,
            Event::Killed => daemons[0].kill()?,
        }
        wait_for(&asker, macs[1]).with_context(|| daemons[1].log())?;
        sleep(plan.settle);
        round.note(&asker, macs, at)?;
        let report = load.stop()?;
        round.requests += report.attempts.len();
        round.failed += report.failures().len();
        round.slowest_ms = round.slowest_ms.max(report.slowest().as_secs_f64() * 1000.0);
        round.held += plan.held;
        round.broken += held.broken();
        match event {
            // The next round waits for it; where adverts are fast and the host is busy, it may have gone back by itself.
            Event::Failover => _ = daemons[1].try_cli(["vrrp", "failover"])?,
            Event::Terminated | Event::Killed => daemons[0].restart()?,
        }
    }
    Ok(round)
}

fn keepalived(interval_ms: u32, event: Event, plan: Plan) -> Result<Round> {
    let (network, macs) = network()?;
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    let mut round = Round::new("keepalived", interval_ms, event);
    let _backup = keepalived_at(&network, 1, interval_ms)?;
    for _ in 0..plan.times {
        let mut master = keepalived_at(&network, 0, interval_ms)?;
        wait_for(&asker, macs[0]).with_context(|| master.log())?;
        sleep(plan.settle);
        asker.forget();
        let at = Instant::now();
        match event {
            Event::Killed => master.kill()?,
            Event::Failover | Event::Terminated => master.terminate()?,
        }
        wait_until("keepalived to take over", PATIENCE, || {
            ensure!(asker.answers().iter().any(|(_, mac)| *mac == macs[1]), "only the master answers");
            Ok(())
        })?;
        sleep(plan.settle);
        round.note(&asker, macs, at)?;
        // A killed one leaves its address behind.
        network.balancers[0].ip(&format!("addr flush dev eth0 to {VIP4}/32\n"))?;
    }
    Ok(round)
}

impl Round {
    fn new(who: &'static str, interval_ms: u32, event: Event) -> Self {
        Self {
            who,
            interval_ms,
            event,
            takeover_ms: Vec::new(),
            silence_ms: Vec::new(),
            two_masters_ms: Vec::new(),
            held: 0,
            broken: 0,
            requests: 0,
            failed: 0,
            slowest_ms: 0.0,
            rfc_ms: rfc_ms(interval_ms, event),
        }
    }

    fn tell(&self, sink: &mut Sink) -> Result<()> {
        let figure = |samples: &[f64]| Figure::of(samples, "ms", Better::Lower);
        let is_ferrolev = self.requests > 0;
        let two_masters = figure(&self.two_masters_ms);
        let broken = format!("{}: {}", self.held, self.broken);
        let failed = format!("{}: {}", self.requests, self.failed);
        let cells = [
            figure(&self.takeover_ms).into(),
            Cell::number(self.rfc_ms.round(), "ms"),
            figure(&self.silence_ms).into(),
            two_masters.map(|figure| if is_ferrolev { figure.expecting(0.0) } else { figure }).into(),
        ];
        let connections = if is_ferrolev {
            let slowest = Figure::once(self.slowest_ms, "ms", Better::Lower);
            [broken.into(), failed.into(), slowest.into()]
        } else {
            [Cell::none(), Cell::none(), Cell::none()]
        };
        let name = format!("{}, {} ms, {}", self.who, self.interval_ms, self.event);
        sink.row(&name, cells.into_iter().chain(connections))
    }

    /// Books what was heard since the event.
    fn note(&mut self, asker: &Asker, [old, new]: [Mac; 2], event: Instant) -> Result<()> {
        let answers = asker.answers();
        let first = answers.iter().find(|(_, mac)| *mac == new).map(|(at, _)| *at);
        let first = first.ok_or_else(|| anyhow!("the next master never answered"))?;
        let last = answers.iter().rev().find(|(_, mac)| *mac == old).map_or(event, |(at, _)| *at);
        let ms = |span: Duration| span.as_secs_f64() * 1000.0;
        self.takeover_ms.push(ms(first.saturating_duration_since(event)));
        self.silence_ms.push(ms(first.saturating_duration_since(last)));
        self.two_masters_ms.push(ms(last.saturating_duration_since(first)));
        Ok(())
    }
}
