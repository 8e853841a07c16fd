//! What changes of the backends do to open connections: packets of thousands of flows through the program in the kernel,
//! before and after each operation. A connection is broken when its packets reach another backend than before, although its
//! own still serves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use lb_common::abi::{BenchTarget, FlowBucket};
use lb_user::dataplane::{Dataplane, found};
use lb_user::state::{DesiredVip, Forwarding, Previous, TrackingMode};

use super::report::{Better, Cell, Column, Effort, Figure, Sink};
use super::wrapper::Rounds;
use super::{cases, object};
use crate::kernel::{Kernel, XDP_TX};
use crate::packets::{Kind, Packet};
use crate::tunnel::outer;
use crate::world::World;

const VIP: &str = "198.51.100.1:80/tcp";
const VIP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 80);
const BACKENDS: u8 = 100;
const RING_SIZE: u32 = 65_537;
const FLOWS: u32 = 1 << 20;

const METHOD: &str = "Packets of thousands of flows through the program in the kernel, before and after each operation. \
    \"broken\": they reach another backend than before, although their own still serves. 100 backends, 65537 slots; the same \
    with tracking = \"none\" is what the ring alone does.\n\n\
    The flood: SYNs of 16 million sources as fast as one core makes them, while half of the slots are in transition; held flows \
    are looked at between the bursts. A change is timed from the decision to the kernel.";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    held: u32,
    /// Of the operations, from the last one.
    operations: usize,
    /// Attempts in each burst of a flood.
    burst: u32,
    changes: usize,
}

/// Measures everything.
///
/// # Errors
/// When the kernel refuses, or a held flow is not forwarded.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    let plan = effort.pick(
        Plan { held: 1_000, operations: 2, burst: 200_000, changes: 20 },
        Plan { held: 10_000, operations: STEPS.len(), burst: 4_000_000, changes: 100 },
    );
    sink.section("continuity", "What changes do to open connections", METHOD)?;
    operations(plan, sink)?;
    flood(&object()?, plan, sink)?;
    publishing(plan, sink)
}

fn operations(plan: Plan, sink: &mut Sink) -> Result<()> {
    let columns =
        [Column::wide("operation", 34), "held".into(), Column::wide("slots moved", 11), "broken".into()];
    sink.table("Operations", columns.into_iter().chain(["broken without tracking".into()]))?;
    for (name, steps) in &STEPS[STEPS.len() - plan.operations..] {
        let tracked = Hold::new(plan.held, TrackingMode::Adaptive)?.through(steps)?;
        let untracked = Hold::new(plan.held, TrackingMode::None)?.through(steps)?;
        let numbers = [plan.held, tracked.slots_moved].map(|number| Cell::number(number.into(), ""));
        let broken = Figure::none_of(tracked.broken as usize).into();
        sink.row(name, numbers.into_iter().chain([broken, Cell::number(untracked.broken.into(), "")]))?;
    }
    Ok(())
}

/// One change of the weights; `None`: the daemon is replaced instead.
type Step = Option<fn(u8) -> u32>;

/// Each by its name. The last ones are what a quick run measures.
const STEPS: [(&str, &[Step]); 8] = [
    ("drain one of 100", &[WITHOUT_ONE]),
    ("drain ten of 100", &[WITHOUT_TEN]),
    ("drain half", &[HALF]),
    ("drain and undrain one", &[WITHOUT_ONE, ALL]),
    ("double one weight", &[HEAVIER]),
    ("another weight for each", &[RAMP]),
    ("four changes in a row", &[WITHOUT_ONE, RAMP, HALF, HEAVIER]),
    ("drain, restart, undrain, restart", &[WITHOUT_ONE, None, ALL, None]),
];

const ALL: Step = Some(|_| 100);
const WITHOUT_ONE: Step = Some(|backend| if backend == 7 { 0 } else { 100 });
const WITHOUT_TEN: Step = Some(|backend| if backend < 10 { 0 } else { 100 });
const HEAVIER: Step = Some(|backend| if backend == 7 { 200 } else { 100 });
const HALF: Step = Some(|backend| if backend.is_multiple_of(2) { 0 } else { 100 });
const RAMP: Step = Some(|backend| 50 + u32::from(backend));

struct Outcome {
    slots_moved: u32,
    broken: u32,
}

/// Flows that are held open.
struct Hold {
    kernel: Kernel,
    world: World,
    forwarding: Forwarding,
    /// A packet of each, and its backend.
    flows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Hold {
    fn new(held: u32, tracking: TrackingMode) -> Result<Self> {
        let names: Vec<String> = (1..=BACKENDS).map(|last| format!("10.1.0.{last}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let world = World::default().vip(VIP, &names).with(VIP, |vip| {
            vip.ring_size = RING_SIZE;
            vip.options.tracking = tracking;
        });
        let forwarding = world.forwarding();
        let kernel = Kernel::open_with(&forwarding, |options| options.limits.flows = FLOWS)?;
        let mut hold = Self { kernel, world, forwarding, flows: Vec::new() };
        let opened: Result<Vec<_>> = (0..held)
            .map(|flow| {
                let backend = hold.backend_of(&packet(Kind::Syn, flow))?;
                Ok((packet(Kind::Ack, flow), backend))
            })
            .collect();
        hold.flows = opened?;
        Ok(hold)
    }

    /// The outer destination of a packet.
    fn backend_of(&self, frame: &[u8]) -> Result<Vec<u8>> {
        let (action, output) = self.kernel.run_raw(frame, 1)?;
        ensure!(action == XDP_TX, "action {action} for a held flow");
        Ok(outer(&output).destination)
    }

    fn through(mut self, steps: &[Step]) -> Result<Outcome> {
        let mut slots_moved = 0;
        let mut broken = vec![false; self.flows.len()];
        for step in steps {
            match step {
                Some(weight_of) => slots_moved += self.change(*weight_of)?,
                None => {
                    let found = found(self.kernel.pin_dir());
                    self.forwarding = self.world.after(Previous::Found(&found), 0);
                    self.kernel.restart(&self.forwarding)?;
                }
            }
            for (broken, (packet, backend)) in broken.iter_mut().zip(&self.flows) {
                *broken |= self.backend_of(packet)? != *backend;
            }
        }
        Ok(Outcome { slots_moved, broken: broken.iter().filter(|broken| **broken).count() as u32 })
    }

    fn change(&mut self, weight_of: fn(u8) -> u32) -> Result<u32> {
        self.set_weights(weight_of);
        let next = self.world.after(Previous::Forwarding(&self.forwarding), 0);
        let moved = self.forwarding.plan(&next).first().map_or(0, |plan| plan.slots_moved);
        self.kernel.apply(&next)?;
        self.forwarding = next;
        Ok(moved)
    }

    fn set_weights(&mut self, weight_of: fn(u8) -> u32) {
        let weigh = |vip: &mut DesiredVip| {
            for member in vip.members.values_mut() {
                if let IpAddr::V4(v4) = member.address {
                    member.weight = weight_of(v4.octets()[3]);
                }
            }
        };
        self.world = std::mem::take(&mut self.world).with(VIP, weigh);
    }
}

/// A packet of the flow with this number.
fn packet(kind: Kind, flow: u32) -> Vec<u8> {
    let [_, a, b, c] = (flow / 16).to_be_bytes();
    from(kind, SocketAddr::from(([203, a, b, c], 40_000 + (flow % 16) as u16)))
}

fn from(kind: Kind, source: SocketAddr) -> Vec<u8> {
    Packet::new(kind, &source.to_string(), &VIP_ADDRESS.to_string()).frame()
}

/// SYNs of 16 million sources, as fast as one core makes them, while half of the slots are in transition.
fn flood(object: &Path, plan: Plan, sink: &mut Sink) -> Result<()> {
    const BURSTS: u32 = 16;
    let mut hold = Hold::new(plan.held, TrackingMode::Adaptive)?;
    hold.change(|backend| if backend.is_multiple_of(2) { 0 } else { 100 })?;
    // Two packets each: the flows go on, and are known to.
    for _ in 0..2 {
        hold.flows.iter().try_for_each(|(packet, _)| hold.backend_of(packet).map(drop))?;
    }
    let mut rounds = Rounds::load(object, hold.kernel.program())?;
    let case = cases::flood(VIP);
    let (mut gross, mut net) = (Vec::new(), Vec::new());
    let mut broken = vec![false; hold.flows.len()];
    for _ in 0..BURSTS {
        let empty = rounds.time(&case, BenchTarget::Empty, plan.burst)?;
        gross.push(rounds.time(&case, case.target, plan.burst)?);
        net.extend(gross.last().map(|gross| gross - empty));
        for (broken, (packet, backend)) in broken.iter_mut().zip(&hold.flows) {
            *broken |= hold.backend_of(packet)? != *backend;
        }
    }
    let attempts = f64::from(BURSTS) * f64::from(plan.burst);
    let evicted = hold.kernel.dataplane()?.counters()?.flows.evicted;
    let rates: Vec<f64> = gross.iter().map(|ns| 1e3 / ns).collect();
    let ns = |ns: Option<&f64>| ns.map(|ns| Figure::once(*ns, "ns", Better::Lower)).into();
    sink.table("SYN flood, half of the slots in transition", [Column::wide("what", 50), "value".into()])?;
    sink.row("held flows", [Cell::number(hold.flows.len() as f64, "")])?;
    sink.row("of them broken", [Figure::none_of(broken.iter().filter(|broken| **broken).count()).into()])?;
    sink.row("attempts", [Cell::number(attempts / 1e6, "M")])?;
    sink.row("attempts a second, one core", [Figure::of(&rates, "M/s", Better::Higher).into()])?;
    sink.row("an attempt in the first burst: the cache has room", [ns(net.first())])?;
    sink.row("an attempt in the last burst: it has none", [ns(net.last())])?;
    sink.row("records that made room", [Cell::number(evicted as f64, "")])?;
    let bytes = size_of::<FlowBucket>() as f64 / lb_common::abi::FLOW_WAYS as f64;
    sink.row("memory for a flow in transition", [Figure::counted(bytes, "bytes", Better::Lower).into()])
}

/// A change of one weight among 100 backends, from the decision to the kernel.
fn publishing(plan: Plan, sink: &mut Sink) -> Result<()> {
    let mut hold = Hold::new(0, TrackingMode::Adaptive)?;
    let (mut decided, mut kernel) = (Vec::new(), Vec::new());
    for change in 0..plan.changes {
        hold.set_weights(if change.is_multiple_of(2) {
            |backend| 100 + u32::from(backend == 7) * 20
        } else {
            |_| 100
        });
        let began = Instant::now();
        let next = hold.world.after(Previous::Forwarding(&hold.forwarding), 0);
        let planned = Instant::now();
        hold.kernel.apply(&next)?;
        decided.push((planned - began).as_secs_f64() * 1e3);
        kernel.push(planned.elapsed().as_secs_f64() * 1e3);
        hold.forwarding = next;
    }
    sink.table("Another weight for one backend", ["step", "time"])?;
    sink.row("ring and plan", [Figure::of(&decided, "ms", Better::Lower).into()])?;
    sink.row("into the kernel", [Figure::of(&kernel, "ms", Better::Lower).into()])
}
