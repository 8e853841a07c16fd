//! What a change does to the flows of each vip.

use std::net::IpAddr;
use std::sync::Arc;

use super::engine::Engine;
use super::view;
use crate::api::types::{SlowStartPlan, VipChange};
use crate::dataplane::Dataplane;
use crate::state::{Desired, ForwardVip, Forwarding, TrackingMode, VipKey, Warming};

impl<D: Dataplane> Engine<D> {
    /// What it takes to get to `next`, which is built from `desired`; `warming`: slow starts that begin with it.
    pub(super) fn plan(&self, next: &Forwarding, desired: &Desired, warming: &[Warming]) -> Vec<VipChange> {
        let plans = self.applied.plan(next);
        let mut changes = view::plan(&plans, &self.desired, desired);
        for (change, plan) in changes.iter_mut().zip(&plans) {
            let after = Next { forwarding: next, desired, vip: plan.key };
            change.transitions = rings(&self.applied, next, plan.key)
                .map(|(before, now)| transitions(before, now, |address| after.serves(before, address)))
                .sum();
            (change.flows_kept, change.flows_lost) = self.flows_touched(&after);
            let of_vip = warming.iter().filter(|warming| warming.vip == plan.key);
            change.slow_starts = of_vip.map(slow_start_plan).collect();
        }
        changes
    }

    /// Remembered flows of backends that have fewer slots afterwards: those that stay, and those that do not.
    fn flows_touched(&self, after: &Next<'_>) -> (u64, u64) {
        let Some(before) = self.applied.vips.get(&after.vip) else { return (0, 0) };
        let now = after.forwarding.vips.get(&after.vip);
        let (mut kept, mut lost) = (0, 0);
        for (dest, slots) in before.dests.values().zip(before.shares()) {
            let flows = self.remembered(after.vip, dest.address);
            let loses = now.is_none_or(|now| slots_of(now, dest.address) < slots);
            match after.serves(before, dest.address) {
                false => lost += flows,
                true if loses => kept += flows,
                true => {}
            }
        }
        (kept, lost)
    }
}

/// A vip after a change.
struct Next<'a> {
    forwarding: &'a Forwarding,
    desired: &'a Desired,
    vip: VipKey,
}

impl Next<'_> {
    /// Whether flows that have begun on a backend under `before` go on there.
    fn serves(&self, before: &ForwardVip, backend: IpAddr) -> bool {
        let (Some(desired), Some(vip)) =
            (self.desired.vips.get(&self.vip), self.forwarding.vips.get(&self.vip))
        else {
            return false;
        };
        let dest = |vip: &ForwardVip| vip.dests.values().find(|dest| dest.address == backend).cloned();
        desired.options.tracking != TrackingMode::None
            && !desired.given_up.contains(&backend)
            && dest(vip).or_else(|| dest(before)).is_some_and(|dest| dest.next_hop.is_ok())
    }
}

/// A vip's ring before and after, and those of its routes that stay, where slots can be compared.
fn rings<'a>(
    before: &'a Forwarding,
    after: &'a Forwarding,
    vip: VipKey,
) -> impl Iterator<Item = (&'a Arc<ForwardVip>, &'a Arc<ForwardVip>)> {
    let own = before.vips.get(&vip).zip(after.vips.get(&vip));
    let routes = before
        .routes_of(vip)
        .filter_map(move |(number, before)| Some((before, after.routes.get(&(vip, number))?)));
    let is_comparable = |(before, after): &(&Arc<ForwardVip>, &Arc<ForwardVip>)| {
        (before.ring_size, before.affinity) == (after.ring_size, after.affinity)
    };
    let same_seed = before.hash_seed == after.hash_seed;
    own.into_iter().chain(routes).filter(is_comparable).filter(move |_| same_seed)
}

/// Slots that change hands while flows stay with the owner before.
fn transitions(before: &ForwardVip, after: &ForwardVip, serves: impl Fn(IpAddr) -> bool) -> u32 {
    let addresses = |vip: &ForwardVip| vip.dests.values().map(|dest| dest.address).collect::<Vec<_>>();
    let (old, new) = (addresses(before), addresses(after));
    let stays: Vec<bool> = old.iter().map(|address| serves(*address)).collect();
    let begins = |(before, after): &(&u16, &u16)| {
        let (before, after) = (usize::from(**before), usize::from(**after));
        old.get(before) != new.get(after) && stays.get(before).copied().unwrap_or(false)
    };
    before.ring.iter().zip(after.ring.iter()).filter(begins).count() as u32
}

fn slots_of(vip: &ForwardVip, backend: IpAddr) -> u32 {
    let dests = vip.dests.values().zip(vip.shares());
    dests.filter(|(dest, _)| dest.address == backend).map(|(_, slots)| slots).sum()
}

fn slow_start_plan(warming: &Warming) -> SlowStartPlan {
    SlowStartPlan {
        backend: warming.backend.clone(),
        takes_seconds: warming.takes.as_secs_f64(),
        steps: warming.steps,
    }
}
