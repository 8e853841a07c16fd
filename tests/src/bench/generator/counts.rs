//! What a run has made, and what of it has arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_common::abi::{Arrived, latency_floor};

/// What a run has counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By core.
    pub made: Vec<Made>,
    /// By the backends' last bytes; the bytes are those of clients' IP packets.
    pub arrived: BTreeMap<u8, Arrived>,
    /// Packets at the sink that are no offered ones, though they should be.
    pub broken: u64,
    /// Sequence numbers that had not arrived when the next one did.
    pub skipped: u64,
    /// Packets that arrived behind later ones.
    pub late: u64,
    /// Frames that interfaces did not take: of a lane at both ends, of a real one of those that were made.
    pub xmit_errors: u64,
    /// Of timed packets.
    pub latencies: Latencies,
}

/// What one core has made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Made {
    pub core: usize,
    pub packets: u64,
    /// Of frames.
    pub bytes: u64,
    /// Packets of which it is known how long they took, and how long.
    pub clocked: u64,
    pub lasted: Duration,
}

impl Made {
    /// Packets a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.lasted.is_zero() { 0.0 } else { self.clocked as f64 / self.lasted.as_secs_f64() }
    }
}

impl Counts {
    #[must_use]
    pub fn made_packets(&self) -> u64 {
        self.made.iter().map(|made| made.packets).sum()
    }

    /// Of frames.
    #[must_use]
    pub fn made_bytes(&self) -> u64 {
        self.made.iter().map(|made| made.bytes).sum()
    }

    #[must_use]
    pub fn arrived_packets(&self) -> u64 {
        self.arrived.values().map(|arrived| arrived.packets).sum()
    }

    /// Of clients' IP packets.
    #[must_use]
    pub fn arrived_bytes(&self) -> u64 {
        self.arrived.values().map(|arrived| arrived.bytes).sum()
    }

    /// Packets that have not arrived.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.made_packets().saturating_sub(self.arrived_packets())
    }

    /// Of those made, from 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.lost() as f64 / self.made_packets().max(1) as f64
    }

    /// Packets a second that were made.
    #[must_use]
    pub fn offered_rate(&self) -> f64 {
        self.made.iter().map(Made::rate).sum()
    }

    /// Packets a second that have arrived.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.offered_rate() * (1.0 - self.loss())
    }

    /// Whether all that is missing was refused by interfaces, whose queues had not been emptied in time.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.xmit_errors > 0 && self.lost() == self.xmit_errors && self.broken == 0
    }

    /// Demands that every packet arrived, whole and in order.
    ///
    /// # Errors
    /// Says what did not.
    pub fn complete(&self) -> Result<()> {
        let (made, arrived) = (self.made_packets(), self.arrived_packets());
        let Self { broken, skipped, late, xmit_errors, .. } = self;
        ensure!(
            made == arrived && *broken == 0 && *xmit_errors == 0,
            "{made} packets were made and {arrived} arrived, beside {broken} broken ones; {xmit_errors} were refused by interfaces"
        );
        ensure!(*skipped == 0 && *late == 0, "{skipped} packets were overtaken, {late} came late");
        Ok(())
    }
}

/// How long packets took, in buckets that are at most 1/32 wide of what they hold.
#[derive(Clone, Debug, Default)]
pub struct Latencies(pub(super) Vec<u64>);

impl Latencies {
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The latency that this part of all packets does not exceed, in nanoseconds; from 0 to 1.
    #[must_use]
    pub fn quantile(&self, part: f64) -> u64 {
        let wanted = (part * self.packets() as f64).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in (0..).zip(&self.0) {
            below += count;
            if below >= wanted && below > 0 {
                return latency_floor(bucket + 1) - 1;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{LATENCY_BUCKETS, latency_bucket};

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_packets() {
        let mut buckets = vec![0; LATENCY_BUCKETS as usize];
        for ns in 1..=100_000_u64 {
            buckets[latency_bucket(ns) as usize] += 1;
        }
        let latencies = Latencies(buckets);
        for part in [0.001, 0.5, 0.99, 0.999, 1.0] {
            let (got, exact) = (latencies.quantile(part) as f64, part * 100_000.0);
            assert!(
                got >= exact - 1.0 && got <= exact * (1.0 + 1.0 / 32.0) + 1.0,
                "{part}: {got} for {exact}"
            );
        }
        assert_eq!(Latencies::default().quantile(0.5), 0);
    }

    #[test]
    fn a_run_that_lost_packets_is_not_complete() {
        let made = Made { core: 0, packets: 10, bytes: 600, clocked: 10, lasted: Duration::from_secs(1) };
        let arrived = BTreeMap::from([(1, Arrived { packets: 10, bytes: 460 })]);
        let whole = Counts { made: vec![made], arrived, ..Counts::default() };
        assert!(whole.complete().is_ok() && !whole.is_cut_short());
        let refused =
            Counts { made: vec![Made { packets: 12, ..made }], xmit_errors: 2, skipped: 2, ..whole.clone() };
        assert!(refused.is_cut_short() && refused.complete().is_err());
        assert!(!Counts { xmit_errors: 1, ..refused }.is_cut_short(), "another one is lost elsewhere");
        for broken in [
            Counts { made: vec![Made { packets: 11, ..made }], ..whole.clone() },
            Counts { late: 1, ..whole.clone() },
            Counts { skipped: 1, ..whole.clone() },
            Counts { xmit_errors: 1, ..whole.clone() },
            Counts { broken: 1, ..whole },
        ] {
            assert!(broken.complete().is_err(), "{broken:?}");
        }
    }
}
