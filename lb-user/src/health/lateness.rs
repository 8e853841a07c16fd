//! How late probes begin: whether this host keeps up with its checks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds.
pub const LATENESS_BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000];

/// Counts of probes by how late they began.
#[derive(Debug, Default)]
pub struct Lateness {
    /// One for each bound, and one for all above.
    counts: [AtomicU64; LATENESS_BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Lateness {
    pub(super) fn note(&self, late: Duration) {
        let bucket = LATENESS_BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < late);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn tally(&self) -> LateTally {
        LateTally {
            counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
        }
    }
}

/// How late probes began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateTally {
    /// One for each bound, and one for all above.
    pub counts: [u64; LATENESS_BOUNDS_MS.len() + 1],
    /// Of all probes together.
    pub sum: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_the_bucket_whose_bound_it_does_not_exceed() {
        let lateness = Lateness::default();
        for millis in [0, 1, 2, 100, 101, 5000, 60_000] {
            lateness.note(Duration::from_millis(millis));
        }
        let LateTally { counts, sum } = lateness.tally();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(sum, Duration::from_millis(65_204));
    }
}
