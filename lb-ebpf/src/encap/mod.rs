//! Gives a packet the headers that bring it to its dest.
//!
//! ```text
//! before   | Ethernet, tags | inner IP ...
//! ip       | Ethernet, tag | outer IP | inner IP ...              (the frame's start moves, the inner packet stays)
//! gue      | Ethernet, tag | outer IP | UDP, GUE | inner IP ...
//! l2       | Ethernet, tag | inner IP ...
//! ```
//!
//! The outer type of service follows RFC 6040's normal mode: the ECN field is copied, whatever it is. The inner packet
//! loses one hop, as a forwarder that tunnels does (RFC 2003, section 3.1; RFC 2473, section 3.1), and as a router does.
//!
//! The frame's start is moved first; from then on all offsets are constants, whatever tags the client's frame had. All
//! copies are of words: LLVM copies byte for byte where it cannot know an alignment.

mod gue;
mod ip;
mod l2;
pub(crate) mod outer;

use lb_common::abi::{Dest, DestKind, HEAD_LEN, Reason};
use lb_common::headers::{Ipv4, Ipv6};

use crate::Frame;
use crate::exit::{OrExit, exit};

const ETHERNET: usize = 14;
const TAGGED: usize = 18;
const V4: usize = size_of::<Ipv4>();
const V6: usize = size_of::<Ipv6>();

const IPV4: u32 = DestKind::Ipv4 as u32;
const IPV4_VLAN: u32 = DestKind::Ipv4Vlan as u32;
const IPV6: u32 = DestKind::Ipv6 as u32;
const IPV6_VLAN: u32 = DestKind::Ipv6Vlan as u32;

/// "Don't fragment", and with it the identification, in the second word of an IPv4 header, in memory order.
const DF: u32 = u32::from_ne_bytes([0, 0, (Ipv4::DF >> 8) as u8, 0]);
const ID_AND_DF: u32 = u32::from_ne_bytes([0xff, 0xff, (Ipv4::DF >> 8) as u8, 0]);

/// Which packets are too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Those that do not fit the way to the dest.
    Dest,
    /// Those that no IP packet can hold together with the outer headers: the kernel will fragment others.
    Any,
}

impl Fit {
    #[inline(always)]
    pub(crate) const fn is_missed(self, len: u32, dest: &Dest) -> bool {
        match self {
            Self::Dest => len > dest.max_len,
            Self::Any => len > u16::MAX as u32 - HEAD_LEN as u32,
        }
    }
}

/// Encapsulates the packet whose IP header starts at `offset` for `dest`; `hash` gives the outer header its entropy, and
/// `fit` says which packets are too large. Returns the inner packet's bytes. `INNER_V6` is the packet's family.
///
/// # Errors
/// Why it must be dropped, or [`Reason::TooBig`], with the frame as it came.
#[inline(always)]
pub(crate) fn encapsulate<F: Frame, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    hash: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    // The slot comes from the hash's upper bits; the swap puts its lower bits where source masks begin.
    let entropy = hash.swap_bytes();
    match (dest.kind, INNER_V6) {
        (IPV4, false) => {
            ip::outer_v4::<F, ETHERNET, { ETHERNET + V4 + V4 }, false>(frame, offset, dest, entropy, fit)
        }
        (IPV4, true) => {
            ip::outer_v4::<F, ETHERNET, { ETHERNET + V4 + V6 }, true>(frame, offset, dest, entropy, fit)
        }
        (IPV6, false) => {
            ip::outer_v6::<F, ETHERNET, { ETHERNET + V6 + V4 }, false>(frame, offset, dest, entropy, fit)
        }
        (IPV6, true) => {
            ip::outer_v6::<F, ETHERNET, { ETHERNET + V6 + V6 }, true>(frame, offset, dest, entropy, fit)
        }
        (IPV4_VLAN, false) => {
            ip::outer_v4::<F, TAGGED, { TAGGED + V4 + V4 }, false>(frame, offset, dest, entropy, fit)
        }
        (IPV4_VLAN, true) => {
            ip::outer_v4::<F, TAGGED, { TAGGED + V4 + V6 }, true>(frame, offset, dest, entropy, fit)
        }
        (IPV6_VLAN, false) => {
            ip::outer_v6::<F, TAGGED, { TAGGED + V6 + V4 }, false>(frame, offset, dest, entropy, fit)
        }
        (IPV6_VLAN, true) => {
            ip::outer_v6::<F, TAGGED, { TAGGED + V6 + V6 }, true>(frame, offset, dest, entropy, fit)
        }
        _ => not_ip_in_ip::<F, INNER_V6>(frame, offset, dest, entropy, fit),
    }
}

/// The kinds that are asked for less often.
#[inline(always)]
fn not_ip_in_ip<F: Frame, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    if dest.kind < DestKind::L2 as u32 {
        return gue::outer::<F, INNER_V6>(frame, offset, dest, entropy, fit);
    }
    l2::rewrite::<F, INNER_V6>(frame, offset, dest, fit)
}

/// What the outer header takes over from the inner one.
struct Inner {
    tos: u8,
    /// Bytes of the IP packet with its header.
    len: u32,
    /// IPv4: identification and "don't fragment", in memory order, so that packets that may be fragmented on their way
    /// keep distinct identifications. IPv6 is never fragmented on its way: "don't fragment".
    id_flags: u32,
}

impl Inner {
    /// Reads the inner header at `at`.
    #[inline(always)]
    fn read<const ALL: usize, const INNER_V6: bool>(all: &[u8; ALL], at: usize) -> Self {
        if INNER_V6 {
            let tos = all[at] << 4 | all[at + 1] >> 4;
            let payload = u16::from_be_bytes(take(all, at + 4));
            return Self { tos, len: V6 as u32 + u32::from(payload), id_flags: DF };
        }
        let len = u16::from_be_bytes(take(all, at + 2));
        let id_flags = word(all, at + 4) & ID_AND_DF;
        Self { tos: all[at + 1], len: u32::from(len), id_flags }
    }

    #[inline(always)]
    const fn outer_tos(&self, dest: &Dest) -> u8 {
        self.tos & dest.tos_mask | dest.tos_set
    }
}

/// Takes one from the time to live of the inner header at `at`.
#[inline(always)]
fn spend_hop<const ALL: usize, const INNER_V6: bool>(all: &mut [u8; ALL], at: usize) -> Result<(), Reason> {
    if INNER_V6 {
        let hops = all[at + 7];
        if hops <= 1 {
            return exit(Reason::TtlExpired);
        }
        all[at + 7] = hops - 1;
        return Ok(());
    }
    // Time to live, protocol and checksum, each a byte further up.
    let old = word(all, at + 8).to_le();
    if old & 0xff <= 1 {
        return exit(Reason::TtlExpired);
    }
    // One less in the upper byte of a word is one more in the upper byte of the checksum (RFC 1141), with the carry around.
    let (new, carry) = old.overflowing_add((1 << 16) - 1);
    let new = if carry { new + (1 << 16) } else { new };
    put(all, at + 8, new.to_le_bytes());
    Ok(())
}

/// Moves the frame's start so that `head` bytes lie before the inner packet, now at `offset`. Returns the head together
/// with the inner header.
#[inline(always)]
fn make_room<F: Frame, const ALL: usize>(
    frame: &mut F,
    head: usize,
    offset: usize,
) -> Result<&mut [u8; ALL], Reason> {
    frame.extend_front(head as i32 - offset as i32).or_exit(Reason::NoHeadroom)?;
    frame.at_mut(0).or_exit(Reason::NoHeadroom)
}

/// Undoes [`make_room`] before anything was written: the frame is as it came.
#[inline(always)]
fn give_back<F: Frame>(frame: &mut F, head: usize, offset: usize) -> Result<u32, Reason> {
    match frame.extend_front(offset as i32 - head as i32) {
        Some(()) => exit(Reason::TooBig),
        None => exit(Reason::NoHeadroom),
    }
}

#[inline(always)]
fn put_ethernet<const L2: usize, const ALL: usize>(all: &mut [u8; ALL], dest: &Dest) {
    put(all, 0, take::<8>(&dest.head, 0));
    if L2 == TAGGED {
        put(all, 8, take::<8>(&dest.head, 8));
    } else {
        put(all, 8, take::<4>(&dest.head, 8));
    }
    put(all, L2 - 2, take::<2>(&dest.head, L2 - 2));
}

/// Writes the dest's `L2` bytes of Ethernet, in words that reach into the IP header, which is written afterwards.
#[inline(always)]
fn put_link<const L2: usize, const ALL: usize>(all: &mut [u8; ALL], dest: &Dest) {
    put(all, 0, take::<8>(&dest.head, 0));
    put(all, 8, take::<8>(&dest.head, 8));
    if L2 == TAGGED {
        put(all, 16, take::<2>(&dest.head, 16));
    }
}

#[inline(always)]
fn take<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    core::array::from_fn(|i| from[at + i])
}

/// Four bytes as one word in memory order. A load of its own: of bytes put together, of which some are masked, LLVM would
/// load each.
#[inline(always)]
fn word(from: &[u8], at: usize) -> u32 {
    bytemuck::pod_read_unaligned(&from[at..at + 4])
}

#[inline(always)]
fn put<const N: usize>(to: &mut [u8], at: usize, bytes: [u8; N]) {
    to[at..at + N].copy_from_slice(&bytes);
}

const _: () = assert!(TAGGED + V6 + gue::MOST <= HEAD_LEN);
