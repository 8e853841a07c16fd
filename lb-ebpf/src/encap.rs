//! Puts a dest's finished outer headers in front of a packet.
//!
//! ```text
//! before   | Ethernet, tags | inner IP ...
//! after    | Ethernet, tag | outer IP | inner IP ...       (the frame's start moves, the inner packet stays)
//! ```
//!
//! The outer type of service follows RFC 6040's normal mode: the ECN field is copied, whatever it is.

use lb_common::abi::{Dest, DestKind, DropReason, HEAD_LEN};
use lb_common::checksum;
use lb_common::headers::{Ipv4, Ipv6};

use crate::Frame;
use crate::parse::Packet;

const ETHERNET: usize = 14;
const TAGGED: usize = 18;
const V4: usize = size_of::<Ipv4>();
const V6: usize = size_of::<Ipv6>();

const IPV4: u32 = DestKind::Ipv4 as u32;
const IPV4_VLAN: u32 = DestKind::Ipv4Vlan as u32;
const IPV6: u32 = DestKind::Ipv6 as u32;
const IPV6_VLAN: u32 = DestKind::Ipv6Vlan as u32;

/// Encapsulates `packet` for `dest`; `hash` gives the outer header its entropy.
#[inline(always)]
pub(crate) fn encapsulate<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    dest: &Dest,
    hash: u32,
) -> Result<(), DropReason> {
    // The slot comes from the hash's upper bits; the swap puts its lower bits where source masks begin.
    let entropy = hash.swap_bytes();
    match dest.kind {
        IPV4 => outer_v4::<F, ETHERNET, { ETHERNET + V4 }>(frame, packet, dest, entropy),
        IPV6 => outer_v6::<F, ETHERNET, { ETHERNET + V6 }>(frame, packet, dest, entropy),
        IPV4_VLAN => outer_v4::<F, TAGGED, { TAGGED + V4 }>(frame, packet, dest, entropy),
        IPV6_VLAN => outer_v6::<F, TAGGED, { TAGGED + V6 }>(frame, packet, dest, entropy),
        _ => Err(DropReason::NoDest),
    }
}

/// `L2` bytes of Ethernet, then IPv4 (RFC 2003, RFC 4213): `HEAD` bytes in all.
#[inline(always)]
fn outer_v4<F: Frame, const L2: usize, const HEAD: usize>(
    frame: &mut F,
    packet: &Packet,
    dest: &Dest,
    entropy: u32,
) -> Result<(), DropReason> {
    let len = packet.len + V4 as u32;
    if len > u32::from(u16::MAX) {
        return Err(DropReason::TooLong);
    }
    let tos = outer_tos(packet, dest);
    let [_, _, len_0, len_1] = len.to_be_bytes();
    let first = u32::from_ne_bytes([0x45, tos, len_0, len_1]);
    let source = u32::from_ne_bytes(take(&dest.head, L2 + 12)) | entropy & dest.source_mask;
    let [ttl, protocol] = take(&dest.head, L2 + 8);
    let sum = u64::from(dest.checksum) + u64::from(first) + u64::from(packet.id_flags) + u64::from(source);
    let [sum_0, sum_1] = (!checksum::fold64(sum)).to_ne_bytes();
    let head = make_room::<F, L2, HEAD>(frame, packet, dest)?;
    put(head, L2, first.to_ne_bytes());
    put(head, L2 + 4, packet.id_flags.to_ne_bytes());
    put(head, L2 + 8, [ttl, protocol, sum_0, sum_1]);
    put(head, L2 + 12, source.to_ne_bytes());
    put(head, L2 + 16, take::<4>(&dest.head, L2 + 16));
    Ok(())
}

/// `L2` bytes of Ethernet, then IPv6 (RFC 2473): `HEAD` bytes in all. The flow label carries entropy (RFC 6438).
#[inline(always)]
fn outer_v6<F: Frame, const L2: usize, const HEAD: usize>(
    frame: &mut F,
    packet: &Packet,
    dest: &Dest,
    entropy: u32,
) -> Result<(), DropReason> {
    if packet.len > u32::from(u16::MAX) {
        return Err(DropReason::TooLong);
    }
    let tos = u32::from(outer_tos(packet, dest));
    let [_, _, len_0, len_1] = packet.len.to_be_bytes();
    let label = entropy & 0x000f_ffff;
    let source = u32::from_le_bytes(take(&dest.head, L2 + 20)) | entropy & dest.source_mask;
    let [next_header, hop_limit] = take(&dest.head, L2 + 6);
    let head = make_room::<F, L2, HEAD>(frame, packet, dest)?;
    put(head, L2, (6 << 28 | tos << 20 | label).to_be_bytes());
    put(head, L2 + 4, [len_0, len_1, next_header, hop_limit]);
    put(head, L2 + 8, take::<8>(&dest.head, L2 + 8));
    put(head, L2 + 16, take::<4>(&dest.head, L2 + 16));
    put(head, L2 + 20, source.to_le_bytes());
    put(head, L2 + 24, take::<8>(&dest.head, L2 + 24));
    put(head, L2 + 32, take::<8>(&dest.head, L2 + 32));
    Ok(())
}

#[inline(always)]
fn outer_tos(packet: &Packet, dest: &Dest) -> u8 {
    packet.tos & dest.tos_mask | dest.tos_set
}

/// Moves the frame's start so that `HEAD` bytes lie before the inner packet, and writes the first `L2` of them.
///
/// All copies are of words: LLVM copies byte for byte where it cannot know an alignment.
#[inline(always)]
fn make_room<'f, F: Frame, const L2: usize, const HEAD: usize>(
    frame: &'f mut F,
    packet: &Packet,
    dest: &Dest,
) -> Result<&'f mut [u8; HEAD], DropReason> {
    frame.extend_front(HEAD as i32 - packet.offset as i32).ok_or(DropReason::NoHeadroom)?;
    let head = frame.at_mut::<[u8; HEAD]>(0).ok_or(DropReason::NoHeadroom)?;
    put(head, 0, take::<8>(&dest.head, 0));
    if L2 == TAGGED {
        put(head, 8, take::<8>(&dest.head, 8));
    } else {
        put(head, 8, take::<4>(&dest.head, 8));
    }
    put(head, L2 - 2, take::<2>(&dest.head, L2 - 2));
    Ok(head)
}

#[inline(always)]
fn take<const N: usize>(from: &[u8; HEAD_LEN], at: usize) -> [u8; N] {
    core::array::from_fn(|i| from[at + i])
}

#[inline(always)]
fn put<const HEAD: usize, const N: usize>(head: &mut [u8; HEAD], at: usize, bytes: [u8; N]) {
    head[at..at + N].copy_from_slice(&bytes);
}
