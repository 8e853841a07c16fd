//! The rings of one [`super::Forwarding`] as it is built: taken over from what runs, or built where they are new, once for all
//! vips that have the same members.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lb_common::maglev::Member;

use super::forwarding::identity;
use super::{ForwardDest, ForwardVip, Previous, VipKey};

pub(super) struct Rings<'a, F> {
    previous: Previous<'a>,
    /// Builds a ring of so many slots, for a vip.
    build: F,
    /// By ring size and members, in the order in which slots number them.
    built: HashMap<(u32, Vec<Member>), Arc<[u16]>>,
}

impl<'a, F: FnMut(VipKey, u32, &[Member]) -> Vec<u16>> Rings<'a, F> {
    pub(super) fn new(previous: Previous<'a>, build: F) -> Self {
        Self { previous, build, built: HashMap::new() }
    }

    /// The ring of a vip or its route: one that runs already, if there is one.
    pub(super) fn of(
        &mut self,
        (vip, route): (VipKey, u8),
        size: u32,
        dests: &BTreeMap<String, ForwardDest>,
    ) -> Arc<[u16]> {
        let is_same = |running: &&Arc<ForwardVip>| running.has_ring_of(size, dests);
        if let Some(running) = self.previous.built(vip, route).filter(is_same) {
            return Arc::clone(&running.ring);
        }
        let ring = self.built.entry((size, members(dests))).or_insert_with_key(|(_, members)| {
            let running = self.previous.all_built().find(is_same);
            running
                .map_or_else(|| (self.build)(vip, size, members).into(), |running| Arc::clone(&running.ring))
        });
        Arc::clone(ring)
    }
}

fn members(dests: &BTreeMap<String, ForwardDest>) -> Vec<Member> {
    dests.values().map(|dest| Member { identity: identity(dest.address), weight: dest.weight }).collect()
}
