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

/// Which header has the source address that tells flows apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchSource {
    /// None: all rounds have the same packet.
    Fixed = 0,
    /// An IPv4 header behind an untagged Ethernet header.
    Ipv4 = 1,
    /// An IPv6 header there.
    Ipv6 = 2,
    /// An IPv4 header there, but of one source: the rounds are the first and the last fragment of a datagram by turns, each
    /// [`BENCH_FRAGMENT`] units of 8 bytes, with the next identification for each datagram.
    Fragments = 3,
}

/// See [`BenchSource::Fragments`].
pub const BENCH_FRAGMENT: u16 = 2;

/// Most bytes from the frame's start that a target may change; a power of two.
pub const BENCH_HEAD: usize = 128;

/// The single value of the wrapper's `BENCH` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct BenchConfig {
    /// A [`BenchTarget`].
    pub target: u32,
    /// A [`BenchSource`].
    pub source: u32,
    /// Flows minus one, a power of two minus one.
    pub flow_mask: u32,
    /// Bytes that the target puts in front, to be taken off again.
    pub grown: u32,
    /// Bytes by which the frame is cut at its end, to be put on again as zeros.
    pub cut: u32,
    /// So many of them the wrapper itself has to cut off: all, when the target is one that does nothing. What the wrapper
    /// does, and takes, is the same then.
    pub left: u32,
    /// Bytes of `head` that count, minus one.
    pub head_last: u32,
    pub reserved: u32,
    /// The frame's first bytes, written back after each round.
    pub head: [u8; BENCH_HEAD],
}

const _: () = assert!(size_of::<BenchConfig>() == 32 + BENCH_HEAD);
const _: () = assert!(BENCH_HEAD.is_power_of_two());
