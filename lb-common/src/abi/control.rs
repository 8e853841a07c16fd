//! The one value that a packet reads first: which bank of the vip tables is live, and whether the destination address
//! can belong to a vip at all.

use bytemuck::{Pod, Zeroable};

/// Bits in the address filter; a power of two.
pub const FILTER_BITS: usize = 8192;
/// 64-bit words in the address filter.
pub const FILTER_WORDS: usize = FILTER_BITS / 64;

/// The single value of `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Control {
    /// [`super::ABI_VERSION`] of the writer.
    pub abi_version: u32,
    /// The live half of `VIP4` and `VIP6`: 0 or 1. One aligned store of this word publishes a new table.
    pub bank: u32,
    /// Seed of the flow hash; equal across a fleet that shares flows.
    pub seed: u64,
    /// Salt of the two-choice hash, one for each bank.
    pub salt: [u64; 2],
    /// A bit for each hashed vip address (`hash::filter_bit`). No false negatives: a packet whose bit is clear is not
    /// for a vip. While a bank switch is under way it covers both banks.
    pub filter: [u64; FILTER_WORDS],
}

const _: () = assert!(size_of::<Control>() == 32 + FILTER_BITS / 8);
const _: () = assert!(core::mem::offset_of!(Control, bank) == 4);
const _: () = assert!(FILTER_BITS.is_power_of_two());
