//! One run: a thread for each core makes packets until its time is over or its count is full.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use lb_common::abi::{Offer, Span};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, gettid};

use super::bed::{Bed, Lane, Source};
use super::counts::{Counts, Made};
use super::engine::live;
use super::offered::{Offered, Spread};
use super::{socket, zipf};
use crate::lab::{Namespace, interrupted};

/// More packets than a run ever makes.
const ENDLESS: u32 = 1 << 30;
/// Frames in one go: they all are at the sink before the next ones are made. Below the 256 that a veth holds.
const BATCH: u32 = 64;

const CALLING_THREAD: Pid = Pid::from_raw(0);

/// How much a run makes.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    For(Duration),
    /// Packets of each core.
    Packets(u32),
}

impl Bed {
    /// Offers packets to a lane from each of these cores, and counts what comes of them.
    ///
    /// # Errors
    /// When the kernel refuses, or this process is interrupted.
    pub fn run(&mut self, lane: &Lane, offered: &Offered, cores: &[usize], extent: Extent) -> Result<Counts> {
        let offer = self.listen_to(offered, cores.len(), extent)?;
        let errors = lane.xmit_errors(&self.edge)?;
        let made = match self.source {
            Source::Live => self.make(lane, &offer, cores, extent)?,
            Source::Socket => {
                socket::make(&self.edge, &lane.name, &offer, &self.spans_of(offered), cores, extent)?
            }
        };
        ensure!(!interrupted(), "interrupted");
        self.settle(made.iter().map(|made| made.packets).sum())?;
        let mut counts = self.counts()?;
        ensure!(made.iter().all(|made| made.packets > 0), "a core made no packet: {made:?}");
        counts.made = made;
        counts.xmit_errors = lane.xmit_errors(&self.edge)? - errors;
        Ok(counts)
    }

    /// Has the sink count from zero what it is offered, by so many cores.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listen(&mut self, offered: &Offered, cores: usize) -> Result<Offer> {
        self.listen_to(offered, cores, Extent::For(Duration::ZERO))
    }

    fn listen_to(&mut self, offered: &Offered, cores: usize, extent: Extent) -> Result<Offer> {
        let mut offer = offered.offer(cores)?;
        if let Extent::Packets(packets) = extent {
            offer.limit = packets.into();
        }
        let spans = self.spans_of(offered);
        self.engine.prepare(offer, &spans)?;
        Ok(offer)
    }

    /// What the sink has counted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counts(&self) -> Result<Counts> {
        self.engine.counts()
    }

    fn spans_of(&self, offered: &Offered) -> Vec<Span> {
        match offered.spread {
            Spread::Uniform => Vec::new(),
            Spread::Zipf(exponent) => zipf::spans(offered.flows, exponent),
        }
    }

    fn make(&mut self, lane: &Lane, offer: &Offer, cores: &[usize], extent: Extent) -> Result<Vec<Made>> {
        catch_nudges()?;
        let engine = &mut self.engine;
        self.edge.inside(|| engine.aim(lane.edge_ifindex))?;
        let frame = vec![0; offer.longest as usize];
        // Packets of a slow offer must not wait for each other.
        let batch = if offer.interval_ns > 0 { 1 } else { BATCH };
        let generator = self.engine.generator()?;
        let (packets, extent) = match extent {
            Extent::Packets(packets) if offer.interval_ns == 0 => (packets, extent),
            // Runs that wait for a packet to be due count as well, so it is ended by time: later than it should take.
            Extent::Packets(packets) => {
                let least = Duration::from_nanos(offer.interval_ns * u64::from(packets));
                (ENDLESS, Extent::For(least * 3 / 2 + Duration::from_millis(200)))
            }
            Extent::For(_) => (ENDLESS, extent),
        };
        let lasted = on_cores(&self.edge, cores, extent, |_, _| live(generator, &frame, batch, packets))?;
        let all = self.engine.made()?;
        let of = |(core, (_, lasted)): (&usize, &((), Duration))| {
            let made = all.get(*core).with_context(|| format!("no core {core}"))?;
            // The program's own times leave out what the system call does before and behind.
            let by_program = Duration::from_nanos(made.last_ns.saturating_sub(made.first_ns));
            let (clocked, lasted) =
                if made.marked == 0 { (made.packets, *lasted) } else { (made.marked, by_program) };
            Ok(Made { core: *core, packets: made.packets, bytes: made.bytes, clocked, lasted })
        };
        cores.iter().zip(&lasted).map(of).collect()
    }

    /// Waits until nothing arrives any more: the kernel may have left work to another thread.
    fn settle(&self, made: u64) -> Result<()> {
        let mut arrived = self.engine.arrived_packets()?;
        for _ in 0..100 {
            if arrived >= made {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            let now = self.engine.arrived_packets()?;
            if now == arrived {
                break;
            }
            arrived = now;
        }
        Ok(())
    }
}

/// Calls `work` with the core and "it is time to end" on a thread for each core, inside the namespace, all at once. A system
/// call is ended by a signal. Returns results and how long they took.
pub(super) fn on_cores<T: Send>(
    namespace: &Namespace,
    cores: &[usize],
    extent: Extent,
    work: impl Fn(usize, &AtomicBool) -> Result<T> + Sync,
) -> Result<Vec<(T, Duration)>> {
    let barrier = Barrier::new(cores.len() + 1);
    let end = AtomicBool::new(false);
    let makers: Vec<Maker> = cores.iter().map(|core| Maker::on(*core)).collect();
    std::thread::scope(|scope| {
        let spawn = |maker| {
            let (work, barrier, end) = (&work, &barrier, &end);
            scope.spawn(move || {
                let maker: &Maker = maker;
                let made = namespace.inside(|| maker.make(barrier, || work(maker.core, end)));
                maker.done.store(true, Ordering::Release);
                made
            })
        };
        let threads: Vec<_> = makers.iter().map(spawn).collect();
        barrier.wait();
        wait(&makers, &end, extent);
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(T, Duration)>>| {
            thread.join().map_err(|_| anyhow!("a maker panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

/// A thread that makes packets.
struct Maker {
    core: usize,
    /// Number of the thread that is in the kernel.
    thread: AtomicI32,
    done: AtomicBool,
}

impl Maker {
    const fn on(core: usize) -> Self {
        Self { core, thread: AtomicI32::new(0), done: AtomicBool::new(false) }
    }

    /// Calls `work` on the core, once all others are there.
    fn make<T>(&self, barrier: &Barrier, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        let pinned = self.pin();
        self.thread.store(gettid().as_raw(), Ordering::Release);
        // Also after an error: others wait for this one.
        barrier.wait();
        pinned?;
        let began = Instant::now();
        Ok((work()?, began.elapsed()))
    }

    fn pin(&self) -> Result<()> {
        let mut core = CpuSet::new();
        core.set(self.core)?;
        sched_setaffinity(CALLING_THREAD, &core).with_context(|| format!("no core {}", self.core))
    }

    /// Ends its system call.
    fn nudge(&self) {
        let thread = self.thread.load(Ordering::Acquire);
        // SAFETY: takes no pointers. The thread is one of this process, or gone.
        unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, libc::SIGUSR1) };
    }
}

/// Until all are done; ends them when it is time.
fn wait(makers: &[Maker], end: &AtomicBool, extent: Extent) {
    /// A count is full by then.
    const LIMIT: Duration = Duration::from_secs(60);
    let deadline = Instant::now()
        + match extent {
            Extent::For(duration) => duration,
            Extent::Packets(_) => LIMIT,
        };
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|_| !interrupted()) {
        if makers.iter().all(|maker| maker.done.load(Ordering::Acquire)) {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(10)));
    }
    end.store(true, Ordering::Release);
    // A signal that comes before the system call does is lost.
    while !makers.iter().all(|maker| maker.done.load(Ordering::Acquire)) {
        makers.iter().filter(|maker| !maker.done.load(Ordering::Acquire)).for_each(Maker::nudge);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The signal that ends a maker's system call must not end this process.
fn catch_nudges() -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.context("cannot catch SIGUSR1")?;
    Ok(())
}
