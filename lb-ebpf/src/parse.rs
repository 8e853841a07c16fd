//! From bytes to the few facts that balancing needs. Nothing is written here.

use lb_common::abi::Reason;
use lb_common::hash;
use lb_common::headers::{Ethernet, Extension, Ipv4, Ipv6, Ports, TcpStart, Udp, Vlan};
use network_types::ip::IpProto;

use crate::exit::{OrExit, exit};
use crate::{Frame, ether_type};

/// IPv6 extension headers that are walked before a packet is given to the kernel.
pub const MAX_EXTENSIONS: usize = 4;

pub(crate) const TCP: u8 = IpProto::Tcp as u8;
pub(crate) const UDP: u8 = IpProto::Udp as u8;
pub(crate) const ICMP: u8 = IpProto::Icmp as u8;
pub(crate) const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
pub(crate) const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
pub(crate) const ROUTING: u8 = IpProto::Ipv6Route as u8;
pub(crate) const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
pub(crate) const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;

/// A whole TCP or UDP packet. The fields are as wide as registers: results of at most two registers are packed into them
/// and taken apart again, which stays in the code even where the function is inlined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) protocol: u64,
    /// See [`hash::ports_word`].
    ports: u64,
    /// Not zero: a TCP connection attempt.
    pub(crate) opens_flow: u64,
    /// Where the TCP or UDP header is.
    layer4: u64,
}

impl Packet {
    /// A packet of this flow that opens none, without a header of its own: it was seen at second hand. `ports` as
    /// [`hash::ports_word`] packs them.
    #[inline(always)]
    pub(crate) const fn of_flow(protocol: u8, ports: u32) -> Self {
        Self { protocol: protocol as u64, ports: ports as u64, opens_flow: 0, layer4: 0 }
    }

    #[inline(always)]
    pub(crate) const fn ports(&self) -> u32 {
        self.ports as u32
    }

    /// Where the TCP or UDP header is.
    #[inline(always)]
    pub(crate) const fn layer4(&self) -> usize {
        self.layer4 as usize
    }

    /// As loaded little-endian from the packet.
    #[inline(always)]
    pub(crate) const fn destination_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }
}

/// EtherType of the innermost protocol, and where it begins.
///
/// # Errors
/// When the frame ends before.
#[inline(always)]
pub(crate) fn link<F: Frame>(frame: &F) -> Result<(u16, usize), Reason> {
    match frame.at::<Ethernet>(0).or_exit(Reason::Malformed)?.ether_type.get() {
        ether_type::VLAN | ether_type::QINQ => tags(frame),
        plain => Ok((plain, size_of::<Ethernet>())),
    }
}

/// EtherType and offset behind one or two VLAN tags.
///
/// # Errors
/// When the frame ends before.
#[inline(always)]
pub(crate) fn tags<F: Frame>(frame: &F) -> Result<(u16, usize), Reason> {
    const FIRST: usize = size_of::<Ethernet>();
    const SECOND: usize = FIRST + size_of::<Vlan>();
    let inner = frame.at::<Vlan>(FIRST).or_exit(Reason::Malformed)?.ether_type.get();
    if inner != ether_type::VLAN && inner != ether_type::QINQ {
        return Ok((inner, SECOND));
    }
    let innermost = frame.at::<Vlan>(SECOND).or_exit(Reason::Malformed)?.ether_type.get();
    Ok((innermost, SECOND + size_of::<Vlan>()))
}

/// The VLAN ids of one or two tags, as [`lb_common::abi::InterfaceKey`] has them. A tag with id 0 only says how urgent a frame
/// is (IEEE 802.1Q, priority tag).
#[inline(always)]
pub(crate) fn vlans<F: Frame>(frame: &F) -> Option<u32> {
    const FIRST: usize = size_of::<Ethernet>();
    const SECOND: usize = FIRST + size_of::<Vlan>();
    const ID: u32 = 0xfff;
    let is_tag = |ether_type: u16| ether_type == ether_type::VLAN || ether_type == ether_type::QINQ;
    if !is_tag(frame.at::<Ethernet>(0)?.ether_type.get()) {
        return Some(0);
    }
    let first: &Vlan = frame.at(FIRST)?;
    let outer = u32::from(first.tci.get()) & ID;
    if !is_tag(first.ether_type.get()) {
        return Some(outer);
    }
    let inner = u32::from(frame.at::<Vlan>(SECOND)?.tci.get()) & ID;
    Some(if outer == 0 { inner } else { outer | inner << 16 })
}

/// The facts of an IPv4 packet.
///
/// # Errors
/// Why it is not balanced.
#[inline(always)]
pub(crate) fn ipv4<F: Frame>(frame: &F, ip: &Ipv4, offset: usize) -> Result<Packet, Reason> {
    const PLAIN: u8 = 0x45;
    let len = usize::from(ip.total_len.get());
    if !holds(frame, offset + len) {
        return exit(Reason::Truncated);
    }
    if ip.flags_offset.get() & Ipv4::FRAGMENT != 0 {
        return exit(Reason::Fragment);
    }
    if ip.version_ihl == PLAIN {
        if len < size_of::<Ipv4>() {
            return exit(Reason::Truncated);
        }
        return layer4(frame, ip.protocol, offset + size_of::<Ipv4>());
    }
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    if ip.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() || len < header_len {
        return exit(Reason::Truncated);
    }
    layer4(frame, ip.protocol, offset + header_len)
}

/// Whether the frame has so many bytes.
#[inline(always)]
pub(crate) fn holds<F: Frame>(frame: &F, bytes: usize) -> bool {
    bytes <= frame.len() || bytes <= frame.whole_len()
}

/// The facts of an IPv6 packet.
///
/// # Errors
/// Why it is not balanced.
#[inline(always)]
pub(crate) fn ipv6<F: Frame>(frame: &F, ip: &Ipv6, offset: usize) -> Result<Packet, Reason> {
    let start = offset + size_of::<Ipv6>();
    if ip.version_class_label[0] >> 4 != 6 || !holds(frame, start + usize::from(ip.payload_len.get())) {
        return exit(Reason::Truncated);
    }
    if ip.next_header == TCP || ip.next_header == UDP {
        return layer4(frame, ip.next_header, start);
    }
    let (protocol, offset) = extensions(frame, ip.next_header, start)?;
    layer4(frame, protocol, offset)
}

/// Walks extension headers (RFC 8200, section 4) to the upper layer's protocol and offset.
///
/// # Errors
/// When the chain is a fragment's, too long, cut off, or does not end here.
#[inline(always)]
pub(crate) fn extensions<F: Frame>(
    frame: &F,
    mut protocol: u8,
    mut offset: usize,
) -> Result<(u8, usize), Reason> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(protocol)? {
            return Ok((protocol, offset));
        }
        (protocol, offset) = step(frame, protocol, offset)?;
    }
    if is_extension(protocol)? { exit(Reason::ExtensionHeaders) } else { Ok((protocol, offset)) }
}

/// The same up to the fragment header: its offset.
///
/// # Errors
/// As [`extensions`], and when there is none.
#[inline(always)]
pub(crate) fn fragment_header<F: Frame>(
    frame: &F,
    mut protocol: u8,
    mut offset: usize,
) -> Result<usize, Reason> {
    for _ in 0..MAX_EXTENSIONS {
        if protocol == FRAGMENT {
            return Ok(offset);
        }
        (protocol, offset) = step(frame, protocol, offset)?;
    }
    if protocol == FRAGMENT { Ok(offset) } else { exit(Reason::ExtensionHeaders) }
}

/// Steps over one extension header.
#[inline(always)]
fn step<F: Frame>(frame: &F, protocol: u8, offset: usize) -> Result<(u8, usize), Reason> {
    let extension = frame.at::<RoutingStart>(offset).or_exit(Reason::Truncated)?;
    if protocol == ROUTING && extension.segments_left != 0 {
        // The vip is not the packet's last stop (RFC 8200, section 4.4): the kernel's business.
        return exit(Reason::ExtensionHeaders);
    }
    Ok((extension.start.next_header, offset + (usize::from(extension.start.len) + 1) * 8))
}

#[inline(always)]
fn is_extension(protocol: u8) -> Result<bool, Reason> {
    if protocol == FRAGMENT { exit(Reason::Fragment) } else { Ok(is_option(protocol)) }
}

/// An extension header that says itself how long it is.
#[inline(always)]
pub(crate) const fn is_option(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS)
}

/// The first four bytes of a routing header; other extension headers are at least as long.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RoutingStart {
    start: Extension,
    routing_type: u8,
    segments_left: u8,
}

/// What TCP or UDP says.
#[inline(always)]
fn layer4<F: Frame>(frame: &F, protocol: u8, offset: usize) -> Result<Packet, Reason> {
    let word = |ports: &Ports| u64::from(hash::ports_word(ports.source, ports.destination));
    let number = u64::from(protocol);
    match protocol {
        TCP => {
            let tcp = frame.at::<TcpStart>(offset).or_exit(Reason::Truncated)?;
            let opens_flow = tcp.flags & (TcpStart::SYN | TcpStart::ACK) == TcpStart::SYN;
            Ok(Packet {
                protocol: number,
                ports: word(&tcp.ports),
                opens_flow: u64::from(opens_flow),
                layer4: offset as u64,
            })
        }
        UDP => {
            let udp = frame.at::<Udp>(offset).or_exit(Reason::Truncated)?;
            Ok(Packet { protocol: number, ports: word(&udp.ports), opens_flow: 0, layer4: offset as u64 })
        }
        ICMP | ICMPV6 => exit(Reason::Icmp),
        _ => exit(Reason::OtherProtocol),
    }
}
