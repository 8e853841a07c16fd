//! A thread for each core that makes packets, until its time is over or its count is full.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, gettid};

use super::exit::Place;
use super::run::Extent;
use crate::lab::interrupted;

const CALLING_THREAD: Pid = Pid::from_raw(0);

/// Calls `work` with the core and "it is time to end" on a thread for each core, all at once, and `watch` meanwhile. A system
/// call is ended by a signal; when one core fails, all end. Returns results and how long they took.
pub(super) fn on_cores<T: Send>(
    place: &Place,
    cores: &[usize],
    extent: Extent,
    watch: &mut dyn FnMut(),
    work: impl Fn(usize, &AtomicBool) -> Result<T> + Sync,
) -> Result<Vec<(T, Duration)>> {
    catch_nudges()?;
    let barrier = Barrier::new(cores.len() + 1);
    let end = AtomicBool::new(false);
    let makers: Vec<Maker> = cores.iter().map(|core| Maker::on(*core)).collect();
    std::thread::scope(|scope| {
        let spawn = |maker| {
            let (work, barrier, end) = (&work, &barrier, &end);
            scope.spawn(move || {
                let maker: &Maker = maker;
                let made = place.inside(|| maker.make(barrier, || work(maker.core, end)));
                if made.is_err() {
                    end.store(true, Ordering::Release);
                }
                maker.done.store(true, Ordering::Release);
                made
            })
        };
        let threads: Vec<_> = makers.iter().map(spawn).collect();
        barrier.wait();
        wait(&makers, &end, extent, watch);
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
fn wait(makers: &[Maker], end: &AtomicBool, extent: Extent, watch: &mut dyn FnMut()) {
    /// A count is full by then.
    const LIMIT: Duration = Duration::from_secs(60);
    let deadline = Instant::now()
        + match extent {
            Extent::For(duration) => duration,
            Extent::Packets(_) => LIMIT,
        };
    let is_over = || interrupted() || end.load(Ordering::Acquire);
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|_| !is_over()) {
        if makers.iter().all(|maker| maker.done.load(Ordering::Acquire)) {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(10)));
        watch();
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
