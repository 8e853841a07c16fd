//! Prefixes and what they decide: what the kernel side answers by longest-prefix matching, computed from the lists alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::{AccessRules, Prefix, Prefixes};

/// What a list says of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allows: bool,
    /// `None`: no prefix holds the source.
    pub by: Option<Prefix>,
}

impl AccessRules {
    /// Whether `source` may come in, and by which prefix: the longest that holds it.
    #[must_use]
    pub fn decide(&self, source: IpAddr) -> Decision {
        let (allow, deny) = (longest(&self.allow, source), longest(&self.deny, source));
        let by = |prefix: Option<Prefix>| prefix.map(|prefix| prefix.len);
        match (allow, deny) {
            (None, None) => Decision { allows: self.allow.is_empty(), by: None },
            _ if by(allow) >= by(deny) => Decision { allows: true, by: allow },
            _ => Decision { allows: false, by: deny },
        }
    }
}

/// The position of the route that takes `source`: that of the longest prefix which holds it.
#[must_use]
pub fn route_of(routes: &[Prefixes], source: IpAddr) -> Option<(usize, Prefix)> {
    let found =
        routes.iter().enumerate().filter_map(|(route, prefixes)| Some((route, longest(prefixes, source)?)));
    // The first of equal ones.
    found.reduce(|best, next| if next.1.len > best.1.len { next } else { best })
}

/// The longest of sorted prefixes that holds `address`.
fn longest(prefixes: &[Prefix], address: IpAddr) -> Option<Prefix> {
    if prefixes.is_empty() {
        return None;
    }
    let bits = if address.is_ipv4() { 32 } else { 128 };
    (0..=bits).rev().map(|len| Prefix::of(address, len)).find(|prefix| prefixes.binary_search(prefix).is_ok())
}

impl Prefix {
    /// The prefix of `len` bits that holds `address`.
    #[must_use]
    pub fn of(address: IpAddr, len: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Ipv4Addr::from(u32::from(v4) & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Ipv6Addr::from(u128::from(v6) & mask).into()
            }
        };
        Self { address, len }
    }

    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && Self::of(address, self.len) == *self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(list: &[(&str, u8)]) -> Prefixes {
        let mut sorted: Vec<_> =
            list.iter().map(|(address, len)| Prefix::of(address.parse().unwrap(), *len)).collect();
        sorted.sort();
        sorted.into()
    }

    #[test]
    fn the_longest_prefix_decides_and_families_are_apart() {
        let rules = AccessRules {
            allow: prefixes(&[("10.0.0.0", 8), ("::", 0)]),
            deny: prefixes(&[("10.1.0.0", 16), ("2001:db8::", 32)]),
        };
        let decide = |source: &str| rules.decide(source.parse().unwrap());
        assert!(decide("10.2.0.1").allows);
        assert!(!decide("10.1.0.1").allows);
        assert_eq!(decide("192.0.2.1"), Decision { allows: false, by: None });
        assert!(decide("2001:db9::1").allows);
        assert!(!decide("2001:db8::1").allows);
        let only_deny = AccessRules { allow: prefixes(&[]), ..rules };
        assert_eq!(only_deny.decide("192.0.2.1".parse().unwrap()), Decision { allows: true, by: None });
    }

    #[test]
    fn the_longest_prefix_of_all_routes_takes_a_source() {
        let routes = [prefixes(&[("10.0.0.0", 8)]), prefixes(&[("10.1.0.0", 16), ("::", 0)])];
        let route = |source: &str| route_of(&routes, source.parse().unwrap()).map(|(route, _)| route);
        assert_eq!(route("10.2.0.1"), Some(0));
        assert_eq!(route("10.1.0.1"), Some(1));
        assert_eq!(route("192.0.2.1"), None);
        assert_eq!(route("2001:db8::1"), Some(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_prefix_holds_exactly_what_shares_its_bits(address in any::<IpAddr>(), other in any::<IpAddr>(), len in 0..=32u8) {
            let prefix = Prefix::of(address, len);
            prop_assert!(prefix.holds(address));
            let same = match (address, other) {
                (IpAddr::V4(a), IpAddr::V4(b)) => (u64::from(u32::from(a) ^ u32::from(b))) >> (32 - len) == 0,
                (IpAddr::V6(a), IpAddr::V6(b)) => {
                    (u128::from(a) ^ u128::from(b)).checked_shr(128 - u32::from(len)).unwrap_or(0) == 0
                }
                _ => false,
            };
            prop_assert_eq!(prefix.holds(other), same);
        }
    }
}
