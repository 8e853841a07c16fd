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
    backend of one vip, or a backend of all vips drained, from the decision to the kernel, by the daemon's own planning and its own \
    tables. Each vip has a ring of its own, or all have the same backends and so the same ring. Rings have 65537 \
    slots where backends grow in number, and 4093 where vips do, with ten backends each.\n\n\
    A start: the real daemon in a namespace, from its execution until its API answers and the interface has the program; looked \
    at every 20 ms by `ferrolev status`, which itself takes as long as it takes. All next hops are known before.\n\n\
    Memory: of the daemon what it alone has, without the kernel's tables that it maps, and of these what the kernel says that \
    they take. Vips with the same backends share their ring; rings get twice the memory that they need at the start.\n\n\
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
    backends: &'static [u32],
    vips: &'static [u32],
}

/// Measures everything.
///
/// # Errors
/// When the kernel refuses, or the daemon does not start.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    let plan = effort.pick(
        Plan { builds: 3, changes: 10, starts: 1, backends: &BACKENDS[1..3], vips: &[1, 512] },
        Plan { builds: 10, changes: 100, starts: 5, backends: &BACKENDS, vips: &VIPS },
    );
    sink.section("control-plane", "The daemon itself", METHOD)?;
    let columns =
        |first| [Column::wide(first, 16)].into_iter().chain(["built", "a change: planned"].map(Column::from));
    let columns = |first| columns(first).chain(["a change: into the kernel".into()]);
    sink.table("Rings by backends of one vip", columns("backends"))?;
    for backends in plan.backends {
        changes(&backends.to_string(), &world(1, *backends, LARGE_RING), plan, change_one, sink)?;
    }
    sink.table("Rings by vips, each with its own", columns("vips"))?;
    for vips in plan.vips {
        let mut world = world(*vips, BACKENDS_OF_A_VIP, SMALL_RING);
        own_rings(&mut world);
        changes(&vips.to_string(), &world, plan, change_one, sink)?;
    }
    sink.table("Rings by vips, all with the same backends, of which one is drained", columns("vips"))?;
    for vips in plan.vips {
        let world = world(*vips, BACKENDS_OF_A_VIP, SMALL_RING);
        changes(&vips.to_string(), &world, plan, drain_one, sink)?;
    }
    daemon::starts(plan, sink)?;
    daemon::memory(sink)
}

/// `change` is told whether a change is one back to what was before.
fn changes(
    name: &str,
    world: &World,
    plan: Plan,
    change: fn(&mut World, bool) -> Result<()>,
    sink: &mut Sink,
) -> Result<()> {
    let built: Vec<f64> = (0..plan.builds).map(|_| milliseconds(|| world.forwarding()).1).collect();
    let mut forwarding = world.forwarding();
    let mut kernel = Kernel::open_with(&forwarding, |options| options.limits = limits(&forwarding))?;
    let (mut planned, mut applied) = (Vec::new(), Vec::new());
    let mut world = world.clone();
    for number in 0..plan.changes {
        change(&mut world, number % 2 == 1)?;
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
fn change_one(world: &mut World, back: bool) -> Result<()> {
    let vip = world.desired.vips.values_mut().next().context("a vip")?;
    vip.members.values_mut().next().context("a backend")?.weight = if back { 100 } else { 120 };
    Ok(())
}

/// The first backend of every vip takes no new flows.
fn drain_one(world: &mut World, back: bool) -> Result<()> {
    for vip in world.desired.vips.values_mut() {
        vip.members.values_mut().next().context("a backend")?.weight = if back { 100 } else { 0 };
    }
    Ok(())
}

/// The last backend of each vip gets a weight that no other vip's has.
fn own_rings(world: &mut World) {
    for (vip, weight) in world.desired.vips.values_mut().zip(1000..) {
        vip.members.values_mut().next_back().into_iter().for_each(|member| member.weight = weight);
    }
}

/// Room for all dests twice; rings get theirs when they need it.
fn limits(forwarding: &Forwarding) -> Limits {
    let backends = forwarding.vips.values().map(|vip| vip.dests.len());
    Limits { dests: Limits::dests_needed(backends).next_power_of_two() as u32 * 2, ..Limits::default() }
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
