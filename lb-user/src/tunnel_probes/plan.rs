//! Which way has which probe address. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::health::Way;
use crate::state::Prefix;

/// Where probe addresses are taken from, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    pub v4: Prefix,
    pub v6: Prefix,
}

/// Ways that are ever known at once.
const MOST: u32 = 1 << 16;

impl Prefixes {
    /// How many ways have room in both.
    #[must_use]
    pub fn room(&self) -> u32 {
        let bits = (32 - u32::from(self.v4.len)).min(128 - u32::from(self.v6.len)).min(MOST.ilog2());
        1 << bits
    }

    /// The probe address number `index` for packets of this family.
    #[must_use]
    pub fn address(&self, index: u32, is_v6: bool) -> IpAddr {
        match if is_v6 { self.v6.address } else { self.v4.address } {
            IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) | index).into(),
            IpAddr::V6(network) => Ipv6Addr::from(u128::from(network) | u128::from(index)).into(),
        }
    }
}

/// The numbers of ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    taken: BTreeMap<Way, u32>,
    /// Numbers that were taken, longest free first: answers to checks that have ended may be under way still.
    free: VecDeque<u32>,
    /// None from here on was ever taken.
    fresh: u32,
}

impl Numbers {
    /// Makes exactly these ways have a number, as far as there is room; those that have one keep it. Number 0 would be the
    /// prefix's own address, and is nobody's.
    pub(super) fn follow(&mut self, ways: &BTreeSet<&Way>, room: u32) {
        let free = &mut self.free;
        self.taken.retain(|way, number| {
            let stays = ways.contains(way);
            if !stays {
                free.push_back(*number);
            }
            stays
        });
        for way in ways {
            if self.taken.contains_key(*way) {
                continue;
            }
            let number = if self.fresh + 1 < room {
                self.fresh += 1;
                self.fresh
            } else {
                let Some(number) = self.free.pop_front() else { return };
                number
            };
            self.taken.insert((*way).clone(), number);
        }
    }

    pub(super) fn get(&self, way: &Way) -> Option<u32> {
        self.taken.get(way).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tunnel_probes::DEFAULT_PREFIXES;

    fn way(number: u8) -> Way {
        let backend = Ipv4Addr::new(10, 0, 0, number).into();
        Way { to: "198.51.100.1".parse().unwrap(), backend, mode: "ipip" }
    }

    #[test]
    fn probe_addresses_lie_in_their_prefixes() {
        let prefixes = DEFAULT_PREFIXES;
        assert_eq!(prefixes.room(), 4096);
        assert_eq!(prefixes.address(1, false), "198.19.240.1".parse::<IpAddr>().unwrap());
        assert_eq!(prefixes.address(4095, false), "198.19.255.255".parse::<IpAddr>().unwrap());
        assert_eq!(prefixes.address(0x1234, true), "fd66:6c76:7072::1234".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn room_is_that_of_the_smaller_prefix() {
        let prefixes = |v4, v6| Prefixes {
            v4: Prefix { address: Ipv4Addr::UNSPECIFIED.into(), len: v4 },
            v6: Prefix { address: Ipv6Addr::UNSPECIFIED.into(), len: v6 },
        };
        for (v4, v6, room) in [(24, 112, 256), (20, 126, 4), (8, 64, 1 << 16), (31, 112, 2)] {
            assert_eq!(prefixes(v4, v6).room(), room, "/{v4} and /{v6}");
        }
    }

    #[test]
    fn a_number_rests_before_it_is_taken_again() {
        let (mut numbers, [a, b, c]) = (Numbers::default(), [1, 2, 3].map(way));
        numbers.follow(&BTreeSet::from([&a]), 4);
        numbers.follow(&BTreeSet::from([&b]), 4);
        assert_eq!((numbers.get(&a), numbers.get(&b)), (None, Some(2)));
        numbers.follow(&BTreeSet::from([&b, &c]), 4);
        assert_eq!(numbers.get(&c), Some(3));
        numbers.follow(&BTreeSet::from([&a, &b, &c]), 4);
        assert_eq!(numbers.get(&a), Some(1), "all others are taken");
        let d = way(4);
        numbers.follow(&BTreeSet::from([&a, &b, &c, &d]), 4);
        assert_eq!(numbers.get(&d), None, "there is no room");
    }

    proptest! {
        #[test]
        fn no_two_ways_share_a_number_and_none_moves(rounds in prop::collection::vec(prop::collection::btree_set(0u8..12, 0..12), 1..20)) {
            let mut numbers = Numbers::default();
            for round in rounds {
                let before = numbers.clone();
                let ways: Vec<Way> = round.into_iter().map(way).collect();
                numbers.follow(&ways.iter().collect(), 8);
                let given: Vec<u32> = ways.iter().filter_map(|way| numbers.get(way)).collect();
                let distinct: BTreeSet<_> = given.iter().collect();
                prop_assert_eq!(given.len(), distinct.len());
                prop_assert_eq!(given.len(), ways.len().min(7));
                prop_assert!(given.iter().all(|number| (1..8).contains(number)));
                for way in &ways {
                    if let Some(number) = before.get(way) {
                        prop_assert_eq!(numbers.get(way), Some(number));
                    }
                }
            }
        }
    }
}
