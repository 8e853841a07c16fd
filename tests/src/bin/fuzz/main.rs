//! `cargo xtask fuzz`: random packets through both builds of the packet story, or random bytes through one decoder.

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Parser;
use tests::fuzz::{Campaign, Failure, mutants};
use tests::fuzz_targets::{TARGETS, Target};
use tests::kernel::is_root;
use tests::named_worlds::WORLDS;

/// Packets of a short run and of a whole one.
const SHORT: u64 = 1_000_000;
const LONG: u64 = 20_000_000;

/// Fuzzing: the same packets through the host's build of the packet story and through the program in the kernel.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz")]
struct Arguments {
    /// One million packets rather than twenty
    #[arg(long)]
    short: bool,
    /// Repeats a run; by default the time of day
    #[arg(long)]
    seed: Option<u64>,
    /// So many packets, or runs of a target
    #[arg(long)]
    packets: Option<u64>,
    /// Only packets for this world of tests/src/named_worlds.rs
    #[arg(long, conflicts_with = "target")]
    world: Option<String>,
    /// Random bytes into one decoder instead: packet, decap, config, api; or all of them
    #[arg(long)]
    target: Option<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(time_of_day);
    let packets = arguments.packets.unwrap_or(if arguments.short { SHORT } else { LONG });
    println!("seed {seed}");
    // A panic is a find, and shrinking it repeats it many times.
    std::panic::set_hook(Box::new(|_| {}));
    let sound = match &arguments.target {
        Some(name) => decoders(name, seed, packets)?,
        None => builds(seed, packets, arguments.world.as_deref())?,
    };
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether host and kernel agree.
fn builds(seed: u64, packets: u64, world: Option<&str>) -> Result<bool> {
    if !is_root() {
        bail!("run this as root: the packets go through the program in the kernel");
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worlds: Vec<_> = WORLDS.iter().filter(|known| world.is_none_or(|name| known.name == name)).collect();
    if worlds.is_empty() {
        let names: Vec<_> = WORLDS.iter().map(|world| world.name).collect();
        bail!("no world of that name; there are {}", names.join(", "));
    }
    let report = match (Campaign { seed, worlds, packets, threads }).run() {
        Ok(report) => report,
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) => {
                println!("{failure}");
                return Ok(false);
            }
            Err(error) => return Err(error),
        },
    };
    for (outcome, count) in &report.outcomes {
        println!("{count:>10}  {outcome}");
    }
    println!("{} packets in {:.0?}: host and kernel agree", report.packets, report.elapsed);
    Ok(true)
}

/// Whether decoders bear everything.
fn decoders(name: &str, seed: u64, runs: u64) -> Result<bool> {
    let chosen: Vec<&Target> = TARGETS.iter().filter(|target| name == "all" || target.name == name).collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        bail!("no target {name}; there are {} and all", names.join(", "));
    }
    let mut sound = true;
    for target in chosen {
        let started = Instant::now();
        match mutants(target, seed, runs) {
            Ok(()) => println!("{}: {}, {runs} runs in {:.0?}", target.name, target.what, started.elapsed()),
            Err(crash) => {
                println!("{crash}");
                sound = false;
            }
        }
    }
    Ok(sound)
}

fn time_of_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
