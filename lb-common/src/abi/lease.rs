//! Until when the program may answer for addresses that an election is about.

use bytemuck::{Pod, Zeroable};

/// Entries of `LEASES`: addresses that elections are about.
pub const MAX_LEASES: u32 = 8192;

/// A key of `LEASES`: the address in two words loaded little-endian, IPv4 as `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct LeaseKey {
    pub address: [u64; 2],
}

/// A value of `LEASES`. An address without one is answered for without end, as it is configured.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Lease {
    /// On the kernel's monotonic clock: until then it is answered for, and questions that come later are dropped, since the
    /// kernel may have the address still. [`Self::LEFT`]: not this node's; questions are the kernel's, which may bridge or
    /// route them on. [`Self::FOR_EVER`]: without end.
    pub until_ns: u64,
    /// The MAC address that the address is at; that of the interface when it is all zeros.
    pub mac: [u8; 6],
    pub reserved: [u8; 2],
}

impl Lease {
    pub const LEFT: u64 = 0;
    /// Over for as long as the clock runs.
    pub const LAPSED: u64 = 1;
    pub const FOR_EVER: u64 = u64::MAX;
}

const _: () = assert!(size_of::<LeaseKey>() == 16);
const _: () = assert!(size_of::<Lease>() == 16);
