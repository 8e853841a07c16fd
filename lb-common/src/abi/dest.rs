//! A dest: the finished outer headers of one backend as seen from one vip, and its counters.

use bytemuck::{Pod, Zeroable};

/// Bytes reserved for finished headers: Ethernet with a VLAN tag (18), IPv6 (40), and room for UDP and GUE.
pub const HEAD_LEN: usize = 80;

/// How a dest's packets leave; the value of [`Dest::kind`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestKind {
    /// The entry is unused.
    None = 0,
    /// IPv4 outer header behind a 14-byte Ethernet header.
    Ipv4 = 1,
    /// IPv4 outer header behind an 18-byte Ethernet header with one VLAN tag.
    Ipv4Vlan = 2,
    /// IPv6 outer header behind a 14-byte Ethernet header.
    Ipv6 = 3,
    /// IPv6 outer header behind an 18-byte Ethernet header with one VLAN tag.
    Ipv6Vlan = 4,
    /// As [`Self::Ipv4`] and so on, then UDP (GUE variant 1).
    UdpIpv4 = 5,
    UdpIpv4Vlan = 6,
    UdpIpv6 = 7,
    UdpIpv6Vlan = 8,
    /// As [`Self::UdpIpv4`] and so on, then a GUE header (variant 0).
    GueIpv4 = 9,
    GueIpv4Vlan = 10,
    GueIpv6 = 11,
    GueIpv6Vlan = 12,
    /// A 14-byte Ethernet header and nothing else.
    L2 = 13,
    /// An 18-byte Ethernet header with one VLAN tag and nothing else.
    L2Vlan = 14,
}

/// An entry of `DESTS`: two cache lines.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Dest {
    /// The frame's first bytes: Ethernet (next hop, source MAC, VLAN), then the outer IP header. What differs from packet
    /// to packet is zero here: type of service, length, identification and flags, IPv4 checksum, IPv6 flow label, and
    /// the source bits of `source_mask`.
    pub head: [u8; HEAD_LEN],
    /// A [`DestKind`].
    pub kind: u32,
    /// Ones' complement sum of what never changes in the outer IPv4 header: time to live, protocol and destination;
    /// unfolded, in memory order.
    pub checksum: u32,
    /// Where packets leave. Equal to the ingress interface: `XDP_TX`; otherwise redirect through `device`.
    pub ifindex: u32,
    /// Index into `DEVICES`.
    pub device: u32,
    /// Bits of the outer source's last four bytes (as loaded little-endian) that are filled from the flow hash. Zero turns
    /// entropy off.
    pub source_mask: u32,
    /// `outer ToS = inner ToS & tos_mask | tos_set`. The ECN bits are always copied (RFC 6040, normal mode).
    pub tos_mask: u8,
    pub tos_set: u8,
    /// Its number among owners of flows, 1 and above; 0: no flow is remembered to be its.
    pub owner: u16,
    /// The vip's number, so that a dest's counters can be told apart after a restart.
    pub vip: u32,
    /// Bytes of the largest IP packet that fits the way to the backend inside these headers.
    pub max_len: u32,
    /// The backend's QUIC server id, its first byte lowest; zeros behind it.
    pub server_id: u64,
    /// GUE: ones' complement sum of what never changes in UDP's pseudo header, UDP header and GUE header: outer addresses,
    /// protocol, destination port; unfolded, in memory order.
    pub udp_checksum: u32,
    /// Bytes of a server id that count; 0: the backend has none.
    pub server_id_len: u32,
}

/// A dest's per-CPU counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counters {
    pub packets: u64,
    /// Bytes of the client's IP packets, before encapsulation.
    pub bytes: u64,
    /// TCP connection attempts (SYN without ACK).
    pub new_flows: u64,
}

/// The dest that a packet was found to be for, when the packet does not fit its way. Handed from one program to the next
/// one: to find it again would take the packet's whole way, and user space may have moved the vip meanwhile.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Found {
    /// Index into `DESTS`.
    pub dest: u32,
    pub vip: u32,
    pub slot: u32,
    /// Of the flow.
    pub hash: u32,
    /// Not zero: a TCP connection attempt.
    pub opens_flow: u32,
}

const _: () = assert!(size_of::<Found>() == 20);
const _: () = assert!(size_of::<Dest>() == 128);
const _: () =
    assert!(core::mem::offset_of!(Dest, kind) == 80 && core::mem::offset_of!(Dest, server_id) == 112);
const _: () = assert!(size_of::<Counters>() == 24);
