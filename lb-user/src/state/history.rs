//! Where flows belong that began under earlier rings of a vip: its ring as it came to be, step by step.
//!
//! A [`History`] is made when a ring changes and carried from one [`super::Forwarding`] to the next until nothing is left of
//! the past. [`lb_common::transition`] has the rules; here they meet backends, which come and go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::maglev;
use lb_common::transition::{Ring, Slot, Timing};

use super::{FlowTimes, ForwardDest, ForwardVip, TrackingMode};

/// A vip's ring with its past. Dests are told apart by their position in `dests`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Every dest that a slot or a record may name, those that have left the vip too. Grows until the past is over.
    pub dests: Vec<ForwardDest>,
    pub ring: Ring<u16>,
    /// On the kernel's monotonic clock: until then, datagrams without a record are taken to be of older flows.
    pub learning_until_ns: u64,
    /// All flows are remembered.
    pub tracks_all: bool,
}

/// What a vip's next history depends on besides its ring before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now<'a> {
    /// On the kernel's monotonic clock.
    pub(super) now_ns: u64,
    pub(super) times: &'a FlowTimes,
    /// Backends on which no flow goes on.
    pub(super) given_up: &'a BTreeSet<IpAddr>,
}

impl History {
    /// The history of a ring that was found in the kernel.
    #[must_use]
    pub fn found(
        dests: Vec<ForwardDest>,
        slots: Vec<Slot<u16>>,
        since_ns: u64,
        learning_until_ns: u64,
    ) -> Self {
        let every = 0..dests.len() as u16;
        let ring = Ring::found(slots, since_ns, every);
        Self { dests, ring, learning_until_ns, tracks_all: false }
    }

    /// The history of a vip as it is now.
    fn of(vip: &ForwardVip) -> Self {
        if let Some(past) = &vip.past {
            return History::clone(past);
        }
        let owners = vip.ring.iter().map(|owner| (*owner != maglev::EMPTY).then_some(*owner));
        Self {
            dests: vip.dests.values().cloned().collect(),
            ring: Ring::steady(owners),
            learning_until_ns: 0,
            tracks_all: false,
        }
    }

    /// The dests that flows may belong to although they own no slot.
    pub fn past_dests(&self) -> impl Iterator<Item = &ForwardDest> {
        self.ring.past().into_iter().filter_map(|number| self.dests.get(usize::from(number)))
    }

    /// Takes the vip's new ring and backends in.
    fn follow(&mut self, vip: &ForwardVip, refreshed: impl Fn(&ForwardDest) -> ForwardDest, now: Now<'_>) {
        let Now { now_ns, times, given_up } = now;
        for dest in &mut self.dests {
            let member = vip.dests.values().find(|member| member.address == dest.address);
            *dest = member.cloned().unwrap_or_else(|| ForwardDest { weight: 0, ..refreshed(dest) });
        }
        let numbers: Vec<u16> = vip.dests.values().map(|dest| self.number_of(dest)).collect();
        let owners: Vec<Option<u16>> =
            vip.ring.iter().map(|owner| numbers.get(usize::from(*owner)).copied()).collect();
        let serves: Vec<bool> = self
            .dests
            .iter()
            .map(|dest| dest.next_hop.is_ok() && !given_up.contains(&dest.address))
            .collect();
        let serves = |number: u16| serves.get(usize::from(number)).copied().unwrap_or(false);
        self.ring.give_up(serves);
        if self.ring.slots().iter().map(|slot| slot.owner).ne(owners.iter().copied()) {
            self.ring.give(owners, serves, now_ns);
            self.learning_until_ns = now_ns + nanos(times.udp_learning);
        }
    }

    fn number_of(&mut self, dest: &ForwardDest) -> u16 {
        let known = self.dests.iter().position(|known| known.address == dest.address);
        let position = known.unwrap_or_else(|| {
            self.dests.push(dest.clone());
            self.dests.len() - 1
        });
        position as u16
    }
}

/// The histories of one [`super::Forwarding`] as it is built: vips that had the same ring and come to the same ring share
/// theirs.
#[derive(Default)]
pub(super) struct Pasts<'a> {
    /// By where the ring before, its past, and the ring now are.
    carried: HashMap<[usize; 3], Vec<Carried<'a>>>,
}

/// All that a vip's history depends on but what is one for all vips of a build, and the history.
struct Carried<'a> {
    before: &'a ForwardVip,
    dests: BTreeMap<String, ForwardDest>,
    tracks_all: bool,
    given_up: BTreeSet<IpAddr>,
    past: Option<Arc<History>>,
}

impl<'a> Pasts<'a> {
    /// The history of `vip` after its ring has changed from `before`, if anything of it is left.
    pub(super) fn carry_over(
        &mut self,
        before: Option<Before<'a>>,
        vip: &ForwardVip,
        refreshed: impl Fn(&ForwardDest) -> ForwardDest,
        now: Now<'_>,
    ) -> Option<Arc<History>> {
        if vip.options.tracking == TrackingMode::None {
            return None;
        }
        let tracks_all = vip.options.tracking == TrackingMode::Full;
        let carried = |mut history: History| {
            history.follow(vip, refreshed, now);
            history.tracks_all = tracks_all;
            settled(history)
        };
        let before = match before {
            Some(Before::Vip(before)) if is_comparable(before, vip) => before,
            Some(Before::Found(found)) if found.ring.slots().len() == vip.ring.len() => {
                return carried(found.clone());
            }
            _ => return carried(History::of(vip)),
        };
        if before.past.is_none() && !tracks_all && same_owners(before, vip) {
            return None;
        }
        let past = before.past.as_ref().map_or(0, |past| Arc::as_ptr(past).addr());
        let key = [Arc::as_ptr(&before.ring).addr(), past, Arc::as_ptr(&vip.ring).addr()];
        let alike = self.carried.entry(key).or_default();
        let is_same = |other: &&Carried<'_>| {
            other.tracks_all == tracks_all
                && other.before.dests == before.dests
                && other.dests == vip.dests
                && other.given_up == *now.given_up
        };
        if let Some(same) = alike.iter().find(is_same) {
            return same.past.clone();
        }
        let (dests, given_up) = (vip.dests.clone(), now.given_up.clone());
        let past = carried(History::of(before));
        alike.push(Carried { before, dests, tracks_all, given_up, past: past.clone() });
        past
    }
}

/// What was before a vip's new ring.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    Vip(&'a ForwardVip),
    /// In the kernel.
    Found(&'a History),
}

/// `None` when nothing is left of the past.
fn settled(history: History) -> Option<Arc<History>> {
    (history.tracks_all || !history.ring.is_steady()).then(|| Arc::new(history))
}

/// Whether a flow has the same slot in both.
fn is_comparable(before: &ForwardVip, vip: &ForwardVip) -> bool {
    before.ring_size == vip.ring_size && before.affinity == vip.affinity
}

fn same_owners(before: &ForwardVip, vip: &ForwardVip) -> bool {
    let owners = |vip: &ForwardVip| vip.dests.values().map(|dest| dest.address).collect::<Vec<_>>();
    let (before_dests, dests) = (owners(before), owners(vip));
    if Arc::ptr_eq(&before.ring, &vip.ring) && before_dests == dests {
        return true;
    }
    before
        .ring
        .iter()
        .zip(vip.ring.iter())
        .all(|(before, owner)| before_dests.get(usize::from(*before)) == dests.get(usize::from(*owner)))
}

impl ForwardVip {
    /// The vip when what is over has ended: `has_flows` says whether there are live records of a backend's flows. `None` when
    /// nothing ends.
    #[must_use]
    pub fn without_what_is_over(
        &self,
        times: &FlowTimes,
        has_flows: impl Fn(IpAddr) -> bool,
        now_ns: u64,
    ) -> Option<Self> {
        let past = self.past.as_ref()?;
        let timing = Timing { timeout: nanos(times.transition), quiet: nanos(times.quiet) };
        let mut history = History::clone(past);
        let dests = &past.dests;
        let has = |number: u16| dests.get(usize::from(number)).is_some_and(|dest| has_flows(dest.address));
        history.ring.end(timing, has, now_ns);
        (history != **past).then(|| Self { past: settled(history), ..self.clone() })
    }

    /// Whether flows of a slot may belong to another backend than its owner, or are remembered anyway.
    #[must_use]
    pub fn is_in_transition(&self, slot: u32) -> bool {
        self.past.as_ref().is_some_and(|past| {
            past.tracks_all || past.ring.slots().get(slot as usize).is_some_and(|slot| slot.is_looked_up)
        })
    }

    /// Slots whose flows may belong to another backend than their owner.
    #[must_use]
    pub fn in_transition(&self) -> usize {
        self.past.as_ref().map_or(0, |past| past.ring.in_transition())
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
