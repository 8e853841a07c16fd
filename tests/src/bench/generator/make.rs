//! Packets of an offer, made by a program in the kernel or by this process, out of an interface.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_common::abi::{Offer, Span};

use super::bed::Source;
use super::cores::on_cores;
use super::counts::Made;
use super::engine::{Engine, live};
use super::exit::Exit;
use super::run::Extent;
use super::socket;

/// More runs than a call is left to make.
const ENDLESS: u32 = 1 << 30;
/// Frames in one go: in a lane they all are at the sink before the next ones are made. Below the 256 that a veth holds.
const BATCH: u32 = 64;
/// Of packets that are due so shortly after each other that a call for each would be too slow, in nanoseconds.
const DENSE_NS: u64 = 1000;
const DENSE_BATCH: u32 = 16;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    pub(super) offer: &'a Offer,
    pub(super) spans: &'a [Span],
    pub(super) cores: &'a [usize],
    pub(super) extent: Extent,
}

/// What all cores together have made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) packets: u64,
    /// Of frames.
    pub(super) bytes: u64,
}

/// Called all the time while packets are made, with a function that says how many they are by now.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&dyn Fn() -> Result<Total>);

/// Makes packets on each core. The engine has been told of the offer, and aimed at the exit.
pub(super) fn make(
    engine: &Engine,
    source: Source,
    exit: &Exit,
    order: &Order<'_>,
    watch: Watch<'_>,
) -> Result<Vec<Made>> {
    match source {
        Source::Live => make_live(engine, exit, order, watch),
        Source::Socket => socket::make(exit, order, watch),
    }
}

fn make_live(engine: &Engine, exit: &Exit, order: &Order<'_>, watch: Watch<'_>) -> Result<Vec<Made>> {
    let Order { offer, cores, extent, .. } = *order;
    let frame = vec![0; offer.longest as usize];
    let batch = match offer.interval_ns {
        0 => BATCH,
        interval_ns if interval_ns < DENSE_NS => DENSE_BATCH,
        // Packets of a slow offer must not wait for each other.
        _ => 1,
    };
    let generator = engine.generator()?;
    let (runs, extent) = match extent {
        Extent::Packets(packets) if offer.interval_ns == 0 => (Some(packets), extent),
        // Runs that wait for a packet to be due count as well, so it is ended by time: later than it should take.
        Extent::Packets(packets) => {
            let least = Duration::from_nanos(offer.interval_ns * u64::from(packets));
            (None, Extent::For(least * 3 / 2 + Duration::from_millis(200)))
        }
        Extent::For(_) => (None, extent),
    };
    let total = || {
        let all = engine.made()?;
        let packets = all.iter().map(|made| made.packets).sum();
        Ok(Total { packets, bytes: all.iter().map(|made| made.bytes).sum() })
    };
    let lasted = on_cores(&exit.place, cores, extent, &mut || watch(&total), |_, end| {
        loop {
            live(generator, &frame, batch, runs.unwrap_or(ENDLESS))?;
            if runs.is_some() || end.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    })?;
    let all = engine.made()?;
    let of = |(core, ((), lasted)): (&usize, &((), Duration))| {
        let made = all.get(*core).with_context(|| format!("no core {core}"))?;
        // The program's own times leave out what the system call does before and behind.
        let by_program = Duration::from_nanos(made.last_ns.saturating_sub(made.first_ns));
        let (clocked, lasted) =
            if made.marked == 0 { (made.packets, *lasted) } else { (made.marked, by_program) };
        Ok(Made { core: *core, packets: made.packets, bytes: made.bytes, clocked, lasted })
    };
    cores.iter().zip(&lasted).map(of).collect()
}
