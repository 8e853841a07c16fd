//! Which vip a packet is for: a bit filter over addresses, then at most two array reads for a key.

use lb_common::abi::{Directory, Target, VIP_ENTRIES, VIP_SLOTS};
use lb_common::hash;

use crate::parse::Packet;

/// Whether a vip has an address with this filter bit. Traffic for other addresses ends here.
#[inline(always)]
pub(crate) fn may_be_vip(directory: &Directory, bit: u32) -> bool {
    let filter = &directory.control.filter;
    filter[(bit / 64) as usize % filter.len()] >> (bit % 64) & 1 != 0
}

/// The vip of an IPv4 packet: that of its port, else that of all ports.
#[inline(always)]
pub(crate) fn find_v4<'d>(directory: &'d Directory, address: u32, packet: &Packet) -> Option<&'d Target> {
    let find = |port| entry_v4(directory, hash::vip4_key(address, port, packet.protocol as u8));
    find(packet.destination_port()).or_else(|| find(0))
}

/// The vip of an IPv6 packet: that of its port, else that of all ports.
#[inline(always)]
pub(crate) fn find_v6<'d>(
    directory: &'d Directory,
    address: [u64; 2],
    packet: &Packet,
) -> Option<&'d Target> {
    let find = |port| entry_v6(directory, address, hash::vip6_service(port, packet.protocol as u8));
    find(packet.destination_port()).or_else(|| find(0))
}

/// What is asked of an IPv4 address that vips have.
#[inline(always)]
pub(crate) fn find_address_v4(directory: &Directory, address: u32) -> Option<&Target> {
    if !may_be_vip(directory, hash::filter_bit_v4(address)) {
        return None;
    }
    entry_v4(directory, hash::vip4_key(address, 0, 0))
}

/// What is asked of an IPv6 address that vips have.
#[inline(always)]
pub(crate) fn find_address_v6(directory: &Directory, address: [u64; 2]) -> Option<&Target> {
    if !may_be_vip(directory, hash::filter_bit_v6(address)) {
        return None;
    }
    entry_v6(directory, address, hash::vip6_service(0, 0))
}

/// The backends that an IPv4 vip has for sources of its route `route`.
#[inline(always)]
pub(crate) fn route_v4<'d>(
    directory: &'d Directory,
    of: &Target,
    address: u32,
    packet: &Packet,
    route: u8,
) -> Option<&'d Target> {
    let bank = bank_holding(directory, of);
    let key = |port| hash::route_key(hash::vip4_key(address, port, packet.protocol as u8), route);
    let find = |port| entry_in_v4(directory, bank, key(port));
    find(packet.destination_port()).or_else(|| find(0))
}

/// The same of an IPv6 vip.
#[inline(always)]
pub(crate) fn route_v6<'d>(
    directory: &'d Directory,
    of: &Target,
    address: [u64; 2],
    packet: &Packet,
    route: u8,
) -> Option<&'d Target> {
    let bank = bank_holding(directory, of);
    let service = |port| hash::route_key(hash::vip6_service(port, packet.protocol as u8), route);
    let find = |port| entry_in_v6(directory, bank, address, service(port));
    find(packet.destination_port()).or_else(|| find(0))
}

#[inline(always)]
pub(crate) fn entry_v4(directory: &Directory, key: u64) -> Option<&Target> {
    entry_in_v4(directory, live_bank(directory), key)
}

#[inline(always)]
pub(crate) fn entry_v6(directory: &Directory, address: [u64; 2], service: u64) -> Option<&Target> {
    entry_in_v6(directory, live_bank(directory), address, service)
}

#[inline(always)]
fn entry_in_v4(directory: &Directory, (bank, salt): (u32, u64), key: u64) -> Option<&Target> {
    let table = bank_of(&directory.vip4, bank);
    let (first, second) = hash::vip4_slots(key, salt);
    let probe = |slot| {
        let vip = &table[slot as usize % table.len()];
        if vip.key == key { Some(&vip.target) } else { None }
    };
    probe(first).or_else(|| probe(second))
}

#[inline(always)]
fn entry_in_v6(
    directory: &Directory,
    (bank, salt): (u32, u64),
    address: [u64; 2],
    service: u64,
) -> Option<&Target> {
    let table = bank_of(&directory.vip6, bank);
    let (first, second) = hash::vip6_slots(address, service, salt);
    let probe = |slot| {
        let vip = &table[slot as usize % table.len()];
        if vip.service == service && vip.address == address { Some(&vip.target) } else { None }
    };
    probe(first).or_else(|| probe(second))
}

/// Number and salt of the bank that an entry lies in.
#[inline(always)]
fn bank_holding(directory: &Directory, entry: &Target) -> (u32, u64) {
    let bank = u32::from(entry.has(Target::BANK));
    (bank, directory.control.salt[bank as usize])
}

/// Number and salt of the live bank.
#[inline(always)]
fn live_bank(directory: &Directory) -> (u32, u64) {
    let bank = directory.control.bank & 1;
    (bank, directory.control.salt[bank as usize])
}

/// One bank of a table. A branch, and no arithmetic with the bank's number: LLVM would join it with the slot by an OR, after
/// which verifiers of older kernels (6.1) know no bounds any more.
#[inline(always)]
fn bank_of<E>(table: &[E; VIP_ENTRIES], bank: u32) -> &[E; VIP_SLOTS as usize] {
    let (first, second) = table.split_at(VIP_SLOTS as usize);
    let half = if bank == 0 { first } else { second };
    match half.first_chunk() {
        Some(half) => half,
        None => unreachable!(),
    }
}
