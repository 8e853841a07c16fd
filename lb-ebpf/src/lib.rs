//! The packet story: what happens to a packet, from its first byte to a verdict.
//!
//! Everything here is pure and generic over a [`Frame`] (bytes that can grow at the front) and [`Tables`] (what user
//! space has decided), so the very same code runs in ordinary tests on the host and, through `main.rs`, in the kernel.
//!
//! ```text
//! balance: parse -> vip -> gate -> slot -> dest -> encapsulate -> verdict
//! stages:  what few packets need; a packet's reason names its stage
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod decap;
mod encap;
mod exit;
mod forward;
mod frame;
mod gate;
pub mod offered;
mod parse;
mod probe;
mod quic;
pub mod recognise;
pub mod stages;
mod tables;
mod vip;

use lb_common::abi::Reason;
use lb_common::hash;
use lb_common::headers::{Ethernet, Ipv4, Ipv6, words_v6};

pub use decap::{DecapTables, decapsulate};
pub use frame::Frame;
pub use parse::MAX_EXTENSIONS;
pub use probe::{ProbeTables, is_answer, send_probe, take_answer};
pub use tables::{FlowEvent, FlowRecords, PolicyEvent, SharedWord, StageTables, Tables};

use exit::{OrExit, exit};
use forward::{Flow, forward};
use gate::{Gate, OpenGate, VipAddress, Visit, client_v4};

/// What became of a balanced packet, for the caller to count and carry out. Why others are not balanced are the errors
/// of [`balance`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub leave: Leave,
    /// The vip's number.
    pub vip: u32,
    /// The slot of the vip's ring; `u32::MAX` when a QUIC connection id named the dest.
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
    /// To the kernel, behind its outer header, to be forwarded in fragments.
    Kernel,
}

const ETHERNET: usize = size_of::<Ethernet>();

/// Balances one packet that came in on interface `ingress`.
///
/// # Errors
/// Why the packet is not forwarded. A packet to be passed, or that goes on to a stage, is untouched; one to be dropped has
/// undefined bytes.
#[inline(always)]
pub fn balance<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    walk::<F, T, OpenGate>(frame, tables, ingress)
}

/// The way of a whole packet, through `G`, which stands behind the vip.
#[inline(always)]
fn walk<F: Frame, T: StageTables, G: Gate<T>>(
    frame: &mut F,
    tables: &T,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ethernet: &Ethernet = frame.at(0).or_exit(Reason::Malformed)?;
    match ethernet.ether_type.get() {
        // Without tags, all offsets are constants.
        ether_type::IPV4 => walk_v4::<F, T, G>(frame, tables, ETHERNET, ingress),
        ether_type::IPV6 => walk_v6::<F, T, G>(frame, tables, ETHERNET, ingress),
        ether_type::VLAN | ether_type::QINQ => walk_tagged::<F, T, G>(frame, tables, ingress),
        ether_type::ARP => exit(Reason::Arp),
        _ => exit(Reason::NotIp),
    }
}

#[inline(always)]
fn walk_tagged<F: Frame, T: StageTables, G: Gate<T>>(
    frame: &mut F,
    tables: &T,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let (ether_type, offset) = parse::tags(frame)?;
    match ether_type {
        ether_type::IPV4 => walk_v4::<F, T, G>(frame, tables, offset, ingress),
        ether_type::IPV6 => walk_v6::<F, T, G>(frame, tables, offset, ingress),
        ether_type::ARP => exit(Reason::Arp),
        _ => exit(Reason::NotIp),
    }
}

#[inline(always)]
fn walk_v4<F: Frame, T: StageTables, G: Gate<T>>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ip: &Ipv4 = frame.at(offset).or_exit(Reason::Malformed)?;
    let directory = tables.directory().or_exit(Reason::NotVip)?;
    let destination = u32::from_le_bytes(ip.destination);
    if !vip::may_be_vip(directory, hash::filter_bit_v4(destination)) {
        return exit(Reason::NotVip);
    }
    let source = u32::from_le_bytes(ip.source);
    let packet = parse::ipv4(frame, ip, offset)?;
    let target = vip::find_v4(directory, destination, &packet).or_exit(Reason::NoService)?;
    let (address, client) = (VipAddress::V4(destination), client_v4(source));
    let visit = Visit { directory, target, address, packet: &packet, client };
    let target = G::open(frame, tables, &visit)?;
    let hash = hash::flow_hash_v4(source, packet.ports() & target.ports_mask, directory.control.seed);
    let flow = Flow { packet, target, hash, ingress };
    forward::<F, T, false>(frame, tables, &flow, offset)
}

#[inline(always)]
fn walk_v6<F: Frame, T: StageTables, G: Gate<T>>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ip: &Ipv6 = frame.at(offset).or_exit(Reason::Malformed)?;
    let directory = tables.directory().or_exit(Reason::NotVip)?;
    let destination = words_v6(ip.destination);
    if !vip::may_be_vip(directory, hash::filter_bit_v6(destination)) {
        return exit(Reason::NotVip);
    }
    let source = words_v6(ip.source);
    let packet = parse::ipv6(frame, ip, offset)?;
    let target = vip::find_v6(directory, destination, &packet).or_exit(Reason::NoService)?;
    let (address, client) = (VipAddress::V6(destination), source);
    let visit = Visit { directory, target, address, packet: &packet, client };
    let target = G::open(frame, tables, &visit)?;
    let hash = hash::flow_hash_v6(source, packet.ports() & target.ports_mask, directory.control.seed);
    let flow = Flow { packet, target, hash, ingress };
    forward::<F, T, true>(frame, tables, &flow, offset)
}

/// The EtherTypes that the story knows, in host order (network-types has them in wire order).
pub(crate) mod ether_type {
    use network_types::eth::EtherType;

    pub(crate) const ARP: u16 = u16::from_be(EtherType::Arp as u16);
    pub(crate) const IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
    pub(crate) const IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);
    pub(crate) const VLAN: u16 = u16::from_be(EtherType::Ieee8021q as u16);
    pub(crate) const QINQ: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
}
