//! `cargo xtask bench`: measures and reports. A slow machine fails nothing; a wrong packet does.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tests::bench::continuity::{self, Flood, Operation, Publishing};
use tests::bench::datapath::{self, Measured};
use tests::bench::failover;
use tests::bench::health::{self, Death, Round};
use tests::bench::peers;
use tests::bench::report::{Effort, Sink};

/// Benchmarks of Ferrolev.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Nanoseconds a packet inside the program
    Datapath {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Fewer loads and turns, and no list of a million prefixes
        #[arg(long)]
        quick: bool,
    },
    /// Connections that changes of the backends break, and how long a change takes
    Continuity {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Fewer flows and attempts
        #[arg(long)]
        quick: bool,
    },
    /// How long an address is without answers when its master goes, beside keepalived, and what that breaks
    Failover {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Each event once, and fewer connections
        #[arg(long)]
        quick: bool,
    },
    /// Whether ten thousand checks a second begin in time, and how long a backend that dies still gets new flows
    Health {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// For less time, and fewer deaths
        #[arg(long)]
        quick: bool,
    },
    /// The balancers that people use today, in turns on the same network
    Peers {
        /// Fewer and shorter rounds
        #[arg(long)]
        quick: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Datapath { json, quick } => datapath(json, quick),
        What::Continuity { json, quick } => continuity(json, quick),
        What::Health { json, quick } => health(json, quick),
        What::Failover { json, quick } => failover(json, quick),
        What::Peers { quick } => peers(quick),
    }
}

/// The object file of the program that makes packets.
fn object() -> Result<PathBuf> {
    let object = std::env::var_os("FERROLEV_BENCH_OBJECT").context("run this through `cargo xtask bench`")?;
    Ok(PathBuf::from(object))
}

fn datapath(json: bool, quick: bool) -> Result<()> {
    let effort = if quick {
        datapath::Effort { loads: 2, turns: 5, packets: 500_000, long: false }
    } else {
        datapath::Effort { loads: 10, turns: 5, packets: 1_000_000, long: true }
    };
    let measured = datapath::measure(&object()?, effort)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print_table(&measured);
    }
    Ok(())
}

fn continuity(json: bool, quick: bool) -> Result<()> {
    let effort = if quick {
        continuity::Effort { held: 2_000, burst: 200_000, changes: 20 }
    } else {
        continuity::Effort { held: 10_000, burst: 4_000_000, changes: 100 }
    };
    let report = continuity::measure(&object()?, effort)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!(
        "{:<34} {:>7} {:>12} {:>7} {:>17}",
        "operation", "held", "slots moved", "broken", "without tracking"
    );
    for of in &report.operations {
        let Operation { name, held, slots_moved, broken, broken_without_tracking } = of;
        println!("{name:<34} {held:>7} {slots_moved:>12} {broken:>7} {broken_without_tracking:>17}");
    }
    let Flood { attempts, rate, held, broken, evicted, first_ns, last_ns } = report.flood;
    println!(
        "SYN flood, half of the slots in transition: {broken} of {held} broken by {attempts} attempts, {:.1} million a second ({evicted} evicted); {first_ns:.0} ns each at first, {last_ns:.0} at last",
        rate / 1e6
    );
    println!("memory for a flow in transition: {} bytes; in steady state: none", report.bytes_per_flow);
    let Publishing { ring_and_plan_ms, kernel_ms, .. } = report.publishing;
    println!(
        "change of a weight, 65537 slots, 100 backends: {ring_and_plan_ms:.2} ms for the ring and its plan, {kernel_ms:.2} ms into the kernel"
    );
    Ok(())
}

fn health(json: bool, quick: bool) -> Result<()> {
    let effort = if quick {
        health::Effort { seconds: 10, deaths: 1 }
    } else {
        health::Effort { seconds: 60, deaths: 5 }
    };
    if json {
        let rounds: Vec<Round> = health::rounds(effort).collect::<Result<_>>()?;
        let deaths: Vec<Death> = health::deaths(effort).collect::<Result<_>>()?;
        let report = serde_json::json!({ "rounds": rounds, "deaths": deaths });
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!(
        "{:>7} {:>11} {:>9} {:>22} {:>8} {:>6} {:>11}",
        "targets", "black-holed", "checks/s", "late p50 p99 p99.9 ms", "core", "files", "KiB/target"
    );
    for round in health::rounds(effort) {
        let round = round?;
        let Round { targets, black_holed, rate, late_p50_ms, late_p99_ms, late_p999_ms, .. } = round;
        let Round { busy_percent, files, kib_per_target, .. } = round;
        let late = format!("<= {late_p50_ms} {late_p99_ms} {late_p999_ms}");
        println!(
            "{targets:>7} {black_holed:>11} {rate:>9.0} {late:>22} {busy_percent:>6.0} % {files:>6} {kib_per_target:>11.1}"
        );
    }
    for death in health::deaths(effort) {
        let Death { how, last_flow_ms, bound_ms } = death?;
        println!("{how}: last new flow after {last_flow_ms:?} ms, bound {bound_ms} ms");
    }
    Ok(())
}

fn failover(json: bool, quick: bool) -> Result<()> {
    let effort = if quick {
        failover::Effort { times: 1, held: 200 }
    } else {
        failover::Effort { times: 5, held: 1_000 }
    };
    if json {
        let rounds: Vec<failover::Round> = failover::rounds(effort).collect::<Result<_>>()?;
        println!("{}", serde_json::to_string_pretty(&rounds)?);
        return Ok(());
    }
    println!(
        "{:<11} {:>8} {:<9} {:>24} {:>8} {:>10} {:>12} {:>15} {:>15} {:>10}",
        "who",
        "adverts",
        "event",
        "takeover ms",
        "RFC ms",
        "silence",
        "two masters",
        "held: broken",
        "new: failed",
        "slowest ms"
    );
    for round in failover::rounds(effort) {
        let round = round?;
        let failover::Round { who, interval_ms, event, takeover_ms, silence_ms, two_masters_ms, .. } = &round;
        let [least, median, most] = spread(takeover_ms);
        let takeover = format!("{median:.0} ({least:.0} to {most:.0})");
        let [_, silence, _] = spread(silence_ms);
        let [.., two] = spread(two_masters_ms);
        let of = |all: usize, bad: usize| if all == 0 { "-".to_owned() } else { format!("{all}: {bad}") };
        println!(
            "{who:<11} {:>8} {:<9} {takeover:>24} {:>8.0} {silence:>10.0} {two:>12.0} {:>15} {:>15} {:>10}",
            format!("{interval_ms} ms"),
            event.to_string(),
            round.rfc_ms,
            of(round.held, round.broken),
            of(round.requests, round.failed),
            if round.requests == 0 { "-".to_owned() } else { format!("{:.0}", round.slowest_ms) },
        );
    }
    Ok(())
}

fn peers(quick: bool) -> Result<()> {
    let effort = if quick { Effort::Quick } else { Effort::Full };
    tests::lab::catch_interrupts()?;
    peers::measure(effort, &mut Sink::begin(effort, Box::new(std::io::stdout()))?)
}

/// Least, median and most.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    [at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}

fn print_table(lines: &[Measured]) {
    println!("{:<42} {:>7} {:>15} {:>8} {:>9}", "case", "net ns", "10 to 90 %", "gross", "expected");
    for line in lines {
        let spread = format!("{:.0} to {:.0}", line.low_ns, line.high_ns);
        let expected = line.expected_ns.map_or(String::new(), |ns| format!("<= {ns:.0}"));
        println!("{:<42} {:>7.1} {spread:>15} {:>8.1} {expected:>9}", line.case, line.net_ns, line.gross_ns);
    }
    let net = |name: &str| lines.iter().find(|line| line.case.starts_with(name)).map(|line| line.net_ns);
    if let (Some(one), Some(many)) = (net("v4 TCP, one flow"), net("v4 TCP, 1M flows")) {
        println!("1M flows cost {:.2} times one flow (expected at most 1.20)", many / one);
    }
}
