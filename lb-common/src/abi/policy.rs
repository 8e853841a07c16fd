//! Who may use a vip, and how fast.

use bytemuck::{Pod, Zeroable};

/// An entry of `POLICIES`, by [`super::Target::policy`]: what a vip with [`super::Target::POLICY`] asks. Immutable while a
/// vip's entry names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Policy {
    /// List of all vips in `ACCESS`, asked first; 0: none.
    pub global_access: u32,
    /// List of the vip in `ACCESS`; 0: none.
    pub access: u32,
    /// Which lists deny the sources that they do not name.
    pub deny_unlisted: u32,
    /// Bits of a source that make its prefix: IPv4 in the lower half word, IPv6 in the upper one.
    pub source_prefix: u32,
    /// Nanoseconds between two new flows of the vip; 0: no limit.
    pub vip_interval_ns: u64,
    /// Nanoseconds between two new flows of a source prefix; 0: no limit.
    pub source_interval_ns: u64,
    /// List of the vip's routes in `ACCESS`; 0: none.
    pub routes: u32,
    pub reserved: u32,
}

impl Policy {
    /// In `deny_unlisted`: the global list.
    pub const GLOBAL: u32 = 1;
    /// In `deny_unlisted`: the vip's list.
    pub const VIP: u32 = 2;
}

/// A key of the longest-prefix-match table `ACCESS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct AccessKey {
    /// Bits that count: [`AccessKey::LIST_BITS`], then those of the address.
    pub prefix_len: u32,
    /// The list's number, with [`AccessKey::V4`] for its IPv4 prefixes: `::/0` must not hold IPv4 addresses. Numbers are
    /// never used again within a map's life.
    pub list: u32,
    /// IPv4 as `::ffff:a.b.c.d`; as two words loaded little-endian from the packet.
    pub address: [u64; 2],
}

impl AccessKey {
    /// Bits of [`AccessKey::list`] in front of the address.
    pub const LIST_BITS: u32 = 32;
    /// Bits of a whole key.
    pub const BITS: u32 = Self::LIST_BITS + 128;
    /// In [`AccessKey::list`]: of IPv4.
    pub const V4: u32 = 1 << 31;

    /// The key that finds the rule for an address.
    #[must_use]
    #[inline(always)]
    pub const fn of(list: u32, is_v4: bool, address: [u64; 2]) -> Self {
        let list = if is_v4 { list | Self::V4 } else { list };
        Self { prefix_len: Self::BITS, list, address }
    }
}

/// A value of `ACCESS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AccessRule {
    /// [`AccessRule::ALLOW`] or [`AccessRule::DENY`]; in a list of routes the route's number, from 1.
    pub verdict: u32,
    pub reserved: u32,
    /// Packets that this prefix decided about. Counted in two halves: the kernel keeps a table's values behind keys of 20
    /// bytes, at odd multiples of four, and an atomic access of eight bytes would lie across two cache lines for one value in
    /// two. That stops all CPUs for microseconds, and the kernel dies of it where split locks are detected. A reader may see
    /// the lower half wrap just before the upper one follows.
    pub hits: u64,
}

impl AccessRule {
    pub const ALLOW: u32 = 0;
    pub const DENY: u32 = 1;
}

/// A key of `SOURCE_BUCKETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SourceKey {
    /// The prefix, as in [`AccessKey`].
    pub address: [u64; 2],
    /// The vip's number.
    pub vip: u32,
    pub reserved: u32,
}

/// Per-CPU counters of a vip with a policy, by the vip's number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PolicyCounters {
    /// Flows that wanted to begin: TCP connection attempts and QUIC Initial packets that the access lists let through.
    pub new_flows: u64,
    /// Packets that an access list denied.
    pub denied: u64,
    /// New flows beyond the vip's limit.
    pub vip_limited: u64,
    /// New flows beyond the limit of their source prefix.
    pub source_limited: u64,
}

/// What the program's own answers are limited by; the index in `BUCKETS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    Echo = 0,
    TooBig = 1,
    Reject = 2,
    /// Datagrams in fragments that begin.
    Fragments = 3,
}

/// Entries in `BUCKETS`.
pub const BUCKET_COUNT: u32 = 8;
/// Where in `BUCKETS` a test puts the time when the program was loaded with a pinned clock.
pub const PINNED_CLOCK_BUCKET: u32 = 7;
/// Entries in `SOURCE_BUCKETS`.
pub const SOURCE_BUCKETS: u32 = 65_536;
/// Entries in `ACCESS`; memory is taken as prefixes come.
pub const ACCESS_PREFIXES: u32 = 4_194_304;

const _: () = assert!(size_of::<Policy>() == 40);
const _: () = assert!(size_of::<AccessKey>() == 24 && core::mem::offset_of!(AccessKey, list) == 4);
const _: () = assert!(size_of::<AccessRule>() == 16);
const _: () = assert!(size_of::<SourceKey>() == 24);
const _: () = assert!(size_of::<PolicyCounters>() == 32);
