//! Fencing: how long the kernel may answer for the addresses without hearing from the daemon.
//!
//! ```text
//! master   advert ───────────── 3 intervals ─────────────> lease ends: no ARP/ND answers
//! backup        └─ received ─── 3 intervals ─────────────┬── skew ──> takes over
//! ```
//!
//! A lease counts from just before the last advert that was sent, on the same clock, so whatever dies or stands still
//! after that (the daemon, the thread, the socket), the answers end before a backup that heard this advert takes over.
//! What is between the two is the backup's skew, at least 1/128 interval (priority 254). It also covers clocks that run
//! differently by less than 0.2 %.
//!
//! It does not cover what no lease can: a link that is cut while both nodes are well, and a backup that starts with a
//! shorter interval than the master's and has not heard it yet.

use std::time::Duration;

use crate::timers::MISSED;
use crate::wire::Interval;

/// From an advert to the end of the lease, for a master that sends at this interval.
#[must_use]
pub fn length(interval: Interval) -> Duration {
    interval.duration() * MISSED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::master_down;
    use crate::wire::Version;

    #[test]
    fn a_lease_ends_before_any_backup_takes_over_with_a_margin_for_clocks() {
        for version in [Version::V2, Version::V3] {
            for centiseconds in [1, 10, 100, 4_000] {
                let interval = Interval::from_centiseconds(centiseconds).unwrap();
                for priority in 1..=254 {
                    let earliest = master_down(version, interval, priority);
                    let drift = length(interval) / 500;
                    if version == Version::V3 || centiseconds <= 100 {
                        assert!(length(interval) + drift < earliest, "{version:?} {centiseconds} {priority}");
                    }
                    assert!(length(interval) < earliest);
                }
            }
        }
    }
}
