//! What the programs that carry checks through tunnels share with user space.
//!
//! ```text
//! PROBE_WAYS     ARRAY[PROBE_MASK + 1]   ProbeWay                  by the last bits of the probe address
//! PROBE_FLOWS    LRU_HASH[65536]         ProbeFlowKey -> ProbeFlow  checks that wait for answers
//! ```
//!
//! Addresses are as in `Ipv6Addr`, IPv4 ones as `::ffff:a.b.c.d`.

use bytemuck::{Pod, Zeroable};

use super::Dest;

/// Entries in `PROBE_FLOWS`.
pub const PROBE_FLOWS: u32 = 65_536;

/// The Ethernet address of the device that checks are sent from, and at which their answers arrive.
pub const PROBE_MAC: [u8; 6] = [0x02, b'f', b'l', b'v', 0, 1];
/// That of its other end, where checks get their outer headers.
pub const PROBE_PEER_MAC: [u8; 6] = [0x02, b'f', b'l', b'v', 0, 2];

/// Where packets for a probe address go.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ProbeWay {
    /// The probe address itself; zeros: the entry is unused.
    pub probe: [u8; 16],
    /// The address that takes its place.
    pub vip: [u8; 16],
    /// The headers that packets get; its counters and numbers mean nothing here.
    pub dest: Dest,
}

/// An answer: from whom, and to which port of this host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct ProbeFlowKey {
    pub vip: [u8; 16],
    pub host: [u8; 16],
    /// In wire order.
    pub vip_port: [u8; 2],
    /// In wire order; as the backend sees it.
    pub host_port: [u8; 2],
    pub protocol: u8,
    pub reserved: [u8; 3],
}

/// Whose the answer is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ProbeFlow {
    pub probe: [u8; 16],
    /// On the kernel's monotonic clock.
    pub sent_ns: u64,
    /// The port of the socket, in wire order.
    pub port: [u8; 2],
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<ProbeWay>() == 160);
const _: () = assert!(size_of::<ProbeFlowKey>() == 40);
const _: () = assert!(size_of::<ProbeFlow>() == 32);
