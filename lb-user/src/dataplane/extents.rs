//! Free runs of table entries, first fit.

use std::collections::BTreeMap;

/// A run of consecutive entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// The free entries of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extents {
    capacity: u32,
    /// Start to length; runs never touch.
    free: BTreeMap<u32, u32>,
}

impl Extents {
    #[must_use]
    pub(super) fn new(capacity: u32) -> Self {
        let free = if capacity == 0 { BTreeMap::new() } else { BTreeMap::from([(0, capacity)]) };
        Self { capacity, free }
    }

    #[must_use]
    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Makes entries behind `capacity` unavailable, as far as they are free.
    pub(super) fn shrink_to(&mut self, capacity: u32) {
        if let Some((start, run)) = self.free.last_key_value().map(|(start, run)| (*start, *run))
            && start + run == self.capacity
            && capacity < self.capacity
        {
            self.free.remove(&start);
            self.capacity = capacity.max(start);
            self.give(Extent { start, len: self.capacity - start });
        }
    }

    /// Takes `len` consecutive entries, or `None` when no run is long enough.
    pub(super) fn take(&mut self, len: u32) -> Option<Extent> {
        let (start, run) =
            self.free.iter().map(|(start, run)| (*start, *run)).find(|(_, run)| *run >= len)?;
        self.free.remove(&start);
        if run > len {
            self.free.insert(start + len, run - len);
        }
        Some(Extent { start, len })
    }

    /// Takes the entry at `start`, if it is free.
    pub(super) fn take_at(&mut self, start: u32) {
        let Some((run_start, run)) = self.free.range(..=start).next_back().map(|(s, r)| (*s, *r)) else {
            return;
        };
        if start >= run_start + run {
            return;
        }
        self.free.remove(&run_start);
        if start > run_start {
            self.free.insert(run_start, start - run_start);
        }
        if start + 1 < run_start + run {
            self.free.insert(start + 1, run_start + run - start - 1);
        }
    }

    /// Gives entries back.
    pub(super) fn give(&mut self, extent: Extent) {
        let Extent { mut start, mut len } = extent;
        if len == 0 {
            return;
        }
        if let Some((before, run)) = self.free.range(..start).next_back().map(|(s, r)| (*s, *r))
            && before + run == start
        {
            self.free.remove(&before);
            start = before;
            len += run;
        }
        if let Some(run) = self.free.remove(&(start + len)) {
            len += run;
        }
        self.free.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_in_any_order_is_one_run_again() {
        let mut extents = Extents::new(100);
        let taken: Vec<_> = [10, 20, 30, 40].map(|len| extents.take(len).expect("room")).into();
        assert_eq!(extents.take(1), None);
        for index in [2, 0, 3, 1] {
            extents.give(taken[index]);
        }
        assert_eq!(extents, Extents::new(100));
    }

    #[test]
    fn a_run_that_is_too_short_is_passed_over() {
        let mut extents = Extents::new(30);
        let first = extents.take(10).expect("room");
        let _second = extents.take(10).expect("room");
        extents.give(first);
        assert_eq!(extents.take(11), None);
        assert_eq!(extents.take(10), Some(Extent { start: 0, len: 10 }));
    }
    #[test]
    fn only_what_is_free_at_the_end_is_cut_off() {
        let mut extents = Extents::new(100);
        let taken = extents.take(30).expect("room");
        extents.shrink_to(50);
        assert_eq!((extents.capacity(), extents.take(21)), (50, None));
        extents.shrink_to(10);
        assert_eq!((extents.capacity(), extents.take(1)), (30, None));
        extents.give(taken);
        assert_eq!(extents, Extents::new(30));
        extents.shrink_to(200);
        assert_eq!(extents.capacity(), 30);
    }
}
