//! The packet story: what happens to a packet, from its first byte to a verdict.
//!
//! Everything here is pure and generic over a [`Frame`] (bytes that can grow at the front) and [`Tables`] (what user
//! space has decided), so the very same code runs in ordinary tests on the host and, through `main.rs`, in the kernel.
//!
//! ```text
//! balance: parse -> vip -> slot -> dest -> encapsulate -> verdict
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod decap;
mod encap;
mod frame;
mod parse;
mod tables;
mod vip;

use lb_common::abi::{Dest, LOOPBACK_IFINDEX, RING_PAGE_SLOTS, Reason, Target};
use lb_common::hash;
use lb_common::headers::{Ethernet, Ipv4, Ipv6, words_v6};

pub use decap::{DecapTables, decapsulate};
pub use frame::Frame;
pub use parse::MAX_EXTENSIONS;
pub use tables::Tables;

use parse::Packet;

/// What became of a balanced packet, for the caller to count and carry out. Why others are not balanced are the errors
/// of [`balance`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub leave: Leave,
    /// The vip's number.
    pub vip: u32,
    /// The slot of the vip's ring.
    pub slot: u32,
    /// Index into `DESTS`.
    pub dest: u32,
    /// Bytes of the client's IP packet.
    pub bytes: u32,
    /// A TCP connection attempt.
    pub opens_flow: bool,
}

/// How a balanced packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Where it came in.
    Transmit,
    /// Through this entry of `DEVICES`.
    Redirect { device: u32 },
}

const ETHERNET: usize = size_of::<Ethernet>();

/// Balances one packet that came in on interface `ingress`.
///
/// # Errors
/// Why the packet is not forwarded. A packet to be passed is untouched; one to be dropped has undefined bytes.
#[inline(always)]
pub fn balance<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let ethernet: &Ethernet = frame.at(0).ok_or(Reason::Malformed)?;
    match ethernet.ether_type.get() {
        // Without tags, all offsets are constants.
        ether_type::IPV4 => balance_v4(frame, tables, ETHERNET, ingress),
        ether_type::IPV6 => balance_v6(frame, tables, ETHERNET, ingress),
        ether_type::VLAN | ether_type::QINQ => balance_tagged(frame, tables, ingress),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn balance_tagged<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let (ether_type, offset) = parse::tags(frame)?;
    match ether_type {
        ether_type::IPV4 => balance_v4(frame, tables, offset, ingress),
        ether_type::IPV6 => balance_v6(frame, tables, offset, ingress),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn balance_v4<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ip: &Ipv4 = frame.at(offset).ok_or(Reason::Malformed)?;
    let directory = tables.directory().ok_or(Reason::NotVip)?;
    let destination = u32::from_le_bytes(ip.destination);
    if !vip::may_be_vip(directory, hash::filter_bit_v4(destination)) {
        return Err(Reason::NotVip);
    }
    let source = u32::from_le_bytes(ip.source);
    let packet = parse::ipv4(frame, ip, offset)?;
    let target = vip::find_v4(directory, destination, &packet).ok_or(Reason::NoService)?;
    let hash = hash::flow_hash_v4(source, packet.ports() & target.ports_mask, directory.control.seed);
    let flow = Flow { packet, target, hash, ingress };
    forward::<F, T, false>(frame, tables, &flow, offset)
}

#[inline(always)]
fn balance_v6<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ip: &Ipv6 = frame.at(offset).ok_or(Reason::Malformed)?;
    let directory = tables.directory().ok_or(Reason::NotVip)?;
    let destination = words_v6(ip.destination);
    if !vip::may_be_vip(directory, hash::filter_bit_v6(destination)) {
        return Err(Reason::NotVip);
    }
    let source = words_v6(ip.source);
    let packet = parse::ipv6(frame, ip, offset)?;
    let target = vip::find_v6(directory, destination, &packet).ok_or(Reason::NoService)?;
    let hash = hash::flow_hash_v6(source, packet.ports() & target.ports_mask, directory.control.seed);
    let flow = Flow { packet, target, hash, ingress };
    forward::<F, T, true>(frame, tables, &flow, offset)
}

/// A packet, its vip, and its place among that vip's flows.
struct Flow<'t> {
    packet: Packet,
    target: &'t Target,
    hash: u32,
    ingress: u32,
}

/// Sends a packet to the dest of its slot. `V6` is the family of the packet, `offset` where its IP header starts.
#[inline(always)]
fn forward<F: Frame, T: Tables, const V6: bool>(
    frame: &mut F,
    tables: &T,
    flow: &Flow<'_>,
    offset: usize,
) -> Result<Verdict, Reason> {
    let slot = hash::ring_slot(flow.hash, flow.target.ring_size);
    let index = owner(tables, flow.target, slot)?;
    let dest = tables.dest(index).ok_or(Reason::NoDest)?;
    let bytes = encap::encapsulate::<F, V6>(frame, offset, dest, flow.hash)?;
    Ok(Verdict {
        leave: leave(dest, flow.ingress),
        vip: flow.target.vip,
        slot,
        dest: index,
        bytes,
        opens_flow: flow.packet.opens_flow != 0,
    })
}

/// The index into `DESTS` that owns `slot`.
#[inline(always)]
fn owner<T: Tables>(tables: &T, target: &Target, slot: u32) -> Result<u32, Reason> {
    let place = tables.place(target);
    let page = place.ring_page.wrapping_add(slot / RING_PAGE_SLOTS);
    let page = tables.ring_page(page).ok_or(Reason::NoBackend)?;
    let local = page.slots[(slot % RING_PAGE_SLOTS) as usize];
    Ok(place.dest_base.wrapping_add(u32::from(local)))
}

#[inline(always)]
fn leave(dest: &Dest, ingress: u32) -> Leave {
    if dest.ifindex == ingress || ingress == LOOPBACK_IFINDEX {
        Leave::Transmit
    } else {
        Leave::Redirect { device: dest.device }
    }
}

/// The EtherTypes that the story knows, in host order (network-types has them in wire order).
pub(crate) mod ether_type {
    use network_types::eth::EtherType;

    pub(crate) const IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
    pub(crate) const IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);
    pub(crate) const VLAN: u16 = u16::from_be(EtherType::Ieee8021q as u16);
    pub(crate) const QINQ: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
}
