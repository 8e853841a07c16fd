//! Views of packet headers: byte arrays under names, alignment 1, so that a view may lie anywhere in a frame.
//!
//! Multi-byte fields stay in wire order (`Be16`) or are loaded little-endian as opaque words where only equality and
//! hashing matter.

use bytemuck::{Pod, Zeroable};

/// A 16-bit number in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Be16(pub [u8; 2]);

impl Be16 {
    #[must_use]
    #[inline(always)]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be_bytes())
    }

    /// The number in host order.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The two bytes as a word in memory order, as checksums take them.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u16 {
        u16::from_ne_bytes(self.0)
    }
}

/// Ethernet II.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ethernet {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub ether_type: Be16,
}

/// What follows the EtherType of an IEEE 802.1Q or 802.1ad tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Vlan {
    pub tci: Be16,
    pub ether_type: Be16,
}

/// RFC 791, without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_len: Be16,
    pub id: Be16,
    /// Flags in the upper three bits, fragment offset in units of 8 bytes below.
    pub flags_offset: Be16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: [u8; 2],
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// "Don't fragment" in `flags_offset`.
    pub const DF: u16 = 0x4000;
    /// "More fragments" and the offset: zero in a whole packet.
    pub const FRAGMENT: u16 = 0x3fff;
    /// Set in all fragments of a datagram but the last.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// The offset alone: zero in the first fragment.
    pub const OFFSET: u16 = 0x1fff;
}

/// RFC 8200.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_label: [u8; 4],
    pub payload_len: Be16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// DSCP and ECN.
    #[must_use]
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        self.version_class_label[0] << 4 | self.version_class_label[1] >> 4
    }
}

/// The first bytes that TCP and UDP share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ports {
    pub source: [u8; 2],
    pub destination: [u8; 2],
}

/// The first 14 bytes of a TCP header: up to and with the flags.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct TcpStart {
    pub ports: Ports,
    pub sequence: [u8; 4],
    pub acknowledgement: [u8; 4],
    pub data_offset: u8,
    pub flags: u8,
}

impl TcpStart {
    pub const FIN: u8 = 0x01;
    pub const RST: u8 = 0x04;
    pub const SYN: u8 = 0x02;
    pub const ACK: u8 = 0x10;
}

/// RFC 768.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Udp {
    pub ports: Ports,
    pub len: Be16,
    pub checksum: [u8; 2],
}

/// The first eight bytes of ICMP (RFC 792) and ICMPv6 (RFC 4443) messages.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub checksum: [u8; 2],
    /// Identifier and sequence number, an MTU, a pointer, or nothing, as the kind says.
    pub rest: [u8; 4],
}

/// Kinds of ICMP.
impl Icmp {
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Kinds of ICMPv6.
impl Icmp {
    pub const V6_UNREACHABLE: u8 = 1;
    pub const V6_PACKET_TOO_BIG: u8 = 2;
    pub const V6_TIME_EXCEEDED: u8 = 3;
    pub const V6_PARAMETER_PROBLEM: u8 = 4;
    pub const V6_ECHO_REQUEST: u8 = 128;
    pub const V6_ECHO_REPLY: u8 = 129;
    /// RFC 4861, section 4.3.
    pub const V6_NEIGHBOUR_SOLICITATION: u8 = 135;
    /// RFC 4861, section 4.4.
    pub const V6_NEIGHBOUR_ADVERTISEMENT: u8 = 136;
}

/// ARP for IPv4 over Ethernet (RFC 826).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Arp {
    pub hardware_type: Be16,
    pub protocol_type: Be16,
    pub hardware_len: u8,
    pub protocol_len: u8,
    pub operation: Be16,
    pub sender_mac: [u8; 6],
    pub sender: [u8; 4],
    pub target_mac: [u8; 6],
    pub target: [u8; 4],
}

impl Arp {
    pub const ETHERNET: u16 = 1;
    pub const REQUEST: u16 = 1;
    pub const REPLY: u16 = 2;
}

/// The first two bytes of an IPv6 extension header (RFC 8200 4.2 to 4.6; RFC 4302 for AH).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Extension {
    pub next_header: u8,
    /// In units of 8 bytes beyond the first 8 (AH: units of 4 beyond the first 8).
    pub len: u8,
}

/// An IPv6 fragment header (RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ipv6Fragment {
    pub next_header: u8,
    pub reserved: u8,
    /// Offset in units of 8 bytes in the upper 13 bits, "more fragments" in the lowest one.
    pub offset_more: Be16,
    pub id: [u8; 4],
}

/// An IPv6 address as the two words that hashes and tables use.
#[must_use]
#[inline(always)]
pub const fn words_v6(address: [u8; 16]) -> [u64; 2] {
    let a = address;
    [
        u64::from_le_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_le_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}
