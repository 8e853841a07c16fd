//! What becomes of a slot when its ring changes: the other half of [`crate::flow`]. Pure; user space applies it slot by slot.
//!
//! ```text
//! steady (A)  --ring says B-->  (B, previous A, looked up)  --ring says C-->  (C, previous A, looked up)
//!                                     |                                            |
//!                                     +---ring says A-->  (A, looked up) <---------+  flows to B and C have records
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A slot: who owns it, and what is left of its past. `D` tells dests apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot<D> {
    /// `None`: the ring is empty.
    pub owner: Option<D>,
    /// Where flows without a record belong, when that is not the owner.
    pub previous: Option<D>,
    /// Flows of this slot may have records that name another dest than the owner.
    pub is_looked_up: bool,
}

impl<D: Copy + Eq> Slot<D> {
    /// A slot without a past.
    #[must_use]
    pub const fn steady(owner: Option<D>) -> Self {
        Self { owner, previous: None, is_looked_up: false }
    }

    /// The dest of flows without a record.
    #[must_use]
    pub fn unrecorded(&self) -> Option<D> {
        self.previous.or(self.owner)
    }

    /// The slot after the ring gave it to `owner`. `serves`: whether flows that have begun on a dest can go on there. While
    /// a slot is in transition it keeps its first previous dest: every flow begun since has a record.
    #[must_use]
    pub fn given_to(&self, owner: Option<D>, serves: impl Fn(D) -> bool) -> Self {
        let unrecorded = self.unrecorded().filter(|dest| serves(*dest));
        let previous = unrecorded.filter(|dest| Some(*dest) != owner);
        Self { owner, previous, is_looked_up: self.is_looked_up || previous.is_some() }
    }

    /// The slot when all flows without a record are over: records decide alone.
    #[must_use]
    pub const fn without_previous(&self) -> Self {
        Self { previous: None, ..*self }
    }
}

/// When transitions end, in the unit of the `now` that [`Ring`] is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After so long, a flow without a record is taken to be over.
    pub timeout: u64,
    /// After so long already, when the previous dest has no live record: flows that are quiet for longer are lost then.
    pub quiet: u64,
}

/// All slots of a vip, and how long their transitions go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring<D> {
    slots: Vec<Slot<D>>,
    /// For each slot, an index into `waves`; empty while no slot has a past.
    wave_of: Vec<u16>,
    /// The first one is that of slots without a past.
    waves: Vec<Wave<D>>,
}

/// What slots with the same history share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wave<D> {
    /// When `previous` became that.
    since: u64,
    /// Dests that flows of these slots may have records of.
    past: BTreeSet<D>,
}

/// Waves beyond this number are joined into one, whose transitions end together.
const MAX_WAVES: usize = 4096;

impl<D: Copy + Ord> Ring<D> {
    /// A ring without a past.
    #[must_use]
    pub fn steady(owners: impl IntoIterator<Item = Option<D>>) -> Self {
        Self {
            slots: owners.into_iter().map(Slot::steady).collect(),
            wave_of: Vec::new(),
            waves: Vec::from([Wave { since: 0, past: BTreeSet::new() }]),
        }
    }

    /// A ring as it was found. Any flow that has a record may be of any slot that is looked up.
    #[must_use]
    pub fn found(slots: Vec<Slot<D>>, since: u64, recorded: impl IntoIterator<Item = D>) -> Self {
        let mut past: BTreeSet<D> = recorded.into_iter().collect();
        past.extend(slots.iter().filter_map(|slot| slot.previous));
        let nothing = Wave { since: 0, past: BTreeSet::new() };
        let wave_of = slots.iter().map(|slot| u16::from(slot.is_looked_up)).collect();
        let mut ring = Self { slots, wave_of, waves: Vec::from([nothing, Wave { since, past }]) };
        ring.forget_what_is_over();
        ring
    }

    #[must_use]
    pub fn slots(&self) -> &[Slot<D>] {
        &self.slots
    }

    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.wave_of.is_empty()
    }

    /// Slots that are looked up.
    #[must_use]
    pub fn in_transition(&self) -> usize {
        self.wave_of.iter().filter(|wave| **wave != 0).count()
    }

    /// When the latest transition began.
    #[must_use]
    pub fn since(&self) -> Option<u64> {
        self.wave_of.iter().filter(|wave| **wave != 0).map(|wave| self.waves[usize::from(*wave)].since).max()
    }

    /// Dests that flows may belong to though no slot does: they have to stay reachable.
    #[must_use]
    pub fn past(&self) -> BTreeSet<D> {
        let previous = self.slots.iter().filter_map(|slot| slot.previous);
        let past = self.waves.iter().flat_map(|wave| wave.past.iter().copied());
        if self.is_steady() { BTreeSet::new() } else { previous.chain(past).collect() }
    }

    /// Gives each slot to the owner that a new ring of the same size says. `serves`: whether flows that have begun on a dest
    /// can go on there.
    pub fn give(
        &mut self,
        owners: impl IntoIterator<Item = Option<D>>,
        serves: impl Fn(D) -> bool,
        now: u64,
    ) {
        if self.wave_of.is_empty() {
            self.wave_of = alloc::vec![0; self.slots.len()];
        }
        let mut next: BTreeMap<(u16, Option<D>, bool), u16> = BTreeMap::new();
        for ((slot, wave), owner) in self.slots.iter_mut().zip(&mut self.wave_of).zip(owners) {
            let before = *slot;
            *slot = before.given_to(owner, &serves);
            if *slot == before || !slot.is_looked_up {
                continue;
            }
            let begins = slot.previous.is_some() && before.previous.is_none();
            let key = (*wave, before.owner, begins);
            *wave = *next.entry(key).or_insert_with(|| {
                let Wave { since, past } = &self.waves[usize::from(key.0)];
                let mut wave = Wave { since: if begins { now } else { *since }, past: past.clone() };
                wave.past.extend(before.owner.filter(|owner| serves(*owner)));
                self.waves.push(wave);
                (self.waves.len() - 1) as u16
            });
        }
        self.forget_what_is_over();
    }

    /// Takes back what no flow can go on with: `serves` says of which dests flows can.
    pub fn give_up(&mut self, serves: impl Fn(D) -> bool) {
        for slot in &mut self.slots {
            if slot.previous.is_some_and(|dest| !serves(dest)) {
                *slot = slot.without_previous();
            }
        }
        for wave in &mut self.waves {
            wave.past.retain(|dest| serves(*dest));
        }
        self.end_lookups();
    }

    /// Ends what is over. `has_flows`: whether there are live records of a dest.
    pub fn end(&mut self, timing: Timing, has_flows: impl Fn(D) -> bool, now: u64) {
        if self.is_steady() {
            return;
        }
        for (slot, wave) in self.slots.iter_mut().zip(&self.wave_of) {
            let age = now.saturating_sub(self.waves[usize::from(*wave)].since);
            let is_over = |dest| age >= timing.timeout || age >= timing.quiet && !has_flows(dest);
            if slot.previous.is_some_and(is_over) {
                *slot = slot.without_previous();
            }
        }
        // A previous dest may get records as long as it is one.
        let mut previous: BTreeSet<(u16, D)> = BTreeSet::new();
        previous.extend(
            self.slots.iter().zip(&self.wave_of).filter_map(|(slot, wave)| Some((*wave, slot.previous?))),
        );
        for (wave, number) in self.waves.iter_mut().zip(0..) {
            wave.past.retain(|dest| has_flows(*dest) || previous.contains(&(number, *dest)));
        }
        self.end_lookups();
    }

    /// Slots whose flows have records of nobody but their owner are steady again.
    fn end_lookups(&mut self) {
        for (slot, wave) in self.slots.iter_mut().zip(&mut self.wave_of) {
            let past = &self.waves[usize::from(*wave)].past;
            if slot.is_looked_up
                && slot.previous.is_none()
                && past.iter().all(|dest| Some(*dest) == slot.owner)
            {
                *slot = Slot::steady(slot.owner);
                *wave = 0;
            }
        }
        self.forget_what_is_over();
    }

    /// Renumbers the waves that are in use, or drops all of them when none is.
    fn forget_what_is_over(&mut self) {
        let used: BTreeSet<u16> = self.wave_of.iter().copied().filter(|wave| *wave != 0).collect();
        if used.is_empty() {
            self.wave_of = Vec::new();
            self.waves.truncate(1);
            return;
        }
        if used.len() + 1 == self.waves.len() && self.waves.len() <= MAX_WAVES {
            return;
        }
        let nothing = self.waves[0].clone();
        let mut number_of: BTreeMap<Wave<D>, u16> = BTreeMap::new();
        let mut waves = Vec::from([nothing]);
        let joins = used.len() > MAX_WAVES;
        let mut joined = Wave { since: 0, past: BTreeSet::new() };
        let mut renumbered = BTreeMap::from([(0, 0)]);
        for old in used {
            let wave = &self.waves[usize::from(old)];
            if joins {
                joined.since = joined.since.max(wave.since);
                joined.past.extend(&wave.past);
                renumbered.insert(old, 1);
                continue;
            }
            let number = *number_of.entry(wave.clone()).or_insert_with(|| {
                waves.push(wave.clone());
                (waves.len() - 1) as u16
            });
            renumbered.insert(old, number);
        }
        if joins {
            waves.push(joined);
        }
        self.waves = waves;
        for wave in &mut self.wave_of {
            *wave = renumbered[wave];
        }
    }
}

#[cfg(test)]
mod tests;
