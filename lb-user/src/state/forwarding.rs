//! Everything the kernel has to know, with the rings built.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::maglev::{self, Member};

use super::history::{Before, History, Now, Pasts};
use super::rings::Rings;
use super::{
    AccessRules, Affinity, Answers, Desired, DesiredAddress, DesiredMember, FlowTimes, Mode, NextHop,
    NextHops, Prefixes, ServerId, Tunnel, Unresolved, VipKey, VipOptions,
};

/// What the kernel should forward where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    pub hash_seed: u64,
    pub tunnel: Tunnel,
    pub answers: Answers,
    pub flows: FlowTimes,
    /// For all vips; asked before a vip's own.
    pub access: AccessRules,
    /// Every address of a vip.
    pub addresses: BTreeMap<IpAddr, DesiredAddress>,
    /// As in [`Desired::elected`].
    pub elected: BTreeSet<IpAddr>,
    pub vips: BTreeMap<VipKey, Arc<ForwardVip>>,
    /// The backends of a vip's routes, by the route's position plus one.
    pub routes: BTreeMap<(VipKey, u8), Arc<ForwardVip>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardVip {
    pub ring_size: u32,
    pub affinity: Affinity,
    pub options: VipOptions,
    /// Sources of the vip's routes, by position.
    pub routes: Vec<Prefixes>,
    /// By backend name; in this order `ring` numbers them.
    pub dests: BTreeMap<String, ForwardDest>,
    /// `ring_size` indices into `dests`, or all [`maglev::EMPTY`]. Vips with the same members have the very same ring.
    pub ring: Arc<[u16]>,
    /// What is left of earlier rings; `None` in steady state.
    pub past: Option<Arc<History>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardDest {
    pub address: IpAddr,
    /// Weight in the ring: 0 when drained, unused or without a next hop.
    pub weight: u32,
    pub mode: Mode,
    pub server_id: Option<ServerId>,
    pub next_hop: Result<NextHop, Unresolved>,
}

/// What a change does to one vip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipPlan {
    pub key: VipKey,
    pub kind: VipPlanKind,
    pub ring_size: u32,
    /// Slots whose flows get another backend.
    pub slots_moved: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipPlanKind {
    Added,
    Removed,
    /// The ring or a dest changes.
    Changed,
}

/// What runs before a change.
#[derive(Clone, Copy, Debug)]
pub enum Previous<'a> {
    Nothing,
    Forwarding(&'a Forwarding),
    /// What an earlier daemon has left in the kernel.
    Found(&'a Found),
    /// What runs here; but vips for which packets go to another node are as they are there.
    Followed {
        here: &'a Forwarding,
        there: &'a Found,
    },
}

/// Rings of an earlier daemon or of another node, by vip and number of the route (0: the vip's own).
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub hash_seed: u64,
    pub rings: BTreeMap<(VipKey, u8), History>,
}

impl<'a> Previous<'a> {
    /// With another seed, every flow has another slot.
    fn of(self, vip: VipKey, route: u8, hash_seed: u64) -> Option<Before<'a>> {
        match self {
            Self::Forwarding(before) if before.hash_seed == hash_seed => {
                let before = match route {
                    0 => before.vips.get(&vip),
                    _ => before.routes.get(&(vip, route)),
                };
                Some(Before::Vip(before?))
            }
            Self::Found(found) if found.hash_seed == hash_seed => {
                Some(Before::Found(found.rings.get(&(vip, route))?))
            }
            Self::Followed { here, there } => {
                let there = Self::Found(there).of(vip, route, hash_seed);
                there.or_else(|| Self::Forwarding(here).of(vip, route, hash_seed))
            }
            _ => None,
        }
    }

    /// A vip or route as it runs here, whose ring need not be built again if its members are the same.
    pub(super) fn built(self, vip: VipKey, route: u8) -> Option<&'a Arc<ForwardVip>> {
        match route {
            0 => self.here()?.vips.get(&vip),
            _ => self.here()?.routes.get(&(vip, route)),
        }
    }

    /// All vips and routes as they run here.
    pub(super) fn all_built(self) -> impl Iterator<Item = &'a Arc<ForwardVip>> {
        self.here().into_iter().flat_map(|here| here.vips.values().chain(here.routes.values()))
    }

    const fn here(self) -> Option<&'a Forwarding> {
        match self {
            Self::Forwarding(here) | Self::Followed { here, .. } => Some(here),
            Self::Nothing | Self::Found(_) => None,
        }
    }
}

impl Forwarding {
    /// Forwarding for `desired`. Rings of vips that have the same members in `previous` are taken from there.
    #[must_use]
    pub fn build(desired: &Desired, hops: &NextHops, previous: Option<&Self>) -> Self {
        let previous = previous.map_or(Previous::Nothing, Previous::Forwarding);
        Self::build_with(desired, hops, previous, 0, |_, size, members| maglev::build(size, members))
    }

    /// As [`Self::build`], with the rings that have to be built made by `ring(vip, ring_size, members)`, so that the
    /// caller can time them: one for all vips that have the same members. `now_ns` is on the kernel's monotonic clock.
    #[must_use]
    pub fn build_with(
        desired: &Desired,
        hops: &NextHops,
        previous: Previous<'_>,
        now_ns: u64,
        ring: impl FnMut(VipKey, u32, &[Member]) -> Vec<u16>,
    ) -> Self {
        let mut vips = BTreeMap::new();
        let mut routes = BTreeMap::new();
        let mut rings = Rings::new(previous, ring);
        let mut pasts = Pasts::default();
        for (key, vip) in &desired.vips {
            let mut build = |number, members| {
                let dests = dests(members, &desired.tunnel, hops);
                let ring = rings.of((*key, number), vip.ring_size, &dests);
                let mut built = ForwardVip {
                    ring_size: vip.ring_size,
                    affinity: vip.affinity,
                    options: vip.options.clone(),
                    routes: vip.routes.iter().map(|route| route.sources.clone()).collect(),
                    dests,
                    ring,
                    past: None,
                };
                let refreshed = |dest: &ForwardDest| {
                    let next_hop = next_hop(dest.address, dest.mode, &desired.tunnel, hops);
                    ForwardDest { next_hop, ..dest.clone() }
                };
                let before = previous.of(*key, number, desired.hash_seed);
                let now = Now { now_ns, times: &desired.flows, given_up: &vip.given_up };
                built.past = pasts.carry_over(before, &built, refreshed, now);
                // What stays the same stays the same memory: comparing it takes no time then.
                let same = previous.built(*key, number).filter(|before| ***before == built);
                same.map_or_else(|| Arc::new(built), Arc::clone)
            };
            vips.insert(*key, build(0, &vip.members));
            for (number, route) in (1..).zip(&vip.routes) {
                routes.insert((*key, number), build(number, &route.members));
            }
        }
        Self {
            hash_seed: desired.hash_seed,
            tunnel: desired.tunnel.clone(),
            answers: desired.answers,
            flows: desired.flows,
            access: desired.access.clone(),
            addresses: desired.addresses.clone(),
            elected: desired.elected.clone(),
            vips,
            routes,
        }
    }

    /// The same when what is over has ended; `None` when nothing ends. `has_flows`: whether flows of a vip or its route are
    /// remembered to be on a backend.
    #[must_use]
    pub fn without_what_is_over(
        &self,
        has_flows: impl Fn(VipKey, u8, IpAddr) -> bool,
        now_ns: u64,
    ) -> Option<Self> {
        let mut next = self.clone();
        let mut ends = false;
        let vips = next.vips.iter_mut().map(|(key, vip)| ((*key, 0), vip));
        for ((vip, route), entry) in vips.chain(next.routes.iter_mut().map(|(key, entry)| (*key, entry))) {
            let has_flows = |backend| has_flows(vip, route, backend);
            if let Some(without) = entry.without_what_is_over(&self.flows, has_flows, now_ns) {
                *entry = Arc::new(without);
                ends = true;
            }
        }
        ends.then_some(next)
    }

    /// Backends that flows may belong to although they own no slot.
    pub fn past_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let pasts = self.vips.values().chain(self.routes.values()).filter_map(|vip| vip.past.as_deref());
        pasts.flat_map(History::past_dests).map(|dest| dest.address)
    }

    /// Whether flows of any vip may belong to others than their slot's owner, or are all remembered.
    #[must_use]
    pub fn has_past(&self) -> bool {
        self.vips.values().chain(self.routes.values()).any(|vip| vip.past.is_some())
    }

    /// What it takes to get from `self` to `next`, for people to read. Vips that stay as they are are left out.
    #[must_use]
    pub fn plan(&self, next: &Self) -> Vec<VipPlan> {
        let gone =
            self.vips.iter().filter(|(key, _)| !next.vips.contains_key(key)).map(|(key, vip)| VipPlan {
                key: *key,
                kind: VipPlanKind::Removed,
                ring_size: vip.ring_size,
                slots_moved: vip.used_slots(),
            });
        let stay = next.vips.iter().filter_map(|(key, vip)| match self.vips.get(key) {
            None => Some(VipPlan {
                key: *key,
                kind: VipPlanKind::Added,
                ring_size: vip.ring_size,
                slots_moved: vip.used_slots(),
            }),
            Some(before) if before == vip && self.same_routes(next, *key) && self.same_globals(next) => None,
            Some(before) => Some(VipPlan {
                key: *key,
                kind: VipPlanKind::Changed,
                ring_size: vip.ring_size,
                slots_moved: if self.hash_seed == next.hash_seed {
                    before.slots_moved(vip) + self.slots_moved_in_routes(next, *key)
                } else {
                    vip.used_slots()
                },
            }),
        });
        gone.chain(stay).collect()
    }

    fn same_globals(&self, other: &Self) -> bool {
        (self.hash_seed, &self.tunnel, &self.access) == (other.hash_seed, &other.tunnel, &other.access)
    }

    fn same_routes(&self, other: &Self, vip: VipKey) -> bool {
        self.routes_of(vip).eq(other.routes_of(vip))
    }

    /// Of routes that stay: what a new set of sources moves cannot be told in slots.
    fn slots_moved_in_routes(&self, next: &Self, vip: VipKey) -> u32 {
        let moved = |(number, before): (u8, &Arc<ForwardVip>)| {
            next.routes.get(&(vip, number)).map_or(0, |after| before.slots_moved(after))
        };
        self.routes_of(vip).map(moved).sum()
    }

    /// The routes of a vip by their numbers.
    pub fn routes_of(&self, vip: VipKey) -> impl Iterator<Item = (u8, &Arc<ForwardVip>)> {
        self.routes.range((vip, 0)..=(vip, u8::MAX)).map(|((_, number), route)| (*number, route))
    }
}

impl ForwardVip {
    /// Whether a ring of these dests is the one that this vip has.
    pub(super) fn has_ring_of(&self, ring_size: u32, dests: &BTreeMap<String, ForwardDest>) -> bool {
        let member = |dest: &ForwardDest| (dest.address, dest.weight);
        self.ring_size == ring_size && self.dests.values().map(member).eq(dests.values().map(member))
    }

    /// The backend that owns `slot`.
    #[must_use]
    pub fn owner(&self, slot: u32) -> Option<(&str, &ForwardDest)> {
        let number = *self.ring.get(slot as usize)?;
        self.dests.iter().nth(usize::from(number)).map(|(name, dest)| (name.as_str(), dest))
    }

    /// Slots of each dest, in the order of `dests`.
    #[must_use]
    pub fn shares(&self) -> Vec<u32> {
        let mut shares = vec![0; self.dests.len()];
        for number in self.ring.iter() {
            if let Some(share) = shares.get_mut(usize::from(*number)) {
                *share += 1;
            }
        }
        shares
    }

    fn used_slots(&self) -> u32 {
        self.ring.iter().filter(|number| **number != maglev::EMPTY).count() as u32
    }

    /// Slots whose owner has another address in `next`. Another ring size or affinity moves all of them.
    fn slots_moved(&self, next: &Self) -> u32 {
        if self.ring_size != next.ring_size || self.affinity != next.affinity {
            return next.used_slots();
        }
        let before: Vec<_> = self.dests.values().map(|dest| dest.address).collect();
        let after: Vec<_> = next.dests.values().map(|dest| dest.address).collect();
        maglev::moved(&self.ring, &next.ring, |b, a| before.get(usize::from(b)) == after.get(usize::from(a)))
    }
}

/// A vip's or route's members with their next hops.
fn dests(
    members: &BTreeMap<String, DesiredMember>,
    tunnel: &Tunnel,
    hops: &NextHops,
) -> BTreeMap<String, ForwardDest> {
    let dest = |member: &DesiredMember| {
        let DesiredMember { address, mode, server_id, .. } = *member;
        let next_hop = next_hop(address, mode, tunnel, hops);
        let weight = if next_hop.is_ok() { member.effective_weight() } else { 0 };
        ForwardDest { address, weight, mode, server_id, next_hop }
    };
    members.iter().map(|(name, member)| (name.clone(), dest(member))).collect()
}

fn next_hop(address: IpAddr, mode: Mode, tunnel: &Tunnel, hops: &NextHops) -> Result<NextHop, Unresolved> {
    let hop = hops.get(&address).cloned().unwrap_or(Err(Unresolved::Pending));
    hop.and_then(|hop| usable(hop, address, mode, tunnel))
}

/// What a mode asks of a next hop.
fn usable(hop: NextHop, address: IpAddr, mode: Mode, tunnel: &Tunnel) -> Result<NextHop, Unresolved> {
    match (mode, hop.gateway) {
        (Mode::Ipip | Mode::Gue, _) => with_source(hop, address, tunnel),
        (Mode::L2, None) => Ok(hop),
        (Mode::L2, Some(gateway)) => {
            Err(Unresolved::BehindGateway { address, gateway, interface: hop.interface })
        }
    }
}

/// Behind a tunnel, a next hop is of use only with an outer source: the configured one, or the one that the route prefers.
fn with_source(hop: NextHop, address: IpAddr, tunnel: &Tunnel) -> Result<NextHop, Unresolved> {
    let preferred = hop.preferred_source.is_some_and(|source| source.is_ipv4() == address.is_ipv4());
    let (configured, setting) = match address {
        IpAddr::V4(_) => (tunnel.source4.is_some(), "source4"),
        IpAddr::V6(_) => (tunnel.source6.is_some(), "source6"),
    };
    if preferred || configured {
        Ok(hop)
    } else {
        Err(Unresolved::NoSource { address, interface: hop.interface, setting })
    }
}

/// An address as the ring's stable identity.
#[must_use]
pub fn identity(address: IpAddr) -> maglev::Identity {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests;
