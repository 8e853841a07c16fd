//! Vip keys as the tables and the address filter hold them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::FILTER_WORDS;
use lb_common::hash;
use lb_common::headers::words_v6;

use crate::dataplane::vip_table::Bank;
use crate::state::VipKey;

/// The key of an IPv4 vip's entry.
#[must_use]
pub fn vip4_entry_key(key: &VipKey, address: Ipv4Addr) -> u64 {
    hash::vip4_key(u32::from_le_bytes(address.octets()), wire_port(key.port), key.protocol.number())
}

/// Address words and service of an IPv6 vip's entry.
#[must_use]
pub fn vip6_entry_key(key: &VipKey, address: Ipv6Addr) -> ([u64; 2], u64) {
    (words_v6(address.octets()), hash::vip6_service(wire_port(key.port), key.protocol.number()))
}

/// A port as loaded little-endian from a packet.
fn wire_port(port: u16) -> u16 {
    u16::from_le_bytes(port.to_be_bytes())
}

/// The filter that lets exactly these vips' addresses (and their hash twins) through.
pub(super) fn filter<'k>(keys: impl Iterator<Item = &'k VipKey>) -> [u64; FILTER_WORDS] {
    let mut words = [0; FILTER_WORDS];
    for key in keys {
        let bit = match key.address {
            IpAddr::V4(address) => hash::filter_bit_v4(u32::from_le_bytes(address.octets())),
            IpAddr::V6(address) => hash::filter_bit_v6(words_v6(address.octets())),
        };
        words[bit as usize / 64] |= 1 << (bit % 64);
    }
    words
}

/// Where `bank` holds each vip, counted from `base`.
pub(super) fn locate<'k>(
    keys: impl Iterator<Item = &'k VipKey>,
    bank: &Bank,
    base: u32,
) -> BTreeMap<VipKey, u32> {
    keys.map(|key| (*key, base + find(key, bank))).collect()
}

fn find(key: &VipKey, bank: &Bank) -> u32 {
    match key.address {
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
