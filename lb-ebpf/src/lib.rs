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

mod encap;
mod frame;
mod parse;
mod tables;
mod vip;

use lb_common::abi::{Dest, Directory, DropReason, LOOPBACK_IFINDEX, PassReason, RING_PAGE_SLOTS, Target};
use lb_common::hash;
use lb_common::headers::{Ethernet, Ipv4, Ipv6};

pub use frame::Frame;
pub use parse::MAX_EXTENSIONS;
pub use tables::Tables;

use parse::{Layer3, Packet};

/// What to do with a packet. Drops are the errors of [`balance`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel gets it, untouched.
    Pass(PassReason),
    /// It leaves where it came in.
    Transmit,
    /// It leaves through this entry of `DEVICES`.
    Redirect { device: u32 },
}

/// Balances one packet that came in on interface `ingress`.
///
/// # Errors
/// The reason why the packet must be dropped; its bytes are undefined then.
#[inline(always)]
pub fn balance<F: Frame, T: Tables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, DropReason> {
    let Some(layer3) = parse::ethernet(frame) else {
        return Ok(Verdict::Pass(PassReason::Malformed));
    };
    let Some(directory) = tables.directory() else { return Ok(Verdict::Pass(PassReason::NotVip)) };
    match layer3 {
        Layer3::Ipv4 { offset } => balance_v4(frame, tables, directory, offset, ingress),
        Layer3::Ipv6 { offset } => balance_v6(frame, tables, directory, offset, ingress),
        Layer3::Other => Ok(Verdict::Pass(PassReason::NotIp)),
    }
}

#[inline(always)]
fn balance_v4<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    directory: &Directory,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, DropReason> {
    let Some(ip) = frame.at::<Ipv4>(offset) else {
        return Ok(Verdict::Pass(PassReason::Malformed));
    };
    let destination = u32::from_le_bytes(ip.destination);
    if !vip::may_be_vip(directory, hash::filter_bit_v4(destination)) {
        return Ok(Verdict::Pass(PassReason::NotVip));
    }
    let source = u32::from_le_bytes(ip.source);
    let packet = match parse::ipv4(frame, ip, offset)? {
        Ok(packet) => packet,
        Err(reason) => return Ok(Verdict::Pass(reason)),
    };
    let Some(target) = vip::find_v4(directory, destination, &packet) else {
        return Ok(Verdict::Pass(PassReason::NoService));
    };
    let hash = hash::flow_hash_v4(source, packet.ports & target.ports_mask, directory.control.seed);
    forward(frame, tables, &packet, target, hash, ingress)
}

#[inline(always)]
fn balance_v6<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    directory: &Directory,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, DropReason> {
    let Some(ip) = frame.at::<Ipv6>(offset) else {
        return Ok(Verdict::Pass(PassReason::Malformed));
    };
    let destination = lb_common::headers::words_v6(ip.destination);
    if !vip::may_be_vip(directory, hash::filter_bit_v6(destination)) {
        return Ok(Verdict::Pass(PassReason::NotVip));
    }
    let source = lb_common::headers::words_v6(ip.source);
    let packet = match parse::ipv6(frame, ip, offset)? {
        Ok(packet) => packet,
        Err(reason) => return Ok(Verdict::Pass(reason)),
    };
    let Some(target) = vip::find_v6(directory, destination, &packet) else {
        return Ok(Verdict::Pass(PassReason::NoService));
    };
    let hash = hash::flow_hash_v6(source, packet.ports & target.ports_mask, directory.control.seed);
    forward(frame, tables, &packet, target, hash, ingress)
}

#[inline(always)]
fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    target: &Target,
    hash: u32,
    ingress: u32,
) -> Result<Verdict, DropReason> {
    let slot = hash::ring_slot(hash, target.ring_size);
    let index = owner(tables, target, slot)?;
    tables.chosen(target.vip, slot, index);
    let dest = tables.dest(index).ok_or(DropReason::NoDest)?;
    parse::spend_hop(frame, packet)?;
    encap::encapsulate(frame, packet, dest, hash)?;
    tables.count(index, u64::from(packet.len), packet.opens_flow);
    Ok(leave(dest, ingress))
}

/// The index into `DESTS` that owns `slot`.
#[inline(always)]
fn owner<T: Tables>(tables: &T, target: &Target, slot: u32) -> Result<u32, DropReason> {
    let place = tables.place(target);
    let page = place.ring_page.wrapping_add(slot / RING_PAGE_SLOTS);
    let page = tables.ring_page(page).ok_or(DropReason::NoBackend)?;
    let local = page.slots[(slot % RING_PAGE_SLOTS) as usize];
    Ok(place.dest_base.wrapping_add(u32::from(local)))
}

#[inline(always)]
fn leave(dest: &Dest, ingress: u32) -> Verdict {
    if dest.ifindex == ingress || ingress == LOOPBACK_IFINDEX {
        Verdict::Transmit
    } else {
        Verdict::Redirect { device: dest.device }
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

const _: () = assert!(size_of::<Ethernet>() == 14);
