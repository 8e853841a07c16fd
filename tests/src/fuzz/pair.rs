//! The two builds of the packet story, with equal tables: one frame goes through both.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, ensure};
use lb_common::abi::{Counters, Lease, Reason};
use lb_ebpf::{Leave, Verdict};
use lb_user::dataplane::layout::Layout;
use lb_user::dataplane::{Dataplane, Leases};

use crate::fixture::Seen;
use crate::host::HostTables;
use crate::kernel::Kernel;
use crate::outcome::{Outcome, action_of};
use crate::test_run::TestRun;
use crate::world::{CAPACITY, World};

/// Both builds, from the same world. They start without state, and see the same frames in the same order, so whatever
/// they remember of them must stay equal too. The clock of both stands at 0 until it is set. Of every two addresses of
/// elections, the first is held, and the lease of the second lapses when the clock moves.
#[derive(Debug)]
pub struct Pair {
    host: HostTables,
    layout: Layout,
    kernel: Kernel,
    runner: TestRun,
    /// What the kernel must have counted: by index into `DESTS`, and by number of the reason.
    dests: BTreeMap<u32, Counters>,
    reasons: BTreeMap<u32, u64>,
}

/// How the builds differ about a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference(pub String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pair {
    /// # Errors
    /// When the kernel refuses the program.
    pub fn open(world: &World) -> Result<Self> {
        Self::of_two(world, world)
    }

    /// The host has another world than the kernel: they will differ, and tests of fuzzing itself want that.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_two(host: &World, kernel: &World) -> Result<Self> {
        let elected = kernel.desired.elected.clone();
        let (mut host, layout) = HostTables::filled(CAPACITY, &host.forwarding());
        let kernel = Kernel::open(&kernel.forwarding())?;
        let mut leases = Leases::open(kernel.pin_dir())?;
        for (address, is_held) in elected.into_iter().zip([true, false].into_iter().cycle()) {
            let until_ns = if is_held { Lease::FOR_EVER } else { Lease::LAPSED };
            host.set_lease(address, Lease { until_ns, ..Lease::default() });
            leases.own(address, until_ns, None)?;
        }
        let runner = TestRun::new(kernel.program())?;
        Ok(Self { host, layout, kernel, runner, dests: BTreeMap::new(), reasons: BTreeMap::new() })
    }

    /// Sends a frame through both builds twice: traced, which changes nothing and says why, then plain, as traffic is.
    /// Why a plain run ended as it did, [`Self::counters_agree`] compares.
    ///
    /// # Errors
    /// How they differ.
    pub fn run(&mut self, frame: &[u8]) -> Result<Outcome, Difference> {
        self.both(frame).map(|(verdict, _)| Outcome::of_host(&verdict))
    }

    /// As [`Self::run`], in a fixture's words.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_and_see(&mut self, frame: &[u8]) -> Result<Seen, Difference> {
        self.both(frame).map(|(verdict, output)| Seen::new(&verdict, frame, output))
    }

    fn both(&mut self, frame: &[u8]) -> Result<(Result<Verdict, Reason>, Vec<u8>), Difference> {
        let host = catch_unwind(AssertUnwindSafe(|| (self.host.explain(frame), self.host.run(frame))));
        let (explained, (verdict, bytes)) =
            host.map_err(|_| Difference("the host's build panicked".to_owned()))?;
        self.count(&verdict);
        self.compare_traced(frame, &explained.0, &explained.1)?;
        let ran = self.runner.plain(frame).map_err(refused)?;
        let expected = Expected::new(&verdict, &bytes);
        expected.compare("plain", ran.action, ran.frame)?;
        Ok((verdict, bytes))
    }

    /// Only a traced run says why.
    fn compare_traced(
        &mut self,
        frame: &[u8],
        verdict: &Result<Verdict, Reason>,
        bytes: &[u8],
    ) -> Result<(), Difference> {
        let expected = Expected::new(verdict, bytes);
        let (ran, trace) = self.runner.traced(frame).map_err(refused)?;
        let said = Outcome::of_trace(&trace);
        if said != Some(expected.outcome) {
            let said = said.map_or_else(|| format!("reason {}", trace.reason), |said| said.to_string());
            return Err(Difference(format!("host: {}; kernel: {said}", expected.outcome)));
        }
        expected.compare("traced", ran.action, ran.frame)
    }

    fn count(&mut self, verdict: &Result<Verdict, Reason>) {
        let reason = match verdict {
            Ok(verdict) => {
                let counters = self.dests.entry(verdict.dest).or_default();
                counters.packets += 1;
                counters.bytes += u64::from(verdict.bytes);
                counters.new_flows += u64::from(verdict.opens_flow);
                (verdict.leave == Leave::Kernel).then_some(Reason::Oversize)
            }
            Err(reason) => Some(*reason),
        };
        if let Some(reason) = reason {
            *self.reasons.entry(reason as u32).or_default() += 1;
        }
    }

    /// Sets the clock of both.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_clock(&mut self, now_ns: u64) -> Result<()> {
        self.host.set_clock(now_ns);
        self.kernel.set_clock(now_ns)
    }

    /// Forgets what the kernel must have counted, for the test of [`Self::counters_agree`].
    pub fn forget_counts(&mut self) {
        self.dests.clear();
        self.reasons.clear();
    }

    /// Compares what the kernel has counted for plain runs with what the host says that it must have.
    ///
    /// # Errors
    /// When they differ, or the kernel does not tell.
    pub fn counters_agree(&mut self) -> Result<()> {
        let totals = self.kernel.dataplane()?.counters()?;
        let mut expected: BTreeMap<_, Counters> = BTreeMap::new();
        for dest in self.layout.counted_dests() {
            let Some(counted) = self.dests.get(&dest.index) else { continue };
            let sum = expected.entry((dest.vip, dest.backend)).or_default();
            sum.packets += counted.packets;
            sum.bytes += counted.bytes;
            sum.new_flows += counted.new_flows;
        }
        let moved: BTreeMap<_, _> =
            totals.dests.into_iter().filter(|(_, counters)| *counters != Counters::default()).collect();
        ensure!(moved == expected, "counters of dests: host {expected:?}, kernel {moved:?}");
        let moved: BTreeMap<_, _> = totals.reasons.into_iter().filter(|(_, count)| *count > 0).collect();
        ensure!(moved == self.reasons, "counters of reasons: host {:?}, kernel {moved:?}", self.reasons);
        Ok(())
    }
}

/// What the kernel's build must do.
struct Expected<'a> {
    outcome: Outcome,
    action: u32,
    bytes: &'a [u8],
}

impl<'a> Expected<'a> {
    fn new(verdict: &Result<Verdict, Reason>, bytes: &'a [u8]) -> Self {
        Self { outcome: Outcome::of_host(verdict), action: action_of(verdict), bytes }
    }

    fn compare(&self, run: &str, action: u32, bytes: &[u8]) -> Result<(), Difference> {
        let Self { outcome, action: expected, bytes: host } = self;
        if action != *expected {
            return Err(Difference(format!(
                "{run}: host: {outcome}, action {expected}; kernel: action {action}"
            )));
        }
        if !outcome.leaves_bytes() || bytes == *host {
            return Ok(());
        }
        let at = bytes.iter().zip(*host).position(|(kernel, host)| kernel != host);
        let place = at.map_or_else(
            || format!("lengths: host {}, kernel {}", host.len(), bytes.len()),
            |at| format!("bytes from {at} on: host {:02x?}, kernel {:02x?}", part(host, at), part(bytes, at)),
        );
        Err(Difference(format!("{run}: both {outcome}, but with other {place}")))
    }
}

fn refused(error: std::io::Error) -> Difference {
    Difference(format!("the kernel refuses the run: {error}"))
}

/// At most 16 bytes.
fn part(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[at..bytes.len().min(at + 16)]
}
