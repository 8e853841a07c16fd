//! What other parts of the daemon may know of this host: its links and their addresses. Pure.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::state::{MacAddress, Prefix};

/// The links of a host, by number, and their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    pub links: Links,
    /// By interface, address and prefix length.
    pub addresses: BTreeMap<(u32, IpAddr, u8), AddressFact>,
}

/// Links by their numbers.
pub type Links = BTreeMap<u32, LinkFact>;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFact {
    pub name: String,
    pub mac: Option<MacAddress>,
    /// Frames on it are Ethernet frames.
    pub ethernet: bool,
    /// Switched on by the administrator and with a carrier.
    pub up: bool,
    /// Of a VLAN interface: the number of the one that carries its frames, when that is in this namespace.
    pub vlan_parent: Option<u32>,
    /// Of a VLAN interface.
    pub vlan_id: Option<u16>,
    /// Of a member: the number of its bond or bridge.
    pub master: Option<u32>,
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFact {
    pub ifindex: u32,
    pub address: IpAddr,
    pub prefix_len: u8,
    pub state: AddressState,
    /// `IFA_PROTO`, who added it; Linux 5.18 and later.
    pub protocol: Option<u8>,
    /// IPv4 only.
    pub label: Option<String>,
}

/// What duplicate address detection says of an address (RFC 4862 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressState {
    Usable,
    /// Being asked for; not used yet.
    Tentative,
    /// Another host has it.
    Duplicate,
}

impl HostFacts {
    pub(crate) fn add_address(&mut self, fact: AddressFact) {
        self.addresses.insert((fact.ifindex, fact.address, fact.prefix_len), fact);
    }

    /// An address on an interface; with several prefix lengths, once for each.
    pub fn address_on(&self, ifindex: u32, address: IpAddr) -> impl Iterator<Item = &AddressFact> {
        self.addresses.range((ifindex, address, 0)..=(ifindex, address, u8::MAX)).map(|(_, fact)| fact)
    }

    /// A link and its number.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<(u32, &LinkFact)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, link))
    }
}

impl AddressFact {
    /// The address lies in this one's prefix.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        Prefix { address: self.address, len: self.prefix_len }.contains(address)
    }
}
