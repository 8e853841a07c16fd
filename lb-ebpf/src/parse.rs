//! From bytes to the few facts that balancing needs. Nothing is written here but the time to live.

use lb_common::abi::{DropReason, PassReason};
use lb_common::checksum;
use lb_common::hash;
use lb_common::headers::{Ethernet, Extension, Ipv4, Ipv6, Ports, TcpStart, Udp, Vlan};
use network_types::ip::IpProto;

use crate::{Frame, ether_type};

/// IPv6 extension headers that are walked before a packet is given to the kernel.
pub const MAX_EXTENSIONS: usize = 4;

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;

/// "Don't fragment", and with it the identification, in [`Packet::id_flags`].
const DF: u32 = u32::from_ne_bytes([0, 0, (Ipv4::DF >> 8) as u8, 0]);
const ID_AND_DF: u32 = u32::from_ne_bytes([0xff, 0xff, (Ipv4::DF >> 8) as u8, 0]);

/// Where the IP header starts.
pub(crate) enum Layer3 {
    Ipv4 { offset: usize },
    Ipv6 { offset: usize },
    Other,
}

/// A whole TCP or UDP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// Where the IP header starts.
    pub(crate) offset: usize,
    pub(crate) is_v6: bool,
    pub(crate) protocol: u8,
    /// Type of service or traffic class.
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    /// Bytes of the IP packet with its header.
    pub(crate) len: u32,
    /// IPv4: identification and "don't fragment", as the four bytes stand in the packet, in memory order. IPv6 is never
    /// fragmented on its way, so for an outer IPv4 header it counts as "don't fragment".
    pub(crate) id_flags: u32,
    /// See [`hash::ports_word`].
    pub(crate) ports: u32,
    /// A TCP connection attempt.
    pub(crate) opens_flow: bool,
}

impl Packet {
    /// As loaded little-endian from the packet.
    #[inline(always)]
    pub(crate) const fn destination_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }
}

/// Finds the IP header behind at most two VLAN tags. `None`: too short.
#[inline(always)]
pub(crate) fn ethernet<F: Frame>(frame: &F) -> Option<Layer3> {
    let mut ether_type = frame.at::<Ethernet>(0)?.ether_type.get();
    let mut offset = size_of::<Ethernet>();
    for _ in 0..2 {
        if ether_type != ether_type::VLAN && ether_type != ether_type::QINQ {
            break;
        }
        ether_type = frame.at::<Vlan>(offset)?.ether_type.get();
        offset += size_of::<Vlan>();
    }
    Some(match ether_type {
        ether_type::IPV4 => Layer3::Ipv4 { offset },
        ether_type::IPV6 => Layer3::Ipv6 { offset },
        _ => Layer3::Other,
    })
}

/// The facts of an IPv4 packet, or why it is none of ours.
///
/// # Errors
/// When its lengths are impossible.
#[inline(always)]
pub(crate) fn ipv4<F: Frame>(
    frame: &F,
    ip: &Ipv4,
    offset: usize,
) -> Result<Result<Packet, PassReason>, DropReason> {
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let len = ip.total_len.get();
    if ip.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() || usize::from(len) < header_len {
        return Err(DropReason::Truncated);
    }
    if offset + usize::from(len) > frame.len() {
        return Err(DropReason::Truncated);
    }
    if ip.flags_offset.get() & Ipv4::FRAGMENT != 0 {
        return Ok(Err(PassReason::Fragment));
    }
    let ([id_0, id_1], [flags_0, flags_1]) = (ip.id.0, ip.flags_offset.0);
    let packet = Packet {
        offset,
        is_v6: false,
        protocol: ip.protocol,
        tos: ip.tos,
        ttl: ip.ttl,
        len: u32::from(len),
        id_flags: u32::from_ne_bytes([id_0, id_1, flags_0, flags_1]) & ID_AND_DF,
        ports: 0,
        opens_flow: false,
    };
    layer4(frame, packet, offset + header_len)
}

/// The facts of an IPv6 packet, or why it is none of ours.
///
/// # Errors
/// When its lengths are impossible.
#[inline(always)]
pub(crate) fn ipv6<F: Frame>(
    frame: &F,
    ip: &Ipv6,
    offset: usize,
) -> Result<Result<Packet, PassReason>, DropReason> {
    let len = size_of::<Ipv6>() as u32 + u32::from(ip.payload_len.get());
    if ip.version_class_label[0] >> 4 != 6 || offset + len as usize > frame.len() {
        return Err(DropReason::Truncated);
    }
    let mut protocol = ip.next_header;
    let (tos, ttl) = (ip.traffic_class(), ip.hop_limit);
    let mut layer4_offset = offset + size_of::<Ipv6>();
    if protocol != TCP && protocol != UDP {
        (protocol, layer4_offset) = match extensions(frame, protocol, layer4_offset)? {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason)),
        };
    }
    let packet =
        Packet { offset, is_v6: true, protocol, tos, ttl, len, id_flags: DF, ports: 0, opens_flow: false };
    layer4(frame, packet, layer4_offset)
}

/// Walks extension headers (RFC 8200, section 4) to the upper layer's protocol and offset.
#[inline(always)]
fn extensions<F: Frame>(
    frame: &F,
    mut protocol: u8,
    mut offset: usize,
) -> Result<Result<(u8, usize), PassReason>, DropReason> {
    for _ in 0..MAX_EXTENSIONS {
        match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Ok(Err(PassReason::Fragment)),
            _ => return Ok(Ok((protocol, offset))),
        }
        let extension = frame.at::<RoutingStart>(offset).ok_or(DropReason::Truncated)?;
        if protocol == ROUTING && extension.segments_left != 0 {
            // The vip is not the packet's last stop (RFC 8200, section 4.4): the kernel's business.
            return Ok(Err(PassReason::ExtensionHeaders));
        }
        protocol = extension.start.next_header;
        offset += (usize::from(extension.start.len) + 1) * 8;
    }
    match protocol {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => Ok(Err(PassReason::ExtensionHeaders)),
        FRAGMENT => Ok(Err(PassReason::Fragment)),
        _ => Ok(Ok((protocol, offset))),
    }
}

/// The first four bytes of a routing header; other extension headers are at least as long.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RoutingStart {
    start: Extension,
    routing_type: u8,
    segments_left: u8,
}

/// Adds what TCP or UDP says.
#[inline(always)]
fn layer4<F: Frame>(
    frame: &F,
    packet: Packet,
    offset: usize,
) -> Result<Result<Packet, PassReason>, DropReason> {
    let word = |ports: &Ports| hash::ports_word(ports.source, ports.destination);
    match packet.protocol {
        TCP => {
            let tcp = frame.at::<TcpStart>(offset).ok_or(DropReason::Truncated)?;
            let opens_flow = tcp.flags & (TcpStart::SYN | TcpStart::ACK) == TcpStart::SYN;
            Ok(Ok(Packet { ports: word(&tcp.ports), opens_flow, ..packet }))
        }
        UDP => {
            let udp = frame.at::<Udp>(offset).ok_or(DropReason::Truncated)?;
            Ok(Ok(Packet { ports: word(&udp.ports), ..packet }))
        }
        ICMP | ICMPV6 => Ok(Err(PassReason::Icmp)),
        _ => Ok(Err(PassReason::OtherProtocol)),
    }
}

/// Takes one from the inner time to live, as a forwarder that tunnels does (RFC 2003, section 3.1; RFC 2473, section 3.1).
///
/// # Errors
/// When nothing would be left.
#[inline(always)]
pub(crate) fn spend_hop<F: Frame>(frame: &mut F, packet: &Packet) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if packet.is_v6 {
        let ip = frame.at_mut::<Ipv6>(packet.offset).ok_or(DropReason::Truncated)?;
        ip.hop_limit = packet.ttl - 1;
    } else {
        let ip = frame.at_mut::<Ipv4>(packet.offset).ok_or(DropReason::Truncated)?;
        ip.ttl = packet.ttl - 1;
        // One less in the upper byte of a word is one more in the upper byte of the checksum (RFC 1141).
        let sum = u32::from(u16::from_ne_bytes(ip.checksum)) + u32::from(u16::from_ne_bytes([1, 0]));
        ip.checksum = checksum::fold(sum).to_ne_bytes();
    }
    Ok(())
}
