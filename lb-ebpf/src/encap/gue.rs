//! Generic UDP encapsulation (draft-ietf-intarea-gue): an outer IP header, UDP, and in variant 0 a header of four bytes.
//!
//! ```text
//! variant 0   | outer IP | UDP | 0, protocol 4 or 41, flags 0 | inner IP ...
//! variant 1   | outer IP | UDP | inner IP ...                   (the inner version 4 or 6 begins with the bits 01)
//! ```
//!
//! The source port carries the flow's entropy, so that routers and receive queues that hash ports spread the flows.
//!
//! The UDP checksum covers the payload, yet no byte of it is read (local checksum offload): an IPv4 header with a right
//! checksum sums up to zero, and so does a TCP or UDP segment with its pseudo header. What is left of the inner packet are
//! its pseudo header, to be taken away, and the IPv6 header. A client's packet with a wrong checksum gets a wrong outer one.
//!
//! Where headers alone do not tell, the checksum is 0, "none": UDP without a checksum, other protocols, fragments, and
//! extension headers. Over IPv4 RFC 768 allows that, over IPv6 RFC 6935 does so for tunnels; what it would protect beyond
//! the outer header is protected by the inner checksums.

use lb_common::abi::{Dest, DestKind, Reason};
use lb_common::checksum;
use lb_common::headers::{Ipv4, Ipv6, Udp};
use network_types::ip::IpProto;

use super::{ETHERNET, Fit, Inner, TAGGED, V4, V6, give_back, ip, put, put_ethernet, spend_hop, take};
use crate::Frame;
use crate::exit::{OrExit, exit};

const UDP: usize = size_of::<Udp>();
const GUE: usize = 4;
/// Bytes between the outer IP header and the inner one, at most.
pub(super) const MOST: usize = UDP + GUE;
const V4_UDP: usize = V4 + UDP;
const V6_UDP: usize = V6 + UDP;

/// Source ports are of the dynamic range (RFC 6335): two fixed bits and 14 of the hash.
const PORT_FIXED: u16 = 0xc000;

/// Where things lie in an encapsulated frame.
struct Shape {
    /// Bytes of Ethernet.
    l2: usize,
    /// Bytes of the GUE header.
    gue: usize,
    outer_is_v6: u64,
}

impl Shape {
    #[inline(always)]
    const fn of(kind: u32) -> Self {
        const KINDS: u32 = DestKind::GueIpv4 as u32 - DestKind::UdpIpv4 as u32;
        let number = kind.wrapping_sub(DestKind::UdpIpv4 as u32);
        Self {
            l2: if number & 1 == 0 { ETHERNET } else { TAGGED },
            gue: if number < KINDS { 0 } else { GUE },
            outer_is_v6: (number & 2) as u64,
        }
    }
}

/// Encapsulates for a dest of a `Udp` or `Gue` kind; see [`super::encapsulate`].
#[inline(always)]
pub(super) fn outer<F: Frame, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    let shape = Shape::of(dest.kind);
    if dest.kind < DestKind::UdpIpv4 as u32 {
        return exit(Reason::NoDest);
    }
    match (shape.outer_is_v6 != 0, INNER_V6) {
        (false, false) => around::<F, V4_UDP, V4, false>(frame, offset, dest, &shape, entropy, fit),
        (false, true) => around::<F, V4_UDP, V6, true>(frame, offset, dest, &shape, entropy, fit),
        (true, false) => around::<F, V6_UDP, V4, false>(frame, offset, dest, &shape, entropy, fit),
        (true, true) => around::<F, V6_UDP, V6, true>(frame, offset, dest, &shape, entropy, fit),
    }
}

/// Puts `OUTER` bytes of IP and UDP, and the GUE header, in front of a packet whose IP header has `INNER` bytes.
#[inline(always)]
fn around<F: Frame, const OUTER: usize, const INNER: usize, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    shape: &Shape,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    let Shape { l2, gue, .. } = *shape;
    let head = l2 + OUTER + gue;
    frame.extend_front(head as i32 - offset as i32).or_exit(Reason::NoHeadroom)?;
    let header: &mut [u8; INNER] = frame.at_mut(head).or_exit(Reason::NoHeadroom)?;
    let inner = Inner::read::<INNER, INNER_V6>(header, 0);
    if fit.is_missed(inner.len, dest) {
        return give_back(frame, head, offset);
    }
    spend_hop::<INNER, INNER_V6>(header, 0)?;

    let len = inner.len + (UDP + gue) as u32;
    let [_, _, len_0, len_1] = len.to_be_bytes();
    let [_, _, port_0, port_1] = (entropy.swap_bytes() | u32::from(PORT_FIXED)).to_be_bytes();
    let ports_and_len = [u16::from_ne_bytes([port_0, port_1]), u16::from_ne_bytes([len_0, len_1])];
    // The length stands in the UDP header and in the pseudo header.
    let outer_sum = u64::from(dest.udp_checksum)
        + u64::from(entropy & dest.source_mask)
        + u64::from(ports_and_len[0])
        + 2 * u64::from(ports_and_len[1]);
    let [sum_0, sum_1] = udp_checksum::<F, INNER_V6>(frame, head, outer_sum).to_ne_bytes();

    let template: &[u8; OUTER] = dest.head.get(l2..).and_then(<[u8]>::first_chunk).or_exit(Reason::NoDest)?;
    put_l2(frame, dest, l2)?;
    let to: &mut [u8; OUTER] = frame.at_mut(l2).or_exit(Reason::NoHeadroom)?;
    if OUTER == V4_UDP {
        ip::header_v4(to, template, dest, &inner, len + V4 as u32, entropy);
    } else {
        ip::header_v6(to, template, dest, &inner, len, entropy);
    }
    let [to_port_0, to_port_1] = take(template, OUTER - UDP + 2);
    put(to, OUTER - UDP, [port_0, port_1, to_port_0, to_port_1]);
    put(to, OUTER - UDP + 4, [len_0, len_1, sum_0, sum_1]);
    if gue != 0 {
        let to: &mut [u8; GUE] = frame.at_mut(l2 + OUTER).or_exit(Reason::NoHeadroom)?;
        *to = [0, if INNER_V6 { IpProto::Ipv6 as u8 } else { IpProto::Ipv4 as u8 }, 0, 0];
    }
    Ok(inner.len)
}

#[inline(always)]
fn put_l2<F: Frame>(frame: &mut F, dest: &Dest, l2: usize) -> Result<(), Reason> {
    if l2 == TAGGED {
        put_ethernet::<TAGGED, TAGGED>(frame.at_mut(0).or_exit(Reason::NoHeadroom)?, dest);
    } else {
        put_ethernet::<ETHERNET, ETHERNET>(frame.at_mut(0).or_exit(Reason::NoHeadroom)?, dest);
    }
    Ok(())
}

/// The outer UDP checksum in memory order, from the sum of what is outside of the inner packet, which begins at `at`. 0
/// where headers alone do not tell it.
#[inline(always)]
fn udp_checksum<F: Frame, const INNER_V6: bool>(frame: &F, at: usize, outer_sum: u64) -> u16 {
    let inner_sum = if INNER_V6 { sum_v6(frame, at) } else { sum_v4(frame, at) };
    if inner_sum == UNKNOWN {
        return 0;
    }
    match !checksum::fold64(outer_sum + inner_sum) {
        // RFC 768: 0 means none.
        0 => u16::MAX,
        sum => sum,
    }
}

/// No sum of [`sum_v4`] or [`sum_v6`].
const UNKNOWN: u64 = u64::MAX;

const TCP_PROTOCOL: u8 = IpProto::Tcp as u8;
const UDP_PROTOCOL: u8 = IpProto::Udp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

/// What an inner IPv4 packet sums up to: the complement of its pseudo header. ICMP has none.
#[inline(always)]
fn sum_v4<F: Frame>(frame: &F, at: usize) -> u64 {
    let Some(ip) = frame.at::<Ipv4>(at) else { return UNKNOWN };
    let header_len = u32::from(ip.version_ihl & 0x0f) * 4;
    let segment = u32::from(ip.total_len.get()).wrapping_sub(header_len);
    if ip.flags_offset.get() & Ipv4::FRAGMENT != 0 {
        return UNKNOWN;
    }
    match ip.protocol {
        ICMP => return 0,
        TCP_PROTOCOL => {}
        UDP_PROTOCOL if udp_is_summed(frame, at + header_len as usize, segment) => {}
        _ => return UNKNOWN,
    }
    u64::from(!u32::from_ne_bytes(ip.source))
        + u64::from(!u32::from_ne_bytes(ip.destination))
        + u64::from(!u16::from_ne_bytes([0, ip.protocol]))
        + u64::from(!(segment as u16).to_be())
}

/// What an inner IPv6 packet sums up to: its header without what the pseudo header has too.
#[inline(always)]
fn sum_v6<F: Frame>(frame: &F, at: usize) -> u64 {
    let Some(ip) = frame.at::<Ipv6>(at) else { return UNKNOWN };
    match ip.next_header {
        TCP_PROTOCOL | ICMPV6 => {}
        UDP_PROTOCOL if udp_is_summed(frame, at + V6, u32::from(ip.payload_len.get())) => {}
        _ => return UNKNOWN,
    }
    // The protocol is the upper byte of a word in the header, and the lower one in the pseudo header.
    u64::from(u32::from_ne_bytes(ip.version_class_label))
        + u64::from(u16::from_ne_bytes([ip.next_header, ip.hop_limit]))
        + u64::from(!u16::from_ne_bytes([0, ip.next_header]))
}

/// Whether a UDP datagram has a checksum, and one over all `len` bytes of the IP packet's payload.
#[inline(always)]
fn udp_is_summed<F: Frame>(frame: &F, at: usize, len: u32) -> bool {
    match frame.at::<Udp>(at) {
        Some(udp) => udp.checksum != [0, 0] && u32::from(udp.len.get()) == len,
        None => false,
    }
}
