//! Nanoseconds a packet inside the program, by `BPF_PROG_TEST_RUN`.
//!
//! A wrapper program (lb-ebpf's `bench.rs`) makes each round's packet, calls its target by a tail call from a subprogram
//! and undoes what it did. A case's *net* cost is the wrapper around the balancer minus the same wrapper around an empty
//! `XDP_TX` program, taken in turns; the kernel's own duration counts. The balancer is loaded afresh several times, since
//! loads of one program differ by some percent.

use std::path::Path;

use anyhow::{Result, ensure};
use lb_common::abi::BenchTarget;
use lb_user::state::Forwarding;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::cases::{self, Case, Expected};
use super::object;
use super::report::{Better, Cell, Column, Effort, Figure, Sink};
use super::worlds::Place;
use super::wrapper::Wrapper;
use crate::lab::interrupted;

const METHOD: &str = "Nanoseconds a packet inside the program, by BPF_PROG_TEST_RUN: a wrapper makes each packet, calls the \
    balancer and undoes what it did; the cost of the same wrapper around an empty program, taken in turns, is subtracted. 100 \
    backends, 65537 slots, one core; several fresh loads, since loads of one program differ by 5 to 8 %. \"times bare\" is the \
    cost against the bare program of the same turn, which parses and encapsulates and does nothing else.\n\n\
    What is not fair: all of a case's packets are alike and the caches are warm; no driver, no memory for packets, and no second \
    core take part. Bounds in nanoseconds are for the development machine when nothing else runs there.";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Fresh loads of the balancer.
    loads: u32,
    /// Turns of each load; in each, every case and bound runs once.
    turns: u32,
    /// Packets a run.
    packets: u32,
    /// Also what takes long to prepare.
    long: bool,
}

/// Measures all cases.
///
/// # Errors
/// When the kernel refuses a program, or a case does not do what it should.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    let plan = effort.pick(
        Plan { loads: 1, turns: 7, packets: 50_000, long: false },
        Plan { loads: 10, turns: 5, packets: 1_000_000, long: true },
    );
    sink.section("datapath", "A packet inside the program", METHOD)?;
    let cases = cases::all(plan.long);
    let samples = sample(&object()?, plan, &cases)?;
    report(&cases, &samples, sink)
}

fn sample(object: &Path, plan: Plan, cases: &[Case]) -> Result<Vec<Samples>> {
    let _staying = Staying::here()?;
    let worlds = worlds(cases);
    let mut samples: Vec<_> = cases.iter().map(|_| Samples::default()).collect();
    for _ in 0..plan.loads {
        let mut loaded = Loaded::load(object, &worlds)?;
        for case in cases {
            loaded.wrapper(case.place).check(case)?;
        }
        for _ in 0..plan.turns {
            ensure!(!interrupted(), "interrupted");
            for (case, samples) in cases.iter().zip(&mut samples) {
                let wrapper = loaded.wrapper(case.place);
                // The empty target sees the same packet and the same flows.
                samples.empty.push(wrapper.time(case, BenchTarget::Empty, plan.packets)?);
                samples.full.push(wrapper.time(case, case.target, plan.packets)?);
            }
        }
    }
    Ok(samples)
}

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// Keeps this thread on its processor until it is dropped. The wrapper counts its rounds on each, and fragments must come as
/// the count says.
struct Staying {
    anywhere: CpuSet,
}

impl Staying {
    fn here() -> Result<Self> {
        let anywhere = sched_getaffinity(SELF)?;
        let mut here = CpuSet::new();
        here.set(sched_getcpu()?)?;
        sched_setaffinity(SELF, &here)?;
        Ok(Self { anywhere })
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = sched_setaffinity(SELF, &self.anywhere);
    }
}

/// The worlds that `cases` need.
fn worlds(cases: &[Case]) -> Vec<(Place, Forwarding)> {
    let mut worlds: Vec<(Place, Forwarding)> = Vec::new();
    for case in cases {
        if worlds.iter().all(|(place, _)| *place != case.place) {
            worlds.push((case.place, case.place.world().forwarding()));
        }
    }
    worlds
}

/// All worlds, loaded at once: cases of several are timed in turns, too.
struct Loaded(Vec<(Place, Wrapper)>);

impl Loaded {
    fn load(object: &Path, worlds: &[(Place, Forwarding)]) -> Result<Self> {
        let load =
            |(place, forwarding): &(Place, Forwarding)| Ok((*place, Wrapper::load(object, forwarding)?));
        Ok(Self(worlds.iter().map(load).collect::<Result<_>>()?))
    }

    fn wrapper(&mut self, of: Place) -> &mut Wrapper {
        let found = self.0.iter_mut().find(|(place, _)| *place == of);
        &mut found.expect("every case's world is loaded").1
    }
}

/// Nanoseconds a packet of single turns.
#[derive(Default)]
struct Samples {
    /// The wrapper around an empty target.
    empty: Vec<f64>,
    full: Vec<f64>,
}

impl Samples {
    fn net(&self) -> Vec<f64> {
        self.full.iter().zip(&self.empty).map(|(full, empty)| full - empty).collect()
    }
}

fn report(cases: &[Case], samples: &[Samples], sink: &mut Sink) -> Result<()> {
    let figure = |samples: &[f64], unit| Figure::of(samples, unit, Better::Lower);
    let bare = cases.iter().zip(samples).find(|(case, _)| case.target == BenchTarget::Bare);
    let bare = bare.map_or(Vec::new(), |(_, samples)| samples.net());
    let columns = [
        Column::wide("case", 42),
        Column::wide("net", 38),
        Column::wide("times bare", 26),
        "with the wrapper".into(),
    ];
    sink.table("Cost of a packet", columns)?;
    if let Some(first) = samples.first() {
        let alone =
            figure(&first.empty, "ns").map_or_else(Cell::none, |figure| Cell::number(figure.median, "ns"));
        sink.row("bound: empty XDP_TX (the wrapper alone)", [Cell::number(0.0, "ns"), Cell::none(), alone])?;
    }
    let mut medians: Vec<(&str, f64)> = Vec::new();
    for (case, samples) in cases.iter().zip(samples) {
        let net = samples.net();
        let times: Vec<f64> = net.iter().zip(&bare).map(|(net, bare)| net / bare).collect();
        let median = |name: &str| medians.iter().find(|(of, _)| *of == name).map(|(_, median)| *median);
        let bound = match case.expected {
            Expected::Nothing => None,
            Expected::Ns(ns) => Some(ns),
            Expected::Beyond(other, ns) => median(other).map(|median| median + ns),
        };
        let net = figure(&net, "ns").map(|net| net.expecting(bound));
        medians.extend(net.iter().map(|net| (case.name, net.median)));
        let gross = figure(&samples.full, "ns");
        let gross = gross.map_or_else(Cell::none, |figure| Cell::number(figure.median, "ns"));
        sink.row(case.name, [net.into(), figure(&times, "times").into(), gross])?;
    }
    let net = |name: &str| medians.iter().find(|(of, _)| of.starts_with(name)).map(|(_, median)| *median);
    if let (Some(one), Some(many)) = (net("v4 TCP, one flow"), net("v4 TCP, 1M flows")) {
        sink.note(&format!("1M flows cost {:.2} times one flow (expected at most 1.20).", many / one))?;
    }
    Ok(())
}
