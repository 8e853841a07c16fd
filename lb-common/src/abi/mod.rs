//! The layout of every map value that kernel and user space share.
//!
//! All types are `repr(C)`, plain old data without implicit padding, and their sizes and offsets are asserted beside
//! them. Any change of a layout or of a meaning here bumps [`ABI_VERSION`].
//!
//! ```text
//! DIRECTORY ARRAY[1]            Directory      live bank, seed, address filter, and both vip tables
//! RINGS     ARRAY[pages]        RingPage       a ring is a run of consecutive pages
//! DESTS     ARRAY[dests]        Dest           finished outer headers
//! COUNTERS  PERCPU_ARRAY[dests] Counters       one per dest
//! REASONS   PERCPU_ARRAY[64]    u64            one per pass, drop or answer reason
//! DEVICES   DEVMAP[64]          ifindex        where a redirect leaves
//! STAGES    PROG_ARRAY[16]      program        what the balancer hands packets over to
//! POLICIES  ARRAY[vips]         Policy         access lists, limits and routes of a vip
//! POLICY_COUNTERS PERCPU_ARRAY[vips] PolicyCounters one per vip
//! ACCESS    LPM_TRIE            AccessRule     prefixes of all lists
//! INTERFACES HASH[1024]         Interface      MAC addresses and names, by interface and VLAN
//! LEASES    HASH[8192]         Lease          until when addresses of virtual routers are answered for; shared by successive programs
//! BUCKETS, FLOW_BUCKETS, SOURCE_BUCKETS u64    rate limits: when the next one conforms
//! FRAGMENTS LRU_HASH            FragmentRecord datagrams under way
//! PIECE     PERCPU_ARRAY[1]     Piece          the fragment that is being decided about
//! AIM       PERCPU_ARRAY[1]     Aim            what it is taken for
//! RECORD    PERCPU_ARRAY[1]     FragmentRecord its datagram, while it is changed
//! FOUND     PERCPU_ARRAY[1]     Found          from the program that found a packet's dest to the one that needs it
//! FLOWS     ARRAY[buckets]      FlowBucket     flows of slots in transition; shared by successive programs
//! OWNERS    ARRAY[65536]        u64            where the dests that records name are in DESTS
//! SEAT      PERCPU_ARRAY[1]     Seat           from the program that read a packet of a slot in transition to the one that decides
//! FLOW_COUNTERS PERCPU_ARRAY[1] FlowCounters   what the flow stage did
//! ```

mod bench;
mod decap;
mod dest;
mod directory;
mod flow;
mod fragment;
mod generator;
mod interface;
mod lease;
mod policy;
mod probe;
mod reason;
mod stage;
mod vip;

pub use bench::{BENCH_FRAGMENT, BENCH_HEAD, BenchConfig, BenchSource, BenchTarget};
pub use decap::{DECAP_LOCALS, DECAP_OUTCOME_COUNT, DECAP_SOURCES, DecapOutcome};
pub use dest::{Counters, Dest, DestKind, Found, HEAD_LEN};
pub use directory::{
    Answering, Control, Directory, FILTER_BITS, FILTER_WORDS, MAX_TUNNEL_SOURCES, TunnelSource, Tunnels,
    VIP_ENTRIES,
};
pub use flow::{FLOW_OWNERS, FLOW_WAYS, FlowBucket, FlowCounters, Seat, Tracking};
pub use fragment::{Aim, FragmentKey, FragmentRecord, Piece, STRETCHES, Stretch};
pub use generator::{
    Arrived, Departed, LATENCY_BUCKETS, MARK_EVERY, Made, OFFER_FLOWS, OFFER_HEAD, OFFER_LENS, Offer,
    OfferTransport, QUIC_START, SINK_BACKENDS, SPAN_BITS, SPANS, STREAMS, Span, Stamp, StreamOrder,
    StreamSeen, latency_bucket, latency_floor,
};
pub use interface::{Interface, InterfaceKey};
pub use lease::{Lease, LeaseKey, MAX_LEASES};
pub use policy::{
    ACCESS_PREFIXES, AccessKey, AccessRule, BUCKET_COUNT, Bucket, PINNED_CLOCK_BUCKET, Policy,
    PolicyCounters, SOURCE_BUCKETS, SourceKey,
};
pub use probe::{PROBE_FLOWS, PROBE_MAC, PROBE_PEER_MAC, ProbeFlow, ProbeFlowKey, ProbeWay};
pub use reason::{REASON_COUNT, Reason};
pub use stage::{STAGE_COUNT, Stage};
pub use vip::{
    EMPTY_SLOT, IN_TRANSITION, MAX_RING_DESTS, NO_RING, ORPHANED_SLOT, PastHead, Place, RING_PAGE_SLOTS,
    RingPage, Target, VIP_SLOTS, Vip4, Vip6, past_pages, ring_pages,
};

/// Version of everything in this module. Pinned maps of another version are never adopted.
pub const ABI_VERSION: u32 = 6;

/// Entries of `DEVICES`: interfaces that packets may be redirected to.
pub const MAX_DEVICES: u32 = 64;

/// Entries of `INTERFACES`: interfaces with the program, and their VLANs that addresses are confined to.
pub const MAX_INTERFACES: u32 = 1024;

/// The interface index at which a `BPF_PROG_TEST_RUN` without a context enters: the loopback device of any network
/// namespace. The balancer is never attached there, so a dest's frame "leaves where it came from" in such a run.
pub const LOOPBACK_IFINDEX: u32 = 1;

/// Written by user space into the XDP metadata area of a test run, it asks for a run that changes no state; the
/// program answers in place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Trace {
    /// [`Trace::MAGIC`] on entry and on return.
    pub magic: u32,
    /// The vip's number, or `u32::MAX` when no vip matched.
    pub vip: u32,
    /// The slot of the vip's ring, or `u32::MAX`.
    pub slot: u32,
    /// The index into `DESTS`, or `u32::MAX`.
    pub dest: u32,
    /// The index into `REASONS` of a pass, drop or answer, or `u32::MAX` when the packet was forwarded.
    pub reason: u32,
    pub reserved: u32,
}

impl Trace {
    /// `FLEV`, read as a little-endian word.
    pub const MAGIC: u32 = u32::from_le_bytes(*b"FLEV");

    /// A request, with every answer unset.
    pub const REQUEST: Self = Self {
        magic: Self::MAGIC,
        vip: u32::MAX,
        slot: u32::MAX,
        dest: u32::MAX,
        reason: u32::MAX,
        reserved: 0,
    };
}

const _: () = assert!(size_of::<Trace>() == 24);
