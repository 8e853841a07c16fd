//! One vip or route in the tables: its ring, its block of dests, and who has which local number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::{Dest, Place, Policy, Target};

use super::server_ids;
use crate::dataplane::extents::Extent;
use crate::state::{Affinity, ForwardDest, ForwardVip, Fragments};

/// A vip or route in the tables.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) number: u32,
    pub(super) vip: Arc<ForwardVip>,
    pub(super) ring: Option<Extent>,
    pub(super) block: Extent,
    /// By local number.
    pub(super) locals: Vec<Option<Local>>,
    /// Where in `POLICIES`, and what; never a route's.
    pub(super) policy: Option<(u32, Policy)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Local {
    Live {
        backend: IpAddr,
        dest: Box<Dest>,
    },
    /// Left, but packets may still read it.
    Retired,
}

/// A dest that slots, connection ids or flows name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) backend: IpAddr,
    /// Its number in flow records; 0: none.
    pub(super) owner: u16,
}

/// The dests that slots of `vip`, connection ids or flows name.
pub(super) fn dests_in_use(vip: &ForwardVip) -> Vec<&ForwardDest> {
    let past: BTreeMap<IpAddr, &ForwardDest> =
        vip.past.iter().flat_map(|past| past.past_dests()).map(|dest| (dest.address, dest)).collect();
    let in_use = |dest: &&ForwardDest| {
        dest.weight > 0 || server_ids::is_named(vip, dest) || past.contains_key(&dest.address)
    };
    let members: BTreeSet<IpAddr> = vip.dests.values().map(|dest| dest.address).collect();
    let left = past.values().copied().filter(|dest| !members.contains(&dest.address));
    vip.dests.values().filter(in_use).chain(left).collect()
}

impl Placed {
    pub(super) fn new(number: u32, vip: &Arc<ForwardVip>) -> Self {
        Self {
            number,
            vip: Arc::clone(vip),
            ring: None,
            block: Extent { start: 0, len: 0 },
            locals: Vec::new(),
            policy: None,
        }
    }

    /// Gives each wanted dest a local number: its old one when nothing about it changed, else a free one. `None` when the
    /// block is too small; nothing is changed then.
    pub(super) fn assign(&mut self, wanted: &[(Wanted, Box<Dest>)]) -> Option<Vec<u16>> {
        let mut locals = self.locals.clone();
        let mut numbers = Vec::with_capacity(wanted.len());
        for (want, dest) in wanted {
            let same = |local: &Option<Local>| match local {
                Some(Local::Live { backend, dest: entry }) => *backend == want.backend && entry == dest,
                _ => false,
            };
            let number = match locals.iter().position(same) {
                Some(number) => number,
                None => locals.iter().position(Option::is_none)?,
            };
            locals[number] = Some(Local::Live { backend: want.backend, dest: dest.clone() });
            numbers.push(number as u16);
        }
        self.locals = locals;
        Some(numbers)
    }

    /// Where its live dests' packets leave.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = u32> + '_ {
        self.locals.iter().filter_map(|local| match local {
            Some(Local::Live { dest, .. }) => Some(dest.ifindex),
            _ => None,
        })
    }

    pub(super) fn place(&self) -> Place {
        match self.ring {
            Some(ring) => Place { ring_page: ring.start, dest_base: self.block.start },
            None => Place::NONE,
        }
    }

    /// Its entry in bank `bank`.
    pub(super) fn target(&self, bank: u32) -> Target {
        let ports_mask = match self.vip.affinity {
            Affinity::FiveTuple => u32::MAX,
            Affinity::Source => 0,
            Affinity::SourceAndPort => 0xffff_0000,
        };
        Target {
            place: self.place().to_word(),
            ring_size: self.vip.ring_size,
            ports_mask,
            vip: self.number,
            flags: self.flags(bank),
        }
    }

    fn flags(&self, bank: u32) -> u32 {
        let bank = if bank == 0 { 0 } else { Target::BANK };
        let policy = self.policy.map_or(0, |(index, _)| Target::POLICY | index << Target::POLICY_SHIFT);
        bank | policy | server_ids::flags(&self.vip) | fragments(self.vip.options.fragments)
    }
}

const fn fragments(fragments: Fragments) -> u32 {
    match fragments {
        Fragments::Track => 0,
        Fragments::Hash => Target::FRAGMENTS_HASH,
        Fragments::Drop => Target::FRAGMENTS_DROP,
    }
}
