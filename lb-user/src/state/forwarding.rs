//! Everything the kernel has to know, with the rings built.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::maglev::{self, Member};

use super::{
    AccessRules, Affinity, Answers, Desired, DesiredAddress, DesiredMember, DesiredVip, Mode, NextHop,
    NextHops, Prefixes, ServerId, Tunnel, Unresolved, VipKey, VipOptions,
};

/// What the kernel should forward where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    pub hash_seed: u64,
    pub tunnel: Tunnel,
    pub answers: Answers,
    /// For all vips; asked before a vip's own.
    pub access: AccessRules,
    /// Every address of a vip.
    pub addresses: BTreeMap<IpAddr, DesiredAddress>,
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
    /// `ring_size` indices into `dests`, or all [`maglev::EMPTY`].
    pub ring: Vec<u16>,
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

impl Forwarding {
    /// Forwarding for `desired`. Rings of vips that have the same members in `previous` are taken from there.
    #[must_use]
    pub fn build(desired: &Desired, hops: &NextHops, previous: Option<&Self>) -> Self {
        Self::build_with(desired, hops, previous, |_, size, members| maglev::build(size, members))
    }

    /// As [`Self::build`], with the rings that have to be built made by `ring(vip, ring_size, members)`, so that the
    /// caller can time them.
    #[must_use]
    pub fn build_with(
        desired: &Desired,
        hops: &NextHops,
        previous: Option<&Self>,
        mut ring: impl FnMut(VipKey, u32, &[Member]) -> Vec<u16>,
    ) -> Self {
        let mut vips = BTreeMap::new();
        let mut routes = BTreeMap::new();
        for (key, vip) in &desired.vips {
            let mut ring = |size, members: &[Member]| ring(*key, size, members);
            let before = previous.and_then(|previous| previous.vips.get(key));
            vips.insert(*key, ForwardVip::build(vip, &vip.members, &desired.tunnel, hops, before, &mut ring));
            for (number, route) in (1..).zip(&vip.routes) {
                let before = previous.and_then(|previous| previous.routes.get(&(*key, number)));
                let built = ForwardVip::build(vip, &route.members, &desired.tunnel, hops, before, &mut ring);
                routes.insert((*key, number), built);
            }
        }
        Self {
            hash_seed: desired.hash_seed,
            tunnel: desired.tunnel.clone(),
            answers: desired.answers,
            access: desired.access.clone(),
            addresses: desired.addresses.clone(),
            vips,
            routes,
        }
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
    fn build(
        vip: &DesiredVip,
        members_of: &BTreeMap<String, DesiredMember>,
        tunnel: &Tunnel,
        hops: &NextHops,
        before: Option<&Arc<Self>>,
        ring: impl FnOnce(u32, &[Member]) -> Vec<u16>,
    ) -> Arc<Self> {
        let dests: BTreeMap<String, ForwardDest> = members_of
            .iter()
            .map(|(name, member)| {
                let hop = hops.get(&member.address).cloned().unwrap_or(Err(Unresolved::Pending));
                let next_hop = hop.and_then(|hop| usable(hop, member, tunnel));
                let weight = if next_hop.is_ok() { member.effective_weight() } else { 0 };
                let DesiredMember { address, mode, server_id, .. } = *member;
                (name.clone(), ForwardDest { address, weight, mode, server_id, next_hop })
            })
            .collect();
        let ring = match before {
            Some(before) if before.same_ring(vip.ring_size, &dests) => before.ring.clone(),
            _ => ring(vip.ring_size, &members(&dests)),
        };
        Arc::new(Self {
            ring_size: vip.ring_size,
            affinity: vip.affinity,
            options: vip.options.clone(),
            routes: vip.routes.iter().map(|route| route.sources.clone()).collect(),
            dests,
            ring,
        })
    }

    fn same_ring(&self, ring_size: u32, dests: &BTreeMap<String, ForwardDest>) -> bool {
        let key = |(name, dest): (&String, &ForwardDest)| (name.clone(), dest.address, dest.weight);
        self.ring_size == ring_size && self.dests.iter().map(key).eq(dests.iter().map(key))
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
        for number in &self.ring {
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

/// What a mode asks of a next hop.
fn usable(hop: NextHop, member: &DesiredMember, tunnel: &Tunnel) -> Result<NextHop, Unresolved> {
    let address = member.address;
    match (member.mode, hop.gateway) {
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

fn members(dests: &BTreeMap<String, ForwardDest>) -> Vec<Member> {
    dests.values().map(|dest| Member { identity: identity(dest.address), weight: dest.weight }).collect()
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
