//! A vip's ring as its slots in the tables: local numbers, and in a transition what is left of the past.

use lb_common::abi::{EMPTY_SLOT, IN_TRANSITION, ORPHANED_SLOT, PastHead};

use crate::state::History;

/// The slots of a ring without a past. `locals`: of its dests.
pub(super) fn steady(ring: &[u16], locals: &[Option<u16>]) -> Vec<u16> {
    let local = |owner: &u16| locals.get(usize::from(*owner)).copied().flatten().unwrap_or(EMPTY_SLOT);
    ring.iter().map(local).collect()
}

/// The slots of a ring with a past. `locals`: of the past's dests.
pub(super) fn in_transition(past: &History, locals: &[Option<u16>]) -> Vec<u16> {
    let slot = |slot: &lb_common::transition::Slot<u16>| {
        let owner = slot.owner.and_then(|owner| locals[usize::from(owner)]);
        match (owner, slot.is_looked_up || past.tracks_all) {
            (Some(owner), false) => owner,
            (Some(owner), true) => owner | IN_TRANSITION,
            (None, true) => ORPHANED_SLOT,
            (None, false) => EMPTY_SLOT,
        }
    };
    past.ring.slots().iter().map(slot).collect()
}

/// What stands behind such a ring: the head, then the previous dest of each slot.
pub(super) fn past(past: &History, locals: &[Option<u16>]) -> Vec<u16> {
    let head = PastHead {
        learning_until_ns: past.learning_until_ns,
        since_ns: past.ring.since().unwrap_or(0),
        flags: if past.tracks_all { PastHead::TRACKS_ALL } else { 0 },
        reserved: 0,
    };
    let previous =
        past.ring.slots().iter().map(|slot| {
            slot.previous.and_then(|previous| locals[usize::from(previous)]).unwrap_or(EMPTY_SLOT)
        });
    head.to_slots().into_iter().chain(previous).collect()
}
