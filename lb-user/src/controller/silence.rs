//! Backends that seem to answer nobody, judged by what clients send them: connections begin, and nothing comes after their first
//! packet. It is a reason to ask the backend at once, and no verdict.
//!
//! The balancer sees clients' packets alone. A client that is answered sends at least one packet more than its SYN; one that is
//! not, or is refused, sends nothing else. The program counts both for each dest already ([`Counters`]). Within a window there
//! have to be some flows, and next to no other packet: floods of SYNs to a backend that serves others besides raise nothing.
//! Flows from before whose clients still try put the suspicion off. Pure: counters and times come in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lb_common::abi::Counters;

use crate::state::{Protocol, VipKey};

/// Counters are compared with those of so long ago.
pub(super) const WINDOW: Duration = Duration::from_secs(5);
/// Flows that have to begin within a window; a client that tries again counts again.
const FLOWS_MIN: u64 = 10;
/// Other packets that come within a window at most.
const OTHERS_MAX: u64 = 2;
/// Without further evidence it is forgotten after this time.
const KEPT: Duration = Duration::from_secs(60);

/// A backend of a vip.
pub(super) type Dest = (VipKey, IpAddr);

/// What is suspected.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Of the last look.
    before: Option<BTreeMap<Dest, Counters>>,
    suspicions: BTreeMap<Dest, Suspicion>,
    raised: BTreeMap<Dest, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) since: SystemTime,
    /// When there was evidence at last.
    at: SystemTime,
    /// Flows that began in that window.
    flows: u64,
}

impl Silence {
    /// Compares the counters of `dests`, which are all that there are, with those of the last look. Those that are suspected now,
    /// and were not before.
    pub(super) fn look(&mut self, dests: BTreeMap<Dest, Counters>, now: SystemTime) -> Vec<Dest> {
        self.suspicions.retain(|dest, suspicion| {
            let age = now.duration_since(suspicion.at).unwrap_or_default();
            dests.contains_key(dest) && age < KEPT
        });
        self.raised.retain(|dest, _| dests.contains_key(dest));
        let mut new = Vec::new();
        for (dest, after) in dests.iter().filter(|((vip, _), _)| vip.protocol == Protocol::Tcp) {
            let Some(before) = self.before.as_ref().map(|all| all.get(dest).copied().unwrap_or_default())
            else {
                break;
            };
            let flows = after.new_flows.saturating_sub(before.new_flows);
            let others = after.packets.saturating_sub(before.packets).saturating_sub(flows);
            if others > OTHERS_MAX {
                self.suspicions.remove(dest);
            } else if flows >= FLOWS_MIN {
                let first = Suspicion { since: now, at: now, flows };
                let suspicion = self.suspicions.entry(*dest).or_insert_with(|| {
                    new.push(*dest);
                    first
                });
                (suspicion.at, suspicion.flows) = (now, flows);
            }
        }
        for dest in &new {
            *self.raised.entry(*dest).or_default() += 1;
        }
        self.before = Some(dests);
        new
    }

    /// Why a backend is suspected, in words.
    pub(super) fn of(&self, dest: &Dest) -> Option<String> {
        let Suspicion { since, flows, .. } = self.suspicions.get(dest)?;
        let since = humantime::format_rfc3339_seconds(*since);
        Some(format!(
            "it seems to answer nobody since {since}: {flows} connections began within {} s, and their clients said nothing more",
            WINDOW.as_secs()
        ))
    }

    /// How often a backend came to be suspected.
    pub(super) fn raised(&self, dest: &Dest) -> u64 {
        self.raised.get(dest).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dest(vip: &str) -> Dest {
        (vip.parse().unwrap(), [10, 0, 0, 1].into())
    }

    fn web() -> Dest {
        dest("203.0.113.10:80/tcp")
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Counters after so many connection attempts and other packets.
    fn counted(dest: Dest, flows: u64, others: u64) -> BTreeMap<Dest, Counters> {
        [(dest, Counters { packets: flows + others, bytes: 0, new_flows: flows })].into()
    }

    #[test]
    fn connections_that_say_nothing_more_raise_a_suspicion_once() {
        let mut silence = Silence::default();
        assert!(silence.look(counted(web(), 1000, 0), at(0)).is_empty(), "nobody knows since when");
        assert!(silence.look(counted(web(), 1009, 0), at(5)).is_empty(), "too few");
        assert_eq!(silence.look(counted(web(), 1019, 2), at(10)), [web()]);
        let text = silence.of(&web()).unwrap();
        assert!(
            text.starts_with("it seems to answer nobody since 1970-01-01T00:00:10Z: 10 connections began"),
            "{text}"
        );
        assert!(silence.look(counted(web(), 1040, 2), at(15)).is_empty(), "it is known");
        assert!(silence.of(&web()).is_some_and(|text| text.contains("00:00:10Z: 21 connections")));
        silence.look(counted(web(), 1041, 10), at(20));
        assert_eq!((silence.of(&web()), silence.raised(&web())), (None, 1), "clients have said more");
        assert_eq!(silence.look(counted(web(), 1100, 10), at(25)), [web()]);
        assert_eq!(silence.raised(&web()), 2);
    }

    #[test]
    fn a_flood_to_a_backend_that_serves_others_raises_nothing() {
        let mut silence = Silence::default();
        silence.look(counted(web(), 0, 0), at(0));
        assert!(silence.look(counted(web(), 1_000_000, 3), at(5)).is_empty());
    }

    #[test]
    fn a_suspicion_without_further_evidence_ends_and_so_does_one_of_a_backend_that_is_gone() {
        let mut silence = Silence::default();
        silence.look(BTreeMap::new(), at(0));
        assert_eq!(silence.look(counted(web(), 10, 0), at(5)), [web()], "one that is new counts from zero");
        silence.look(counted(web(), 10, 0), at(64));
        assert!(silence.of(&web()).is_some());
        silence.look(counted(web(), 10, 0), at(65));
        assert!(silence.of(&web()).is_none());
        silence.look(counted(web(), 30, 0), at(70));
        silence.look(BTreeMap::new(), at(75));
        assert_eq!((silence.of(&web()), silence.raised(&web())), (None, 0));
    }

    #[test]
    fn udp_has_no_first_packets() {
        let dns = dest("203.0.113.10:53/udp");
        let mut silence = Silence::default();
        silence.look(BTreeMap::new(), at(0));
        assert!(silence.look(counted(dns, 100, 0), at(5)).is_empty());
    }

    proptest! {
        #[test]
        fn only_windows_with_flows_and_next_to_nothing_else_raise(
            windows in prop::collection::vec((0..30u64, 0..5u64), 1..30)
        ) {
            let mut silence = Silence::default();
            silence.look(BTreeMap::new(), at(0));
            let (mut flows, mut others, mut was_suspected) = (0, 0, false);
            for (number, (began, more)) in (1..).zip(windows) {
                (flows, others) = (flows + began, others + more);
                let new = silence.look(counted(web(), flows, others), at(5 * number));
                let is_evidence = began >= FLOWS_MIN && more <= OTHERS_MAX;
                prop_assert_eq!(!new.is_empty(), is_evidence && !was_suspected);
                was_suspected = silence.of(&web()).is_some();
                prop_assert!(!is_evidence || was_suspected);
                prop_assert!(more <= OTHERS_MAX || !was_suspected);
            }
        }
    }
}
