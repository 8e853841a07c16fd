//! What the benchmark's wrapper program shares with user space. It is no part of the product.

use bytemuck::{Pod, Zeroable};

/// The programs that the wrapper calls; indices of its program array.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchTarget {
    /// `XDP_TX` at once.
    Empty = 0,
    /// Parse, copy a finished header, sum: the least that an IPv4 encapsulation takes.
    Bare = 1,
    Balancer = 2,
}

/// The single value of the wrapper's `BENCH` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BenchConfig {
    /// A [`BenchTarget`].
    pub target: u32,
    /// Flows minus one, a power of two minus one: they differ in the source address.
    pub flow_mask: u32,
    /// Bytes that the target puts in front, to be taken off again.
    pub grown: u32,
    /// Not zero for IPv6.
    pub is_v6: u32,
    /// IPv4 header checksum, in memory order, with `TTL`.
    pub checksum: u32,
    pub reserved: u32,
}

impl BenchConfig {
    /// Time to live of the benchmark's packets; the wrapper restores it after each run.
    pub const TTL: u8 = 64;
}

const _: () = assert!(size_of::<BenchConfig>() == 24);
