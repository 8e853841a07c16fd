//! A whole run: worlds shared out over threads, each with its own pair of builds, and what was found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::generate::Generator;
use super::pair::{Difference, Pair};
use super::random::Random;
use super::shrink::shrink;
use crate::fixture::lines;
use crate::named_worlds::NamedWorld;
use crate::test_run::SHORTEST;

/// The clock stands still for so many packets, then goes on by one of the pauses: within rate limits, beyond them, and
/// past what is waited for.
const PACKETS_A_PAUSE: u64 = 100;
const PAUSES_NS: [u64; 4] = [1_000_000, 50_000_000, 1_100_000_000, 40_000_000_000];

/// How much of what.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub seed: u64,
    pub worlds: Vec<&'static NamedWorld>,
    /// Over all worlds together.
    pub packets: u64,
    pub threads: usize,
}

/// What a run without a difference has seen.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub packets: u64,
    /// Packets by what became of them, such as `forward` or `pass not_vip`.
    pub outcomes: BTreeMap<String, u64>,
    pub elapsed: Duration,
}

/// A frame about which the builds differ.
#[derive(Clone, Debug)]
pub struct Failure {
    pub world: &'static str,
    pub seed: u64,
    /// Counted from 0, within the world.
    pub packet: u64,
    pub difference: Difference,
    /// As it was sent.
    pub frame: Vec<u8>,
    /// As small as it still fails on its own; `None`: it needs the packets before it.
    pub shrunk: Option<Vec<u8>>,
}

impl Campaign {
    /// Runs until all packets are sent or a difference is found.
    ///
    /// # Errors
    /// With a [`Failure`], or when the kernel refuses the program or counts wrongly.
    pub fn run(&self) -> Result<Report> {
        let started = Instant::now();
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let report = Mutex::new(Report::default());
        let work = || -> Result<()> {
            while let Some(world) = self.worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                let share = self.packets.div_ceil(self.worlds.len() as u64);
                let outcomes =
                    self.world(world, share, &stop).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                let mut report = report.lock().map_err(|_| anyhow::anyhow!("another thread panicked"))?;
                for (outcome, count) in outcomes {
                    report.packets += count;
                    *report.outcomes.entry(outcome).or_default() += count;
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the fuzzer panicked"))?
            })
        })?;
        let mut report = report.into_inner().context("another thread panicked")?;
        report.elapsed = started.elapsed();
        Ok(report)
    }

    fn world(
        &self,
        world: &'static NamedWorld,
        packets: u64,
        stop: &AtomicBool,
    ) -> Result<BTreeMap<String, u64>> {
        let built = world.build();
        let mut pair = Pair::open(&built).with_context(|| format!("world {}", world.name))?;
        let mut frames = Generator::new(&built, self.stream(world));
        let mut outcomes = BTreeMap::new();
        let mut now_ns = 0;
        for packet in 0..packets {
            if packet % PACKETS_A_PAUSE == PACKETS_A_PAUSE - 1 {
                now_ns += PAUSES_NS[(packet / PACKETS_A_PAUSE) as usize % PAUSES_NS.len()];
                pair.set_clock(now_ns)?;
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(outcomes);
            }
            let frame = frames.frame();
            match pair.run(&frame) {
                Ok(outcome) => *outcomes.entry(outcome.kind()).or_default() += 1,
                Err(difference) => {
                    let shrunk = Self::shrink(|| Pair::open(&built), &frame)?;
                    return Err(self.failure(world, packet, difference, frame, shrunk).into());
                }
            }
        }
        pair.counters_agree().with_context(|| format!("world {}, seed {}", world.name, self.seed))?;
        Ok(outcomes)
    }

    /// Each world has numbers of its own, so that the count of threads changes nothing.
    fn stream(&self, world: &NamedWorld) -> Random {
        let number = world.name.bytes().fold(0, |number, byte| number << 8 ^ u64::from(byte));
        Random::stream(self.seed, number)
    }

    fn failure(
        &self,
        world: &NamedWorld,
        packet: u64,
        difference: Difference,
        frame: Vec<u8>,
        shrunk: Option<Vec<u8>>,
    ) -> Failure {
        Failure { world: world.name, seed: self.seed, packet, difference, frame, shrunk }
    }

    /// Shrinks a frame that fails, when it also does as the first one that a pair sees.
    ///
    /// # Errors
    /// When no pair can be opened.
    pub fn shrink(open: impl Fn() -> Result<Pair>, frame: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut pair = open()?;
        if pair.run(frame).is_ok() {
            return Ok(None);
        }
        let shrunk = shrink(frame, SHORTEST, |candidate| pair.run(candidate).is_err());
        // The pair has seen all the candidates before this one; a new one has not.
        let alone = open()?.run(&shrunk).is_err();
        Ok(Some(if alone { shrunk } else { frame.to_vec() }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "world {}, packet {}, seed {}: {}", self.world, self.packet, self.seed, self.difference)?;
        let count = self.packet + 1;
        writeln!(f, "again: cargo xtask fuzz --seed {} --world {} --packets {count}", self.seed, self.world)?;
        writeln!(f, "the packet as sent:")?;
        write!(f, "{}", lines(&self.frame))?;
        match &self.shrunk {
            Some(shrunk) => {
                writeln!(
                    f,
                    "the smallest that fails; as a fixture it begins so (tests/fixtures/packets/NAME.pkt):"
                )?;
                write!(f, "world: {}\n\nin:\n{}", self.world, lines(shrunk))
            }
            None => writeln!(
                f,
                "alone, at clock 0, it makes no difference: what the packets before it have left matters"
            ),
        }
    }
}

impl std::error::Error for Failure {}
