//! Neighbour solicitations for an announced IPv6 address: checked as RFC 4861, section 7.1.1, demands, and answered as its
//! section 7.2.4 says. Solicitations for other addresses, and all that has extension headers or more options than usual,
//! are the kernel's.
//!
//! ```text
//! ICMPv6 kind, code, checksum | flags | target | option 2: our MAC address
//! ```
//!
//! The advertisement overrides what the neighbour knew. It goes to the frame's sender, whatever a source link-layer option
//! says, so that nobody can have it sent to somebody else. A host that asks whether it may take the address for itself has
//! none to be answered at: all nodes are told.

use bytemuck::{Pod, Zeroable};
use lb_common::abi::{Interface, Reason, Target};
use lb_common::checksum;
use lb_common::headers::{Ethernet, Icmp, Ipv6, words_v6};

use super::receiver::receiver;
use super::reply::{Link, answering_mac, held, ipv6_header, is_host_v6, pseudo_v6, same_mac, sum};
use super::upper::Upper;
use crate::parse::ICMPV6;
use crate::tables::StageTables;
use crate::{Frame, vip};

/// RFC 4861, sections 4.3 and 4.4, without options.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Solicitation {
    icmp: Icmp,
    target: [u8; 16],
}

/// An advertisement with its only option.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Advertisement {
    icmp: Icmp,
    target: [u8; 16],
    option: [u8; 2],
    mac: [u8; 6],
}

const SOLICITATION: usize = size_of::<Solicitation>();
/// Options of 8 bytes that are looked at: link-layer address, nonce (RFC 3971), and some to spare.
const OPTIONS: usize = 8;
const WORDS: usize = (SOLICITATION + OPTIONS * 8) / 4;

/// Only neighbours can send packets with it: routers count it down.
const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// RFC 2464, section 7.
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Answers one solicitation.
///
/// # Errors
/// Why there is no answer; the frame is as it came then, unless the packet is dropped.
#[inline(always)]
pub(super) fn answer<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ip: &Ipv6,
    upper: &Upper,
    ingress: u32,
) -> Result<(), Reason> {
    let solicitation: Solicitation = *frame.at(upper.start).ok_or(Reason::Icmp)?;
    if words_v6(ip.source) == words_v6(solicitation.target) {
        return Err(Reason::Icmp);
    }
    let mac = held(tables, words_v6(solicitation.target), Reason::Icmp)?;
    let directory = tables.directory().ok_or(Reason::Icmp)?;
    let address = vip::find_address_v6(directory, words_v6(solicitation.target)).ok_or(Reason::Icmp)?;
    if !address.has(Target::ANSWER_NEIGHBOURS) {
        return Err(Reason::Icmp);
    }
    let interface = receiver(frame, tables, ingress).ok_or(Reason::Icmp)?;
    let interface = Interface { mac: answering_mac(mac, interface.mac), ..interface };
    if !address.answers_in(interface.places) {
        return Err(Reason::Icmp);
    }
    let sender = frame.at::<Ethernet>(0).ok_or(Reason::Icmp)?.source;
    let is_own = same_mac(sender, interface.mac);
    if is_own || upper.start != offset + size_of::<Ipv6>() || upper.len() > WORDS * 4 {
        return Err(Reason::Icmp);
    }
    let is_probe = words_v6(ip.source) == [0, 0];
    check(frame, ip, upper, &solicitation, is_probe)?;
    let link = if is_probe {
        Link::new(frame, offset, ALL_NODES_MAC, interface.mac)?
    } else if sender[0] & 1 != 0 {
        return Err(Reason::BadSource);
    } else {
        Link::new(frame, offset, sender, interface.mac)?
    };
    let destination = if is_probe { ALL_NODES } else { ip.source };
    let flags = if is_probe { OVERRIDE } else { SOLICITED | OVERRIDE };
    let advertisement = advertisement(flags, solicitation.target, interface.mac, &destination);
    let header =
        ipv6_header(size_of::<Advertisement>() as u16, ICMPV6, HOP_LIMIT, solicitation.target, destination);
    // The frame gets the answer's length at its front, where drivers leave room, and all of it is written.
    let message = offset + size_of::<Ipv6>();
    let len = message + size_of::<Advertisement>();
    frame.extend_front(len as i32 - upper.end as i32).ok_or(Reason::NoHeadroom)?;
    frame.truncate(len).ok_or(Reason::Truncated)?;
    link.put(frame).ok_or(Reason::Truncated)?;
    *frame.at_mut(offset).ok_or(Reason::Truncated)? = header;
    *frame.at_mut(message).ok_or(Reason::Truncated)? = advertisement;
    Ok(())
}

/// RFC 4861, section 7.1.1. The target is no group: it is a vip's address.
#[inline(always)]
fn check<F: Frame>(
    frame: &F,
    ip: &Ipv6,
    upper: &Upper,
    solicitation: &Solicitation,
    is_probe: bool,
) -> Result<(), Reason> {
    let len = upper.len();
    if ip.hop_limit != HOP_LIMIT
        || solicitation.icmp.code != 0
        || len < SOLICITATION
        || !len.is_multiple_of(8)
    {
        return Err(Reason::IcmpMalformed);
    }
    let sum = sum::<F, WORDS>(frame, upper.start, len / 4).ok_or(Reason::IcmpMalformed)?;
    let pseudo = pseudo_v6(&ip.source, &ip.destination, len as u16, ICMPV6);
    if checksum::fold_long(sum + pseudo) != u16::MAX {
        return Err(Reason::IcmpMalformed);
    }
    let has_link_layer = options(frame, upper.start + SOLICITATION, (len - SOLICITATION) / 8)?;
    if is_probe {
        if has_link_layer || words_v6(ip.destination) != solicited_node(solicitation.target) {
            return Err(Reason::IcmpMalformed);
        }
        return Ok(());
    }
    if is_host_v6(ip.source) { Ok(()) } else { Err(Reason::BadSource) }
}

/// Walks the options, `count` times 8 bytes. Says whether there is a source link-layer address among them.
///
/// # Errors
/// When an option has no length, or a longer one than there is room.
#[inline(always)]
fn options<F: Frame>(frame: &F, start: usize, count: usize) -> Result<bool, Reason> {
    let mut has_link_layer = false;
    let mut next = 0;
    for at in 0..OPTIONS {
        if at >= count {
            break;
        }
        let [kind, len] = *frame.at::<[u8; 2]>(start + at * 8).ok_or(Reason::IcmpMalformed)?;
        if at < next {
            continue;
        }
        next = at + usize::from(len);
        if len == 0 || next > count {
            return Err(Reason::IcmpMalformed);
        }
        has_link_layer |= kind == SOURCE_LINK_LAYER;
    }
    Ok(has_link_layer)
}

/// The group of RFC 4291, section 2.7.1, in which hosts ask for an address.
#[inline(always)]
fn solicited_node(address: [u8; 16]) -> [u64; 2] {
    let [.., a, b, c] = address;
    words_v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

#[inline(always)]
fn advertisement(flags: u8, target: [u8; 16], mac: [u8; 6], destination: &[u8; 16]) -> Advertisement {
    let message = Advertisement {
        icmp: Icmp {
            kind: Icmp::V6_NEIGHBOUR_ADVERTISEMENT,
            code: 0,
            checksum: [0; 2],
            rest: [flags, 0, 0, 0],
        },
        target,
        option: [TARGET_LINK_LAYER, 1],
        mac,
    };
    let len = size_of::<Advertisement>() as u16;
    let [m0, m1, m2, m3, m4, m5] = mac;
    let words = [
        [Icmp::V6_NEIGHBOUR_ADVERTISEMENT, 0, 0, 0],
        [flags, 0, 0, 0],
        [TARGET_LINK_LAYER, 1, m0, m1],
        [m2, m3, m4, m5],
    ];
    let own: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    // The target is the source: the pseudo header has its sum, and the message once more.
    let sum = own + pseudo_v6(&target, destination, len, ICMPV6) + pseudo_v6(&target, &[0; 16], 0, 0);
    let checksum = (!checksum::fold_long(sum)).to_ne_bytes();
    Advertisement { icmp: Icmp { checksum, ..message.icmp }, ..message }
}
