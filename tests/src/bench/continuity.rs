//! What changes of the backends do to open connections: packets of thousands of flows through the program in the kernel,
//! before and after each operation. A connection is broken when its packets reach another backend than before, although its
//! own still serves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_common::abi::{BenchTarget, FlowBucket};
use lb_user::dataplane::{Dataplane, found};
use lb_user::state::{DesiredVip, Forwarding, Previous, TrackingMode};
use serde::Serialize;

use super::cases;
use super::wrapper::Rounds;
use crate::kernel::{Kernel, XDP_TX};
use crate::packets::{Kind, Packet};
use crate::tunnel::outer;
use crate::world::World;

const VIP: &str = "198.51.100.1:80/tcp";
const VIP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 80);
const BACKENDS: u8 = 100;
const RING_SIZE: u32 = 65_537;
const FLOWS: u32 = 1 << 20;

/// All results.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub operations: Vec<Operation>,
    pub flood: Flood,
    /// Of the flow cache.
    pub bytes_per_flow: f64,
    pub publishing: Publishing,
}

/// What an operation did to held flows.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub name: &'static str,
    pub held: u32,
    /// Slots that changed hands.
    pub slots_moved: u32,
    pub broken: u32,
    /// The same with `tracking = "none"`: what the ring alone does.
    pub broken_without_tracking: u32,
}

/// SYNs of 16 million sources, as fast as one core makes them, while half of the slots are in transition.
#[derive(Clone, Debug, Serialize)]
pub struct Flood {
    pub attempts: u64,
    /// A second.
    pub rate: f64,
    pub held: u32,
    /// Whenever it was looked, between the bursts.
    pub broken: u32,
    /// Records of others that had to make room.
    pub evicted: u64,
    /// An attempt in the first burst, when the flow cache has room, without the packet's making.
    pub first_ns: f64,
    /// The same in the last one, when it has none.
    pub last_ns: f64,
}

/// A change of one weight among 100 backends on a ring of 65537 slots, from the decision to the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Publishing {
    pub ring_and_plan_ms: f64,
    pub kernel_ms: f64,
    pub changes: usize,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub held: u32,
    /// Attempts in each burst of a flood.
    pub burst: u32,
    pub changes: usize,
}

/// Measures everything. `object` is the object file of the program that makes packets.
///
/// # Errors
/// When the kernel refuses, or a held flow is not forwarded.
pub fn measure(object: &Path, effort: Effort) -> Result<Report> {
    let mut operations = Vec::new();
    for (name, steps) in all_steps() {
        let tracked = Hold::new(effort.held, TrackingMode::Adaptive)?.through(steps)?;
        let untracked = Hold::new(effort.held, TrackingMode::None)?.through(steps)?;
        operations.push(Operation {
            name,
            held: effort.held,
            slots_moved: tracked.slots_moved,
            broken: tracked.broken,
            broken_without_tracking: untracked.broken,
        });
    }
    Ok(Report {
        operations,
        flood: flood(object, effort)?,
        bytes_per_flow: size_of::<FlowBucket>() as f64 / lb_common::abi::FLOW_WAYS as f64,
        publishing: publishing(effort)?,
    })
}

/// One change of the weights; `None`: the daemon is replaced instead.
type Step = Option<fn(u8) -> u32>;

fn all_steps() -> [(&'static str, &'static [Step]); 8] {
    const ALL: Step = Some(|_| 100);
    const WITHOUT_ONE: Step = Some(|backend| if backend == 7 { 0 } else { 100 });
    const WITHOUT_TEN: Step = Some(|backend| if backend < 10 { 0 } else { 100 });
    const HEAVIER: Step = Some(|backend| if backend == 7 { 200 } else { 100 });
    const HALF: Step = Some(|backend| if backend.is_multiple_of(2) { 0 } else { 100 });
    const RAMP: Step = Some(|backend| 50 + u32::from(backend));
    [
        ("drain one of 100", &[WITHOUT_ONE]),
        ("drain ten of 100", &[WITHOUT_TEN]),
        ("drain half", &[HALF]),
        ("drain and undrain one", &[WITHOUT_ONE, ALL]),
        ("double one weight", &[HEAVIER]),
        ("another weight for each", &[RAMP]),
        ("four changes in a row", &[WITHOUT_ONE, RAMP, HALF, HEAVIER]),
        ("drain, restart, undrain, restart", &[WITHOUT_ONE, None, ALL, None]),
    ]
}

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

fn flood(object: &Path, effort: Effort) -> Result<Flood> {
    const BURSTS: u32 = 16;
    let mut hold = Hold::new(effort.held, TrackingMode::Adaptive)?;
    hold.change(|backend| if backend.is_multiple_of(2) { 0 } else { 100 })?;
    // Two packets each: the flows go on, and are known to.
    for _ in 0..2 {
        hold.flows.iter().try_for_each(|(packet, _)| hold.backend_of(packet).map(drop))?;
    }
    let mut rounds = Rounds::load(object, hold.kernel.program())?;
    let case = cases::flood(VIP);
    let mut bursts = Vec::new();
    let mut broken = vec![false; hold.flows.len()];
    for _ in 0..BURSTS {
        let empty = rounds.time(&case, BenchTarget::Empty, effort.burst)?;
        bursts.push((rounds.time(&case, case.target, effort.burst)?, empty));
        for (broken, (packet, backend)) in broken.iter_mut().zip(&hold.flows) {
            *broken |= hold.backend_of(packet)? != *backend;
        }
    }
    let net = |(gross, empty): &(f64, f64)| gross - empty;
    Ok(Flood {
        attempts: u64::from(BURSTS) * u64::from(effort.burst),
        rate: 1e9 * bursts.len() as f64 / bursts.iter().map(|(gross, _)| gross).sum::<f64>(),
        held: effort.held,
        broken: broken.iter().filter(|broken| **broken).count() as u32,
        evicted: hold.kernel.dataplane()?.counters()?.flows.evicted,
        first_ns: bursts.first().map_or(0.0, net),
        last_ns: bursts.last().map_or(0.0, net),
    })
}

fn publishing(effort: Effort) -> Result<Publishing> {
    let mut hold = Hold::new(0, TrackingMode::Adaptive)?;
    let (mut plan, mut kernel) = (Vec::new(), Vec::new());
    for change in 0..effort.changes {
        hold.set_weights(if change.is_multiple_of(2) {
            |backend| 100 + u32::from(backend == 7) * 20
        } else {
            |_| 100
        });
        let began = Instant::now();
        let next = hold.world.after(Previous::Forwarding(&hold.forwarding), 0);
        let planned = Instant::now();
        hold.kernel.apply(&next)?;
        plan.push(planned - began);
        kernel.push(planned.elapsed());
        hold.forwarding = next;
    }
    Ok(Publishing {
        ring_and_plan_ms: median_ms(plan),
        kernel_ms: median_ms(kernel),
        changes: effort.changes,
    })
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1000.0)
}
