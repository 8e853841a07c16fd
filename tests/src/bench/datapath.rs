//! Nanoseconds a packet inside the program, by `BPF_PROG_TEST_RUN`.
//!
//! A wrapper program (lb-ebpf's `bench.rs`) makes each round's packet, calls its target by a tail call from a subprogram
//! and undoes what it did. A case's *net* cost is the wrapper around the balancer minus the same wrapper around an empty
//! `XDP_TX` program, taken in turns; the kernel's own duration counts. The balancer is loaded afresh several times, since
//! loads of one program differ by some percent.

use std::path::Path;

use anyhow::Result;
use lb_common::abi::BenchTarget;
use lb_user::state::Forwarding;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::cases::{self, Case, Expected};
use super::worlds::Place;
use super::wrapper::Wrapper;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Fresh loads of the balancer.
    pub loads: u32,
    /// Turns of each load; in each, every case and bound runs once.
    pub turns: u32,
    /// Packets a run.
    pub packets: u32,
    /// Also what takes long to prepare.
    pub long: bool,
}

/// One line of the result, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub case: &'static str,
    pub net_ns: f64,
    /// 10th and 90th percentile of the single turns.
    pub low_ns: f64,
    pub high_ns: f64,
    /// Median with the wrapper and the kernel's loop.
    pub gross_ns: f64,
    /// What is expected of the development machine, where anything is.
    pub expected_ns: Option<f64>,
}

/// Measures all cases. `object` is the wrapper's object file.
///
/// # Errors
/// When the kernel refuses a program, or a case does not do what it should.
pub fn measure(object: &Path, effort: Effort) -> Result<Vec<Measured>> {
    stay()?;
    let cases = cases::all(effort.long);
    let worlds = worlds(&cases);
    let mut samples: Vec<_> = cases.iter().map(|_| Samples::default()).collect();
    for _ in 0..effort.loads {
        let mut loaded = Loaded::load(object, &worlds)?;
        for case in &cases {
            loaded.wrapper(case.place).check(case)?;
        }
        for _ in 0..effort.turns {
            for (case, samples) in cases.iter().zip(&mut samples) {
                let wrapper = loaded.wrapper(case.place);
                // The empty target sees the same packet and the same flows.
                samples.empty.push(wrapper.time(case, BenchTarget::Empty, effort.packets)?);
                samples.full.push(wrapper.time(case, case.target, effort.packets)?);
            }
        }
    }
    Ok(report(&cases, &samples))
}

/// Keeps this thread on its processor. The wrapper counts its rounds on each, and fragments must come as the count says.
fn stay() -> Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::this(), &here)?)
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

fn report(cases: &[Case], samples: &[Samples]) -> Vec<Measured> {
    let mut lines = Vec::new();
    if let Some(first) = samples.first() {
        lines.push(Measured::of("bound: empty XDP_TX (the wrapper alone)", &[0.0], &first.empty));
    }
    for (case, Samples { empty, full }) in cases.iter().zip(samples) {
        let net: Vec<f64> = full.iter().zip(empty).map(|(full, empty)| full - empty).collect();
        let mut line = Measured::of(case.name, &net, full);
        line.expected_ns = match case.expected {
            Expected::Nothing => None,
            Expected::Ns(ns) => Some(ns),
            Expected::Beyond(other, ns) => {
                lines.iter().find(|line| line.case == other).map(|line| line.net_ns + ns)
            }
        };
        lines.push(line);
    }
    lines
}

impl Measured {
    fn of(case: &'static str, net: &[f64], gross: &[f64]) -> Self {
        Self {
            case,
            net_ns: part(net, 0.5),
            low_ns: part(net, 0.1),
            high_ns: part(net, 0.9),
            gross_ns: part(gross, 0.5),
            expected_ns: None,
        }
    }
}

/// The value below which this part of all values lies.
fn part(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}
