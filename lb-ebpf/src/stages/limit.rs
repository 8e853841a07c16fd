//! Rates, by the generic cell rate algorithm (ITU-T I.371): one word holds when the next event conforms.

use crate::tables::SharedWord;

/// Events that may come at once after a pause: those of so many nanoseconds.
pub(crate) const BURST_NS: u64 = 1_000_000_000;

/// Whether an event may happen at `now_ns`, when they may come every `interval_ns` (0: never). Where nothing may be
/// remembered, it may.
#[inline(always)]
pub(crate) fn conforms<W: SharedWord>(word: Option<W>, now_ns: u64, interval_ns: u64) -> bool {
    if interval_ns == 0 {
        return false;
    }
    let Some(word) = word else { return true };
    let next = word.load();
    if next > now_ns.saturating_add(BURST_NS) {
        return false;
    }
    // When another CPU was faster, both events pass and one is booked: a small price for no loop.
    let from = if next > now_ns { next } else { now_ns };
    word.replace(next, from.saturating_add(interval_ns));
    true
}

/// Whether no further event conforms at `now_ns`. Books nothing.
#[inline(always)]
pub(crate) fn is_spent<W: SharedWord>(word: Option<&W>, now_ns: u64) -> bool {
    word.is_some_and(|word| word.load() > now_ns.saturating_add(BURST_NS))
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    struct Word<'a>(&'a Cell<u64>);

    impl SharedWord for Word<'_> {
        fn load(&self) -> u64 {
            self.0.get()
        }

        fn replace(&self, old: u64, new: u64) -> bool {
            self.0.replace(new) == old
        }
    }

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate() {
        let word = Cell::new(0);
        let interval = BURST_NS / 100;
        let at = |now| (0..1000).filter(|_| conforms(Some(Word(&word)), now, interval)).count();
        assert_eq!(at(5 * BURST_NS), 101);
        assert_eq!(at(5 * BURST_NS + BURST_NS / 2), 50);
        assert_eq!(at(60 * BURST_NS), 101, "a long pause allows no longer burst");
    }

    #[test]
    fn what_is_spent_lets_nothing_pass_and_asking_books_nothing() {
        let word = Cell::new(0);
        let interval = BURST_NS / 10;
        for _ in 0..11 {
            assert!(!is_spent(Some(&Word(&word)), 0));
            assert!(conforms(Some(Word(&word)), 0, interval));
        }
        let booked = word.get();
        assert!(is_spent(Some(&Word(&word)), 0));
        assert_eq!(word.get(), booked);
        assert!(!is_spent(None::<&Word<'_>>, 0));
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_pass() {
        assert!(!conforms(Some(Word(&Cell::new(0))), BURST_NS, 0));
    }
}
