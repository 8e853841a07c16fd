//! What the daemon itself costs: from a change to the kernel, by the number of backends and vips; a start; memory.

mod daemon;
mod memory;

use std::time::Instant;

use anyhow::{Context, Result};
use lb_user::dataplane::Limits;
use lb_user::state::{Forwarding, Previous, VipKey};

use super::report::{Better, Column, Effort, Figure, Sink};
use crate::kernel::Kernel;
use crate::world::World;

const METHOD: &str = "\"built\": rings and plan of everything, from nothing, as at a start. \"a change\": another weight for one \
    backend of one vip, from the decision to the kernel, by the daemon's own planning and its own tables. Rings have 65537 \
    slots where backends grow in number, and 4093 where vips do, with ten backends each.\n\n\
    A start: the real daemon in a namespace, from its execution until its API answers and the interface has the program; looked \
    at every 20 ms by `ferrolev status`, which itself takes as long as it takes. All next hops are known before.\n\n\
    Memory: of the daemon what it alone has, without the kernel's tables that it maps, and of these what the kernel says that \
    they take. Room for rings is as much as `ferrolev check` asks for, which is each ring twice and one more.\n\n\
    What is not fair: changes come one after the other with nothing else to do, and none of them meets traffic.";

const BACKENDS: [u32; 4] = [10, 100, 1_000, 10_000];
const VIPS: [u32; 4] = [1, 64, 512, 4_096];
const BACKENDS_OF_A_VIP: u32 = 10;
const LARGE_RING: u32 = 65_537;
const SMALL_RING: u32 = 4_093;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    builds: usize,
    changes: usize,
    starts: usize,
    /// Of the daemons that are started.
    vips: &'static [u32],
}

/// Measures everything.
///
/// # Errors
/// When the kernel refuses, or the daemon does not start.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    let plan = effort.pick(
        Plan { builds: 3, changes: 10, starts: 1, vips: &[1, 512] },
        Plan { builds: 10, changes: 100, starts: 5, vips: &VIPS },
    );
    sink.section("control-plane", "The daemon itself", METHOD)?;
    let columns =
        |first| [Column::wide(first, 16)].into_iter().chain(["built", "a change: planned"].map(Column::from));
    let columns = |first| columns(first).chain(["a change: into the kernel".into()]);
    sink.table("Rings by backends of one vip", columns("backends"))?;
    for backends in BACKENDS {
        changes(&backends.to_string(), &world(1, backends, LARGE_RING), plan, sink)?;
    }
    sink.table("Rings by vips", columns("vips"))?;
    for vips in VIPS {
        changes(&vips.to_string(), &world(vips, BACKENDS_OF_A_VIP, SMALL_RING), plan, sink)?;
    }
    daemon::starts(plan, sink)?;
    daemon::memory(sink)
}

fn changes(name: &str, world: &World, plan: Plan, sink: &mut Sink) -> Result<()> {
    let built: Vec<f64> = (0..plan.builds).map(|_| milliseconds(|| world.forwarding()).1).collect();
    let mut forwarding = world.forwarding();
    let mut kernel = Kernel::open_with(&forwarding, |options| options.limits = limits(&forwarding))?;
    let (mut planned, mut applied) = (Vec::new(), Vec::new());
    let mut world = world.clone();
    for change in 0..plan.changes {
        change_one(&mut world, 100 + change as u32 % 2 * 20)?;
        let (next, ms) = milliseconds(|| world.after(Previous::Forwarding(&forwarding), 0));
        planned.push(ms);
        let (done, ms) = milliseconds(|| kernel.apply(&next));
        done?;
        applied.push(ms);
        forwarding = next;
    }
    let cells = [built, planned, applied].map(|times| Figure::of(&times, "ms", Better::Lower).into());
    sink.row(name, cells)
}

/// The first backend of the first vip gets another weight.
fn change_one(world: &mut World, weight: u32) -> Result<()> {
    let vip = world.desired.vips.values_mut().next().context("a vip")?;
    vip.members.values_mut().next().context("a backend")?.weight = weight;
    Ok(())
}

/// Room for everything twice, and once more.
fn limits(forwarding: &Forwarding) -> Limits {
    let backends = || forwarding.vips.values().map(|vip| vip.dests.len());
    let slots: u64 = forwarding.vips.values().map(|vip| vip.ring.len() as u64 + 1_024).sum();
    Limits {
        dests: Limits::dests_needed(backends()).next_power_of_two() as u32 * 2,
        ring_memory: slots * 2 * 6,
        ..Limits::default()
    }
}

fn world(vips: u32, backends: u32, ring_size: u32) -> World {
    let backends: Vec<String> = (1..=backends).map(backend).collect();
    let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
    (0..vips).map(vip).fold(World::default(), |world, key| {
        world.vip(&key.to_string(), &backends).with(&key.to_string(), |vip| vip.ring_size = ring_size)
    })
}

/// Eight on an address, since addresses take places in the table, too.
fn vip(number: u32) -> VipKey {
    let [_, _, high, low] = (number / 8).to_be_bytes();
    format!("198.18.{high}.{low}:{}/tcp", 80 + number % 8).parse().expect("a vip")
}

fn backend(number: u32) -> String {
    let [_, _, high, low] = number.to_be_bytes();
    format!("10.1.{high}.{low}")
}

/// What `work` gives, and how long it took.
fn milliseconds<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed().as_secs_f64() * 1e3)
}
