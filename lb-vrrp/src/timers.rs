//! How long is waited for what (RFC 9568 6.1, RFC 3768 6.1), to the nanosecond.
//!
//! ```text
//! version 3   skew = (256 - priority) / 256 x the master's interval
//! version 2   skew = (256 - priority) / 256 x 1 s
//! both        master down = 3 x the master's interval + skew
//! ```

use std::time::Duration;

use crate::wire::{Interval, Version};

/// Intervals without an advert before a master is held for dead; the skew comes on top.
pub const MISSED: u32 = 3;

/// What a backup of higher priority waits less, so that it is the first.
#[must_use]
pub fn skew(version: Version, master_interval: Interval, priority: u8) -> Duration {
    let unit = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => master_interval.duration(),
    };
    unit * (256 - u32::from(priority)) / 256
}

/// After so long without an advert a backup takes over.
#[must_use]
pub fn master_down(version: Version, master_interval: Interval, priority: u8) -> Duration {
    master_interval.duration() * MISSED + skew(version, master_interval, priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn centiseconds(n: u16) -> Interval {
        Interval::from_centiseconds(n).unwrap()
    }

    #[test]
    fn timers_are_what_was_measured_of_keepalived() {
        let second = centiseconds(100);
        // A backup of priority 100 after SIGTERM of the master: 610 ms, 61 ms, 7 to 9 ms.
        assert_eq!(skew(Version::V2, second, 100), Duration::from_micros(609_375));
        assert_eq!(skew(Version::V3, centiseconds(10), 100), Duration::from_nanos(60_937_500));
        assert_eq!(skew(Version::V3, centiseconds(1), 100), Duration::from_nanos(6_093_750));
        // After SIGKILL, which comes up to an interval after the last advert: 2705 to 3470 ms, 262 to 349 ms, 31 to 33 ms.
        assert_eq!(master_down(Version::V2, second, 100), Duration::from_micros(3_609_375));
        assert_eq!(master_down(Version::V3, centiseconds(10), 100), Duration::from_nanos(360_937_500));
        assert_eq!(master_down(Version::V3, centiseconds(1), 100), Duration::from_nanos(36_093_750));
        // A backup with an interval of 10 cs under a master with one of 50 cs: 1805 ms.
        assert_eq!(
            master_down(Version::V3, centiseconds(50), 100),
            Duration::from_micros(1_804_687) + Duration::from_nanos(500)
        );
    }

    #[test]
    fn only_version_3_scales_the_skew_with_the_interval() {
        let ten_seconds = centiseconds(1_000);
        assert_eq!(skew(Version::V2, ten_seconds, 128), Duration::from_millis(500));
        assert_eq!(skew(Version::V3, ten_seconds, 128), Duration::from_secs(5));
    }

    #[test]
    fn a_higher_priority_never_waits_longer_and_the_skew_is_never_zero() {
        for version in [Version::V2, Version::V3] {
            for interval in [1, 10, 100, 4_095].map(centiseconds) {
                for priority in 1..=254 {
                    let (higher, lower) = (
                        master_down(version, interval, priority + 1),
                        master_down(version, interval, priority),
                    );
                    assert!(higher < lower);
                    assert!(skew(version, interval, priority) > Duration::ZERO);
                }
            }
        }
    }
}
