//! The flow cache, and what the program needs to read it.

use bytemuck::{Pod, Zeroable};

/// Entries in a bucket: one cache line.
pub const FLOW_WAYS: usize = 8;

/// Dests that flow records can tell apart; 0 is none.
pub const FLOW_OWNERS: u32 = 1 << 16;

/// An entry of `FLOWS`: records as [`crate::flow::Record`] packs them, in no order. Only ever changed word by word.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowBucket {
    pub records: [u64; FLOW_WAYS],
}

/// How flows are remembered; in the head of the directory. Times are in [`crate::flow::Tick`]s.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Tracking {
    /// Entries in `FLOWS`.
    pub buckets: u32,
    /// A record of a connection attempt counts so long.
    pub opened_ticks: u16,
    /// A record of a flow that has been seen to go on.
    pub idle_ticks: u16,
    /// A record of a flow that has been seen to end.
    pub closing_ticks: u16,
    pub reserved: [u16; 3],
}

/// What the flow stage did, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowCounters {
    /// Flows that were remembered.
    pub recorded: u64,
    /// Packets that went where their record said.
    pub followed: u64,
    /// Packets without a record that went to the previous dest of their slot.
    pub to_previous: u64,
    /// Packets without a record that went to the owner of their slot.
    pub to_owner: u64,
    /// Live records that had to make room for others.
    pub evicted: u64,
    /// Records that could not be written because other CPUs were faster.
    pub lost: u64,
}

/// A flow whose slot has changed hands: where it is in the tables, and what its packet says. Handed from the program that
/// has read the packet to the one that decides: both in one would be too much for the kernel's verifier.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Seat {
    /// In the flow cache.
    pub key: u64,
    /// Of the flow, for the ring.
    pub hash: u32,
    /// The vip's number, or that of its route.
    pub vip: u32,
    /// Of the ring.
    pub slot: u32,
    /// See [`super::Place`].
    pub ring_page: u32,
    pub dest_base: u32,
    /// Pages from the ring's first one to its past.
    pub past_pages: u32,
    /// A [`crate::flow::Says`].
    pub says: u32,
    /// What the ring says of the slot.
    pub local: u32,
}

const _: () = assert!(size_of::<Seat>() == 40);
const _: () = assert!(size_of::<FlowBucket>() == 64);
const _: () = assert!(size_of::<Tracking>() == 16);
const _: () = assert!(size_of::<FlowCounters>() == 48);
