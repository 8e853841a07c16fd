//! The one value that a packet reads first: whether its destination address can belong to a vip at all, which bank of
//! the vip tables is live, and the tables themselves. One value, so that one lookup brings all of it.

use bytemuck::{Pod, Zeroable};

use super::{Tracking, VIP_SLOTS, Vip4, Vip6};

/// Bits in the address filter; a power of two.
pub const FILTER_BITS: usize = 8192;
/// 64-bit words in the address filter.
pub const FILTER_WORDS: usize = FILTER_BITS / 64;

/// Entries of both banks of a vip table.
pub const VIP_ENTRIES: usize = 2 * VIP_SLOTS as usize;

/// The head of a [`Directory`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Control {
    /// [`super::ABI_VERSION`] of the writer.
    pub abi_version: u32,
    /// The live half of the vip tables: 0 or 1. One aligned store of this word publishes a new table.
    pub bank: u32,
    /// Seed of the flow hash; equal across a fleet that shares flows.
    pub seed: u64,
    /// Salt of the two-choice hash, one for each bank.
    pub salt: [u64; 2],
    /// A bit for each hashed vip address (`hash::filter_bit`). No false negatives: a packet whose bit is clear is not
    /// for a vip. While a bank switch is under way it covers both banks.
    pub filter: [u64; FILTER_WORDS],
    pub answering: Answering,
    pub tunnels: Tunnels,
    pub tracking: Tracking,
}

/// What limits the program's own answers; only stages read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Answering {
    /// Nanoseconds between two answers of a kind; 0: there are none.
    pub reply_interval_ns: u64,
    /// Nanoseconds between two datagrams in fragments that begin; 0: there are none.
    pub fragment_interval_ns: u64,
    /// How long a datagram's fragments are waited for.
    pub fragment_timeout_ns: u64,
    /// Not zero: IPv4 packets that are too large and may be fragmented go to the kernel.
    pub oversize_to_kernel: u64,
}

/// Sources of this balancer's tunnels that are known to it.
pub const MAX_TUNNEL_SOURCES: usize = 16;

/// What the outer headers that this balancer writes look like: a packet for a vip that looks so has been here before. Only
/// stages read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Tunnels {
    pub sources: [TunnelSource; MAX_TUNNEL_SOURCES],
    /// UDP destination port of GUE.
    pub gue_port: u64,
    /// Keeps the vip tables behind it in whole cache lines.
    pub reserved: [u64; 5],
}

/// A prefix of at least 96 bits; IPv4 as `::ffff:a.b.c.d`. Addresses are two words loaded little-endian.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct TunnelSource {
    pub address: [u64; 2],
    /// Which bits of the second word count; 0 is an empty entry.
    pub mask: u64,
}

impl TunnelSource {
    #[must_use]
    #[inline(always)]
    pub const fn holds(&self, [high, low]: [u64; 2]) -> bool {
        self.mask != 0 && high == self.address[0] && low & self.mask == self.address[1]
    }
}

/// The single value of `DIRECTORY`. Bank 1 begins at entry [`VIP_SLOTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Directory {
    pub control: Control,
    pub vip4: [Vip4; VIP_ENTRIES],
    pub vip6: [Vip6; VIP_ENTRIES],
}

const _: () = assert!(size_of::<Control>() == 64 + FILTER_BITS / 8 + 448);
const _: () = assert!(core::mem::offset_of!(Control, tunnels) == 64 + FILTER_BITS / 8);
const _: () = assert!(size_of::<Tunnels>() == 432 && size_of::<Control>().is_multiple_of(64));
const _: () = assert!(core::mem::offset_of!(Control, answering) == 32 + FILTER_BITS / 8);
const _: () = assert!(core::mem::offset_of!(Control, bank) == 4);
const _: () = assert!(FILTER_BITS.is_power_of_two());
const _: () = assert!(core::mem::offset_of!(Directory, vip4) == size_of::<Control>());
const _: () = assert!(size_of::<Directory>() == size_of::<Control>() + VIP_ENTRIES * (32 + 48));
// What an array map allows for a value on every kernel: KMALLOC_MAX_SIZE.
const _: () = assert!(size_of::<Directory>() < 4 << 20);
const _: () = assert!(VIP_ENTRIES.is_power_of_two());
