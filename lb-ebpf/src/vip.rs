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
    let (bank, salt) = live_bank(directory);
    let table = bank_of(&directory.vip4, bank);
    let find = |port| {
        let key = hash::vip4_key(address, port, packet.protocol as u8);
        let (first, second) = hash::vip4_slots(key, salt);
        let probe = |slot| {
            let vip = &table[slot as usize % table.len()];
            if vip.key == key { Some(&vip.target) } else { None }
        };
        probe(first).or_else(|| probe(second))
    };
    find(packet.destination_port()).or_else(|| find(0))
}

/// The vip of an IPv6 packet: that of its port, else that of all ports.
#[inline(always)]
pub(crate) fn find_v6<'d>(
    directory: &'d Directory,
    address: [u64; 2],
    packet: &Packet,
) -> Option<&'d Target> {
    let (bank, salt) = live_bank(directory);
    let table = bank_of(&directory.vip6, bank);
    let find = |port| {
        let service = hash::vip6_service(port, packet.protocol as u8);
        let (first, second) = hash::vip6_slots(address, service, salt);
        let probe = |slot| {
            let vip = &table[slot as usize % table.len()];
            if vip.service == service && vip.address == address { Some(&vip.target) } else { None }
        };
        probe(first).or_else(|| probe(second))
    };
    find(packet.destination_port()).or_else(|| find(0))
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
