//! One load of the balancer and of the wrapper around it: runs a case's frame, and proves that it does what its name says.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRunOptions, Xdp};
use aya::{Ebpf, TestRun};
use lb_common::abi::{BENCH_HEAD, BenchConfig, BenchSource, BenchTarget};
use lb_user::dataplane::{Dataplane, Limits, ListUse, Totals};
use lb_user::state::{Forwarding, VipKey};

use super::cases::{Case, Does};
use crate::kernel::Kernel;
use crate::outcome::{XDP_DROP, XDP_PASS, XDP_TX};

pub(super) struct Wrapper {
    kernel: Kernel,
    rounds: Rounds,
}

/// The wrapper alone.
pub(super) struct Rounds {
    ebpf: Ebpf,
    config: Array<MapData, Wire>,
    /// Keeps the targets alive.
    _targets: ProgramArray<MapData>,
}

/// [`BenchConfig`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Wire(BenchConfig);

// SAFETY: `BenchConfig` is plain old data, and the wrapper is transparent.
unsafe impl aya::Pod for Wire {}

/// What a run has left.
struct Run {
    /// Nanoseconds a packet. The kernel cuts them to whole ones.
    ns: f64,
    action: u32,
    frame: Vec<u8>,
}

impl Wrapper {
    /// `object` is the wrapper's object file.
    pub(super) fn load(object: &Path, forwarding: &Forwarding) -> Result<Self> {
        let kernel = Kernel::open_with(forwarding, |options| {
            options.limits = Limits { dests: 8192, flows: 1 << 20, ..options.limits };
            // Reading the clock is part of the cost.
            options.pinned_clock = false;
        })?;
        kernel.name_test_interface()?;
        let rounds = Rounds::load(object, kernel.program())?;
        Ok(Self { kernel, rounds })
    }

    /// Nanoseconds a packet, all in all.
    pub(super) fn time(&mut self, case: &Case, target: BenchTarget, packets: u32) -> Result<f64> {
        self.rounds.time(case, target, packets)
    }

    /// A case must do what its name says with every packet, and leave the same packet for the next round.
    ///
    /// # Errors
    /// When it does something else.
    pub(super) fn check(&mut self, case: &Case) -> Result<()> {
        const PACKETS: u32 = 1000;
        let before = self.counted(case)?;
        let run = self.rounds.run(case, case.target, PACKETS)?;
        let counted = self.counted(case)?.since(&before);
        let of_case = PACKETS.into();
        let (action, expected) = match case.does {
            Does::Transmit => (XDP_TX, Counted::default()),
            Does::Forward { .. } => {
                (XDP_TX, Counted { all: of_case, forwarded: of_case, ..Counted::default() })
            }
            Does::Ask { asked, .. } => {
                (XDP_TX, Counted { all: of_case, forwarded: of_case, asked: asked * of_case, stopped: 0 })
            }
            Does::Stop(reason) => {
                let action = match reason.kind() {
                    "answer" => XDP_TX,
                    "drop" => XDP_DROP,
                    _ => XDP_PASS,
                };
                (action, Counted { all: of_case, stopped: of_case, ..Counted::default() })
            }
        };
        let name = case.name;
        ensure!(counted == expected, "{name}: {PACKETS} packets came to {counted:?}, not to {expected:?}");
        ensure!(run.action == action, "{name}: action {} instead of {action}", run.action);
        let same = masked(case, run.frame) == masked(case, case.frame.clone());
        ensure!(same, "{name}: the wrapper does not restore the frame");
        Ok(())
    }

    /// What the balancer has counted so far of what `case` should do.
    fn counted(&mut self, case: &Case) -> Result<Counted> {
        let dataplane = self.kernel.dataplane()?;
        let totals = dataplane.counters()?;
        let all = totals.dests.values().map(|dest| dest.packets).sum::<u64>()
            + totals.reasons.values().sum::<u64>();
        let mut counted = Counted { all, ..Counted::default() };
        match case.does {
            Does::Transmit => {}
            Does::Stop(reason) => {
                counted.stopped = totals.reasons.get(&(reason as u32)).copied().unwrap_or(0);
            }
            Does::Forward { vip, backend } => counted.forwarded = forwarded(&totals, vip, backend)?,
            Does::Ask { vip, backend, .. } => {
                counted.forwarded = forwarded(&totals, vip, backend)?;
                let vip: VipKey = vip.parse()?;
                for list in [ListUse::Global, ListUse::Access(vip), ListUse::Routes(vip)] {
                    counted.asked +=
                        dataplane.prefix_hits(list)()?.iter().map(|prefix| prefix.hits).sum::<u64>();
                }
                counted.asked += totals.policies.get(&vip).map_or(0, |policy| policy.new_flows);
            }
        }
        Ok(counted)
    }
}

impl Rounds {
    /// `object` is the wrapper's object file.
    pub(super) fn load(object: &Path, balancer: &Xdp) -> Result<Self> {
        let mut ebpf = Ebpf::load_file(object)
            .with_context(|| format!("{}: run this through `cargo xtask bench`", object.display()))?;
        for name in ["bench", "empty", "bare"] {
            program(&mut ebpf, name)?.load()?;
        }
        let mut targets = ProgramArray::try_from(ebpf.take_map("TARGETS").context("TARGETS")?)?;
        targets.set(BenchTarget::Empty as u32, fd(program(&mut ebpf, "empty")?)?, 0)?;
        targets.set(BenchTarget::Bare as u32, fd(program(&mut ebpf, "bare")?)?, 0)?;
        targets.set(BenchTarget::Balancer as u32, fd(balancer)?, 0)?;
        let config = Array::try_from(ebpf.take_map("BENCH").context("BENCH")?)?;
        Ok(Self { ebpf, config, _targets: targets })
    }

    /// Nanoseconds a packet, all in all.
    pub(super) fn time(&mut self, case: &Case, target: BenchTarget, packets: u32) -> Result<f64> {
        Ok(self.run(case, target, packets)?.ns)
    }

    fn run(&mut self, case: &Case, target: BenchTarget, packets: u32) -> Result<Run> {
        self.config.set(0, Wire(config(case, target)), 0)?;
        let mut output = vec![0; case.frame.len() + 64];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&case.frame);
        options.data_out = Some(&mut output);
        options.repeat = packets;
        let result = program(&mut self.ebpf, "bench")?.test_run(options)?;
        ensure!(result.return_value != 0, "{}: a run was aborted", case.name);
        output.truncate(result.data_size_out as usize);
        Ok(Run { ns: result.duration.as_nanos() as f64, action: result.return_value, frame: output })
    }
}

/// Packets, as a case sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    /// That the balancer has counted for any dest or reason.
    all: u64,
    /// To the case's vip and backend.
    forwarded: u64,
    /// For the case's reason.
    stopped: u64,
    /// Answers of the vip's lists, and new flows that its limits have seen.
    asked: u64,
}

impl Counted {
    const fn since(self, before: &Self) -> Self {
        Self {
            all: self.all - before.all,
            forwarded: self.forwarded - before.forwarded,
            stopped: self.stopped - before.stopped,
            asked: self.asked - before.asked,
        }
    }
}

fn forwarded(totals: &Totals, vip: &str, backend: Option<&str>) -> Result<u64> {
    let vip: VipKey = vip.parse()?;
    let backend: Option<IpAddr> = backend.map(str::parse).transpose()?;
    let dests = totals.dests.iter();
    let of_case =
        dests.filter(|((of, address), _)| *of == vip && backend.is_none_or(|backend| backend == *address));
    Ok(of_case.map(|(_, counters)| counters.packets).sum())
}

fn config(case: &Case, target: BenchTarget) -> BenchConfig {
    let idle = target == BenchTarget::Empty;
    let mut head = [0; BENCH_HEAD];
    let len = case.frame.len().min(head.len());
    head[..len].copy_from_slice(&case.frame[..len]);
    BenchConfig {
        target: target as u32,
        source: case.source as u32,
        flow_mask: case.flows - 1,
        grown: if idle { 0 } else { case.grown },
        cut: case.cut,
        left: if idle { case.cut } else { 0 },
        head_last: len as u32 - 1,
        reserved: 0,
        head,
    }
}

/// The frame without what tells flows apart.
fn masked(case: &Case, mut frame: Vec<u8>) -> Vec<u8> {
    let source = match case.source {
        BenchSource::Fixed => 0..0,
        BenchSource::Ipv4 => 26..30,
        BenchSource::Ipv6 => 34..38,
        // Identification and offset.
        BenchSource::Fragments => 18..22,
    };
    if let Some(source) = frame.get_mut(source) {
        source.fill(0);
    }
    frame
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

fn fd(program: &Xdp) -> Result<&ProgramFd> {
    Ok(program.fd()?)
}
