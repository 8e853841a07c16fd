//! Vip keys as the tables and the address filter hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::FILTER_WORDS;
use lb_common::hash;
use lb_common::headers::words_v6;

use crate::dataplane::vip_table::Bank;
use crate::state::{Announce, DesiredAddress, VipKey};

/// A vip, or one of its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    pub vip: VipKey,
    /// The route's position plus one; 0: the vip itself.
    pub route: u8,
}

impl From<VipKey> for EntryKey {
    fn from(vip: VipKey) -> Self {
        Self { vip, route: 0 }
    }
}

/// The key of the entry of an IPv4 vip or of its route.
#[must_use]
pub fn vip4_entry_key(EntryKey { vip, route }: &EntryKey, address: Ipv4Addr) -> u64 {
    let address = u32::from_le_bytes(address.octets());
    hash::route_key(hash::vip4_key(address, wire_port(vip.port), vip.protocol.number()), *route)
}

/// Address words and service of the entry of an IPv6 vip or of its route.
#[must_use]
pub fn vip6_entry_key(EntryKey { vip, route }: &EntryKey, address: Ipv6Addr) -> ([u64; 2], u64) {
    let service = hash::vip6_service(wire_port(vip.port), vip.protocol.number());
    (words_v6(address.octets()), hash::route_key(service, *route))
}

/// The key of an IPv4 address's own entry.
#[must_use]
pub fn address4_entry_key(address: Ipv4Addr) -> u64 {
    hash::vip4_key(u32::from_le_bytes(address.octets()), 0, 0)
}

/// Address words and service of an IPv6 address's own entry.
#[must_use]
pub fn address6_entry_key(address: Ipv6Addr) -> ([u64; 2], u64) {
    (words_v6(address.octets()), hash::vip6_service(0, 0))
}

/// A port as loaded little-endian from a packet.
pub(super) fn wire_port(port: u16) -> u16 {
    u16::from_le_bytes(port.to_be_bytes())
}

/// The filter that lets exactly these addresses (and their hash twins) through: those of vips and of elections, and the
/// multicast groups to which neighbours ask for them.
pub(super) fn filter<'k>(
    keys: impl Iterator<Item = &'k EntryKey>,
    addresses: &BTreeMap<IpAddr, DesiredAddress>,
    elected: &BTreeSet<IpAddr>,
) -> [u64; FILTER_WORDS] {
    let mut words = [0; FILTER_WORDS];
    let announced = addresses.iter().filter(|(_, address)| address.announce == Announce::Arp);
    let groups = announced.map(|(ip, _)| ip).chain(elected).filter_map(|ip| match ip {
        IpAddr::V6(v6) => Some(IpAddr::V6(solicited_node(*v6))),
        IpAddr::V4(_) => None,
    });
    let asked = addresses.keys().chain(elected).copied().chain(groups);
    for address in keys.map(|key| key.vip.address).chain(asked) {
        let bit = match address {
            IpAddr::V4(address) => hash::filter_bit_v4(u32::from_le_bytes(address.octets())),
            IpAddr::V6(address) => hash::filter_bit_v6(words_v6(address.octets())),
        };
        words[bit as usize / 64] |= 1 << (bit % 64);
    }
    words
}

/// The multicast group of RFC 4291, section 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from(GROUP | u128::from(address) & 0x00ff_ffff)
}

/// Where `bank` holds each entry, counted from `base`.
pub(super) fn locate<'k>(
    keys: impl Iterator<Item = &'k EntryKey>,
    bank: &Bank,
    base: u32,
) -> BTreeMap<EntryKey, u32> {
    keys.map(|key| (*key, base + find(key, bank))).collect()
}

fn find(key: &EntryKey, bank: &Bank) -> u32 {
    match key.vip.address {
        IpAddr::V4(address) => {
            let entry = vip4_entry_key(key, address);
            let (first, second) = hash::vip4_slots(entry, bank.salt);
            if bank.vip4[first as usize].key == entry { first } else { second }
        }
        IpAddr::V6(address) => {
            let (address, service) = vip6_entry_key(key, address);
            let (first, second) = hash::vip6_slots(address, service, bank.salt);
            let there = &bank.vip6[first as usize];
            if there.address == address && there.service == service { first } else { second }
        }
    }
}
