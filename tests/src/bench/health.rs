//! Checks of backends: whether thousands of them begin in time while some targets do not answer, and how long a backend that
//! dies still gets new flows.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_user::health::probe::{Origin, Probe, TcpProbe};
use lb_user::health::{Checker, Known, LATENESS_BOUNDS_MS, Rhythm, Spec, State, Target, Wanted, Ways};
use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::report::{Better, Cell, Column, Effort, Figure, Sink};
use crate::lab::{
    Backend, Daemon, DaemonConfig, Lab, Load, Namespace, Network, Shape, VIP4, run, wait_until,
};

const METHOD: &str = "Ten thousand TCP checks a second by the daemon's checker: servers on loopback, and addresses that never \
    answer. \"late\" is how long after its time a check began, as an upper bound.\n\n\
    Deaths: one of three backends under 32 clients that make new connections, with the default rhythm of checks; the time from \
    the death to the begin of the last request that failed, or was answered by it all the same. The bound is interval x fall \
    + timeout.\n\n\
    What is not fair: the servers that are checked run on the same cores.";

/// What a backend dies of.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// To its web server.
    Signal(Signal),
    /// What nftables does with connections to its port.
    Filter(&'static str),
    /// Its answer to checks is 503 `FAILED`.
    Answer,
    /// Nothing takes the tunnel's header off there.
    Tunnel,
    /// The vip's address is gone there.
    Address,
}

impl Fault {
    fn strike(self, lab: &Lab, backend: &mut Backend) -> Result<()> {
        match self {
            Self::Signal(signal) => backend.signal_nginx(signal),
            Self::Filter(verdict) => {
                let rules = format!(
                    "add table inet bench\n\
                     add chain inet bench input {{ type filter hook input priority 0; }}\n\
                     add rule inet bench input tcp dport 80 {verdict}\n"
                );
                run(backend.namespace.command("nft")?.arg(rules)).map(drop)
            }
            Self::Answer => backend.set_active(lab, false),
            Self::Tunnel => backend.kill_decap(),
            Self::Address => backend.namespace.ip(&format!("addr del {VIP4}/32 dev lo\n")),
        }
    }

    /// What the check needs that finds it.
    const fn check(self) -> &'static str {
        match self {
            Self::Signal(_) | Self::Filter(_) => "",
            Self::Answer => "path = \"/role\"",
            Self::Tunnel | Self::Address => "via = \"tunnel\"",
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: &'static [u32],
    seconds: u64,
    faults: usize,
    deaths: usize,
    /// Before a death.
    settle: Duration,
}

const TARGETS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_millis(900);
const PORT: u16 = 7000;

const FAULTS: [(&str, Fault); 7] = [
    ("filtered: packets are dropped", Fault::Filter("drop")),
    ("killed: connections are refused", Fault::Signal(Signal::SIGKILL)),
    ("stopped: connections are taken, and not answered", Fault::Signal(Signal::SIGSTOP)),
    ("filtered: connections are reset", Fault::Filter("reject with tcp reset")),
    ("answers checks with 503", Fault::Answer),
    ("takes no tunnels any more, check through the tunnel", Fault::Tunnel),
    ("has lost the vip's address, check through the tunnel", Fault::Address),
];

/// Measures checks of which some never end, and backends that die.
///
/// # Errors
/// When a program does not start, the kernel refuses, or a target is taken for something that it is not.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    const ALL: &[u32] = &[0, TARGETS / 10, TARGETS / 2];
    let plan = effort.pick(
        Plan { rounds: &ALL[1..2], seconds: 4, faults: 1, deaths: 1, settle: Duration::from_secs(3) },
        Plan { rounds: ALL, seconds: 60, faults: FAULTS.len(), deaths: 5, settle: Duration::from_secs(7) },
    );
    sink.section("health", "Checks of backends", METHOD)?;
    let late = ["late p50", "late p99", "late p99.9"].map(|name| Column::wide(name, 10));
    let columns = [Column::wide("targets that never answer", 25), Column::wide("checks/s", 8)].into_iter();
    let columns = columns.chain(late).chain(["of a core", "open files", "KiB a target"].map(Into::into));
    sink.table(&format!("{TARGETS} checks a second"), columns)?;
    for black_holed in plan.rounds {
        round(*black_holed, plan.seconds, sink)?;
    }
    sink.table("A backend that dies", [Column::wide("how", 50), "last new flow there".into()])?;
    for (how, fault) in FAULTS.into_iter().take(plan.faults) {
        death(how, fault, plan, sink)?;
    }
    Ok(())
}

/// Checks [`TARGETS`] once a second: servers on loopback, and addresses behind a link on which nobody takes packets.
fn round(black_holed: u32, seconds: u64, sink: &mut Sink) -> Result<()> {
    let lab = Lab::new()?;
    let namespace = lab.namespace("checks")?;
    namespace.ip("link add v0 type veth peer name v1\n\
         link set v0 up\n\
         link set v1 up\n\
         addr add 10.98.0.1/24 dev v0\n\
         neigh add 10.98.0.2 lladdr 02:00:00:00:00:99 dev v0 nud permanent\n\
         route add 10.99.0.0/16 via 10.98.0.2 dev v0\n")?;
    serve(&namespace)?;
    let before = memory_kib();
    let (_, ways) = watch::channel(Ways::new());
    let mut checker: Checker = namespace.inside(|| Ok(lb_user::health::spawn(Known::new(), ways)?))?;
    let wanted: Wanted = (0..TARGETS).map(|number| (target(number, black_holed), spec())).collect();
    checker.wanted.send_replace(wanted);
    // The first round, and as many as make a target unhealthy.
    sleep(INTERVAL * 5);
    let (late_before, busy_before, began) = (checker.lateness.tally().counts, busy(), Instant::now());
    let mut files = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        files = files.max(std::fs::read_dir("/proc/self/fd")?.count());
        sleep(Duration::from_millis(200));
    }
    let (late_after, busy_after, elapsed) = (checker.lateness.tally().counts, busy(), began.elapsed());
    let counts: Vec<u64> = late_after.iter().zip(late_before).map(|(after, before)| after - before).collect();
    let (memory, standings) = (memory_kib(), checker.standings.borrow_and_update().clone());
    for number in 0..TARGETS {
        let target = target(number, black_holed);
        let state = standings[&target].state();
        let expected = if number < black_holed { State::Unhealthy } else { State::Healthy };
        ensure!(state == expected, "{target:?} is {state:?}: {:?}", standings[&target].last);
    }
    let rate = counts.iter().sum::<u64>() as f64 / elapsed.as_secs_f64();
    let late =
        [0.5, 0.99, 0.999].map(|part| Figure::once(percentile(&counts, part) as f64, "ms", Better::Lower));
    let busy_percent = (busy_after - busy_before) * 100.0 / elapsed.as_secs_f64();
    // Beyond that before the round.
    let kib = memory.saturating_sub(before) as f64 / f64::from(TARGETS);
    let cells = [
        Cell::number(rate.round(), ""),
        late[0].clone().into(),
        late[1].clone().into(),
        late[2].clone().into(),
        Figure::once(busy_percent.round(), "%", Better::Lower).into(),
        // The servers' own among them.
        Cell::number(files as f64, ""),
        Figure::once(kib, "", Better::Lower).into(),
    ];
    sink.row(&black_holed.to_string(), cells)
}

/// The first ones are black-holed.
fn target(number: u32, black_holed: u32) -> Target {
    let [_, _, high, low] = number.to_be_bytes();
    let address = if number < black_holed { [10, 99, high, low] } else { [127, 1, high, low.max(1)] };
    // Addresses may be there twice, names not.
    Target {
        check: format!("check-{number}"),
        address: Ipv4Addr::from(address).into(),
        port: PORT,
        way: None,
    }
}

fn spec() -> Spec {
    let rhythm =
        Rhythm { interval: INTERVAL, fast_interval: INTERVAL, down_interval: INTERVAL, ..Rhythm::default() };
    Spec {
        probe: Probe::Tcp(TcpProbe::default()),
        origin: Origin::default(),
        rhythm,
        timeout: TIMEOUT,
        beside: false,
    }
}

/// Takes connections on all addresses of loopback, on a thread that lives as long as the process.
fn serve(namespace: &Namespace) -> Result<()> {
    let listener = namespace.inside(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?))?;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
        }
    });
    Ok(())
}

/// The upper bound of the bucket in which this part of all counts ends; 60 s for what has none.
fn percentile(counts: &[u64], part: f64) -> u64 {
    let wanted = counts.iter().sum::<u64>() as f64 * part;
    let mut sum = 0;
    for (count, bound) in counts.iter().zip(LATENESS_BOUNDS_MS) {
        sum += count;
        if sum as f64 >= wanted {
            return bound;
        }
    }
    60_000
}

/// Seconds that the last thread by that name has used of a core.
fn busy() -> f64 {
    let mut newest = (0, 0.0);
    for entry in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let id: u32 = entry.file_name().to_string_lossy().parse().unwrap_or_default();
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        if head.ends_with("(health") && id >= newest.0 {
            let ticks = |field: usize| rest.split(' ').nth(field).and_then(|ticks| ticks.parse().ok());
            newest = (id, ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0));
        }
    }
    // USER_HZ
    newest.1 / 100.0
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Strikes one of three backends while clients make new connections, with the default rhythm of checks.
fn death(how: &str, fault: Fault, plan: Plan, sink: &mut Sink) -> Result<()> {
    let names = ["web-1", "web-2", "web-3"];
    let rhythm = Rhythm::default();
    let timeout = Duration::from_secs(1);
    let mut last_flow_ms = Vec::new();
    for _ in 0..plan.deaths {
        let mut network = Network::new(Shape { balancers: 1, backends: 3 })?;
        let check = format!("[[check]]\nname = \"http\"\ntype = \"http\"\n{}", fault.check());
        let mut config = DaemonConfig::default().general_line(&check);
        for backend in &network.backends {
            backend.set_active(&network.lab, true)?;
            config = config.backend(&backend.name, backend.address4);
        }
        let config = config.vip("web", VIP4, 80, "tcp", &names).vip_line("check = \"http\"");
        let daemon = Daemon::start(&network.lab, &network.balancers[0], "bench", &config, &[])?;
        daemon.wait_active(&names)?;
        let server = SocketAddr::from((VIP4, 80));
        // A client that waits for an answer asks nothing else meanwhile: there have to be some, and none that waits for long.
        let load = Load::start_impatient(&network.client, &[server], 32, Duration::from_millis(300))?;
        sleep(plan.settle);
        let died = Instant::now();
        fault.strike(&network.lab, &mut network.backends[1])?;
        wait_until("the backend is out of the ring", Duration::from_secs(30), || {
            let status = daemon.status()?;
            let dest = status.vips[0].backends.iter().find(|dest| dest.name == "web-2");
            ensure!(dest.is_some_and(|dest| dest.slots == 0), "it still has slots");
            Ok(())
        })?;
        sleep(Duration::from_secs(4));
        let report = load.stop()?;
        let there = report
            .attempts
            .iter()
            .filter(|attempt| attempt.answer.as_ref().map_or(true, |by| by == names[1]));
        let last = there.map(|attempt| attempt.began).max();
        last_flow_ms.push(last.map_or(0.0, |last| last.saturating_duration_since(died).as_secs_f64() * 1e3));
    }
    let bound_ms = (rhythm.interval * rhythm.fall + timeout).as_secs_f64() * 1e3;
    let last_flow = Figure::of(&last_flow_ms, "ms", Better::Lower).map(|figure| figure.expecting(bound_ms));
    sink.row(how, [last_flow.into()])
}
