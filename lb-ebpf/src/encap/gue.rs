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

use super::{ETHERNET, Fit, Inner, TAGGED, V4, V6, give_back, ip, make_room, put, put_link, spend_hop, take};
use crate::Frame;
use crate::exit::{OrExit, exit};

const UDP: usize = size_of::<Udp>();
const GUE: usize = 4;
/// Bytes between the outer IP header and the inner one, at most.
pub(super) const MOST: usize = UDP + GUE;

/// Source ports are of the dynamic range (RFC 6335): two fixed bits and 14 of the hash.
const PORT_FIXED: u16 = 0xc000;

const UDP_IPV4: u32 = DestKind::UdpIpv4 as u32;
const UDP_IPV4_VLAN: u32 = DestKind::UdpIpv4Vlan as u32;
const UDP_IPV6: u32 = DestKind::UdpIpv6 as u32;
const UDP_IPV6_VLAN: u32 = DestKind::UdpIpv6Vlan as u32;
const GUE_IPV4: u32 = DestKind::GueIpv4 as u32;
const GUE_IPV4_VLAN: u32 = DestKind::GueIpv4Vlan as u32;
const GUE_IPV6: u32 = DestKind::GueIpv6 as u32;
const GUE_IPV6_VLAN: u32 = DestKind::GueIpv6Vlan as u32;

/// Encapsulates for a dest of a `Udp` or `Gue` kind; see [`super::encapsulate`].
#[inline(always)]
pub(super) fn outer<F: Frame, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    // A way for each kind: all offsets are constants.
    macro_rules! by_kind {
        ($($kind:ident: $l2:ident, $ip:ident, $behind:expr;)*) => {
            match (dest.kind, INNER_V6) {
                $(
                    ($kind, false) => {
                        around::<F, $l2, $ip, { $l2 + $ip + $behind }, { $l2 + $ip + $behind + V4 }, false>(
                            frame, offset, dest, entropy, fit,
                        )
                    }
                    ($kind, true) => {
                        around::<F, $l2, $ip, { $l2 + $ip + $behind }, { $l2 + $ip + $behind + V6 }, true>(
                            frame, offset, dest, entropy, fit,
                        )
                    }
                )*
                _ => exit(Reason::NoDest),
            }
        };
    }
    by_kind! {
        UDP_IPV4: ETHERNET, V4, UDP;
        UDP_IPV4_VLAN: TAGGED, V4, UDP;
        UDP_IPV6: ETHERNET, V6, UDP;
        UDP_IPV6_VLAN: TAGGED, V6, UDP;
        GUE_IPV4: ETHERNET, V4, UDP + GUE;
        GUE_IPV4_VLAN: TAGGED, V4, UDP + GUE;
        GUE_IPV6: ETHERNET, V6, UDP + GUE;
        GUE_IPV6_VLAN: TAGGED, V6, UDP + GUE;
    }
}

/// Puts a head of `HEAD` bytes in front of a packet: `L2` of Ethernet, `IP` of the outer IP header, UDP, and what is left of
/// GUE. With the inner IP header these are `ALL` bytes.
#[inline(always)]
fn around<
    F: Frame,
    const L2: usize,
    const IP: usize,
    const HEAD: usize,
    const ALL: usize,
    const INNER_V6: bool,
>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    let all: &mut [u8; ALL] = make_room(frame, HEAD, offset)?;
    let inner = Inner::read::<ALL, INNER_V6>(all, HEAD);
    if fit.is_missed(inner.len, dest) {
        return give_back(frame, HEAD, offset);
    }
    // Before the sum, which the hop limit is part of.
    spend_hop::<ALL, INNER_V6>(all, HEAD)?;
    let len = inner.len + (HEAD - L2 - IP) as u32;
    let len_word = (len as u16).to_be();
    let port_word = (entropy.swap_bytes() as u16 | PORT_FIXED).to_be();
    // The length stands in the UDP header and in the pseudo header.
    let outer_sum = u64::from(dest.udp_checksum)
        + u64::from(entropy & dest.source_mask)
        + u64::from(port_word)
        + 2 * u64::from(len_word);
    let sum = udp_checksum::<F, INNER_V6>(frame, HEAD, outer_sum);

    let all: &mut [u8; ALL] = frame.at_mut(0).or_exit(Reason::NoHeadroom)?;
    put_link::<L2, ALL>(all, dest);
    if IP == V4 {
        ip::header_v4(&mut all[L2..], &dest.head[L2..], dest, &inner, len + V4 as u32, entropy);
    } else {
        ip::header_v6(&mut all[L2..], &dest.head[L2..], dest, &inner, len, entropy);
    }
    put(all, L2 + IP, port_word.to_ne_bytes());
    put(all, L2 + IP + 2, take::<2>(&dest.head, L2 + IP + 2));
    put(all, L2 + IP + 4, len_word.to_ne_bytes());
    put(all, L2 + IP + 6, sum.to_ne_bytes());
    if HEAD > L2 + IP + UDP {
        let protocol = if INNER_V6 { IpProto::Ipv6 as u8 } else { IpProto::Ipv4 as u8 };
        put(all, HEAD - GUE, [0, protocol, 0, 0]);
    }
    Ok(inner.len)
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
    // The sum of the complements.
    const ALL_ONES: u64 = 2 * u32::MAX as u64 + 2 * u16::MAX as u64;
    ALL_ONES
        - u64::from(u32::from_ne_bytes(ip.source))
        - u64::from(u32::from_ne_bytes(ip.destination))
        - u64::from(u16::from_ne_bytes([0, ip.protocol]))
        - u64::from((segment as u16).to_be())
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
