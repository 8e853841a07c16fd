//! Where a virtual router's adverts come from, and what keeps it from sending any. Pure.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Router;
use crate::announce::PROTOCOL;
use crate::net::{AddressState, HostFacts};

/// The interface and the source of adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ifindex: u32,
    pub(super) source: IpAddr,
}

/// Why a virtual router cannot take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Nowhere {
    #[error("interface {0} does not exist; `ip link` lists those that do")]
    NoInterface(String),
    #[error("interface {0} has no {1} to send from; give it one, or set source =")]
    NoAddress(String, &'static str),
    #[error("source {1} is no address of interface {0}")]
    NotOwn(String, IpAddr),
}

impl Router {
    pub(super) fn is_ipv6(&self) -> bool {
        self.addresses.first().is_some_and(|first| first.address.is_ipv6())
    }
}

/// Where adverts of `router` come from. Addresses of virtual routers are taken only where there is no other one: they move.
pub(super) fn place(
    router: &Router,
    elected: &BTreeSet<IpAddr>,
    facts: &HostFacts,
) -> Result<Place, Nowhere> {
    let interface = &router.interface;
    let (ifindex, _) = facts.link(interface).ok_or_else(|| Nowhere::NoInterface(interface.clone()))?;
    let on_link = facts.addresses.values().filter(|fact| fact.ifindex == ifindex);
    let usable = on_link.filter(|fact| fact.state == AddressState::Usable);
    let own: Vec<IpAddr> =
        usable.filter(|fact| fact.protocol != Some(PROTOCOL)).map(|fact| fact.address).collect();
    if let Some(source) = router.source {
        return match own.contains(&source) {
            true => Ok(Place { ifindex, source }),
            false => Err(Nowhere::NotOwn(interface.clone(), source)),
        };
    }
    let of_family = |address: &&IpAddr| match address {
        IpAddr::V4(_) => !router.is_ipv6(),
        IpAddr::V6(address) => router.is_ipv6() && address.is_unicast_link_local(),
    };
    let others = own.iter().filter(|address| !elected.contains(address)).find(of_family);
    let source = others.or_else(|| own.iter().find(of_family)).copied();
    let what = if router.is_ipv6() { "link-local IPv6 address" } else { "IPv4 address" };
    source.map(|source| Place { ifindex, source }).ok_or_else(|| Nowhere::NoAddress(interface.clone(), what))
}

/// Lower than any other, for a router that has none yet.
pub(super) const fn no_source(is_ipv6: bool) -> IpAddr {
    if is_ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{AddressFact, LinkFact};
    use crate::vrrp::tests::router;

    fn facts(addresses: &[(&str, AddressState, Option<u8>)]) -> HostFacts {
        let mut facts = HostFacts::default();
        let link = LinkFact {
            name: "eth0".to_owned(),
            mac: None,
            ethernet: true,
            up: true,
            vlan_parent: None,
            vlan_id: None,
            master: None,
        };
        facts.links.insert(2, link);
        for (address, state, protocol) in addresses {
            let address = address.parse().unwrap();
            let fact = AddressFact {
                ifindex: 2,
                address,
                prefix_len: 24,
                state: *state,
                protocol: *protocol,
                label: None,
            };
            facts.add_address(fact);
        }
        facts
    }

    fn source(address: &str, elected: &[&str], facts: &HostFacts) -> Result<String, String> {
        let elected = elected.iter().map(|address| address.parse().unwrap()).collect();
        let found = place(&router("eth0", address), &elected, facts);
        found.map(|place| place.source.to_string()).map_err(|why| why.to_string())
    }

    #[test]
    fn adverts_come_from_an_address_that_does_not_move() {
        use AddressState::{Tentative, Usable};
        let here = facts(&[
            ("192.0.2.1", Usable, Some(PROTOCOL)),
            ("192.0.2.2", Usable, None),
            ("192.0.2.3", Usable, None),
            ("2001:db8::1", Usable, None),
            ("fe80::1", Tentative, None),
            ("fe80::2", Usable, None),
        ]);
        assert_eq!(source("192.0.2.50", &["192.0.2.2"], &here).unwrap(), "192.0.2.3");
        assert_eq!(source("fe80::50", &[], &here).unwrap(), "fe80::2");
        let owner = facts(&[("192.0.2.50", Usable, None)]);
        assert_eq!(
            source("192.0.2.50", &["192.0.2.50"], &owner).unwrap(),
            "192.0.2.50",
            "who owns it has no other"
        );
    }

    #[test]
    fn a_router_without_a_place_says_what_is_missing() {
        let here = facts(&[("192.0.2.2", AddressState::Usable, None)]);
        assert!(source("fe80::50", &[], &here).unwrap_err().contains("link-local"));
        assert!(place(&router("eth9", "192.0.2.50"), &BTreeSet::new(), &here).is_err());
        let spoofing = Router { source: Some("192.0.2.9".parse().unwrap()), ..router("eth0", "192.0.2.50") };
        let why = place(&spoofing, &BTreeSet::new(), &here).unwrap_err();
        assert_eq!(why, Nowhere::NotOwn("eth0".to_owned(), "192.0.2.9".parse().unwrap()));
    }
}
