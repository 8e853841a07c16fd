//! Which vip a packet is for: a bit filter over addresses, then at most two array reads for a key.

use lb_common::abi::{Control, Target, VIP_SLOTS};
use lb_common::hash;

use crate::Tables;
use crate::parse::Packet;

/// Whether a vip has an address with this filter bit. Traffic for other addresses ends here.
#[inline(always)]
pub(crate) fn may_be_vip(control: &Control, bit: u32) -> bool {
    let word = control.filter[(bit / 64) as usize % control.filter.len()];
    word >> (bit % 64) & 1 != 0
}

/// The vip of an IPv4 packet: that of its port, else that of all ports.
#[inline(always)]
pub(crate) fn find_v4<'t, T: Tables>(
    tables: &'t T,
    control: &Control,
    address: u32,
    packet: &Packet,
) -> Option<&'t Target> {
    let bank = control.bank & 1;
    let find = |port| {
        let key = hash::vip4_key(address, port, packet.protocol);
        let (first, second) = hash::vip4_slots(key, control.salt[bank as usize]);
        let probe =
            |slot| tables.vip4(bank * VIP_SLOTS + slot).filter(|vip| vip.key == key).map(|vip| &vip.target);
        probe(first).or_else(|| probe(second))
    };
    find(packet.destination_port()).or_else(|| find(0))
}

/// The vip of an IPv6 packet: that of its port, else that of all ports.
#[inline(always)]
pub(crate) fn find_v6<'t, T: Tables>(
    tables: &'t T,
    control: &Control,
    address: [u64; 2],
    packet: &Packet,
) -> Option<&'t Target> {
    let bank = control.bank & 1;
    let find = |port| {
        let service = hash::vip6_service(port, packet.protocol);
        let (first, second) = hash::vip6_slots(address, service, control.salt[bank as usize]);
        let probe = |slot| {
            tables
                .vip6(bank * VIP_SLOTS + slot)
                .filter(|vip| vip.service == service && vip.address == address)
                .map(|vip| &vip.target)
        };
        probe(first).or_else(|| probe(second))
    };
    find(packet.destination_port()).or_else(|| find(0))
}
