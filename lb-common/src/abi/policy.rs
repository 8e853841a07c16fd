//! Who may use a vip, and how fast.

use bytemuck::{Pod, Zeroable};

/// An entry of `POLICIES`, by the vip's number: what a vip with [`super::Target::POLICY`] asks. Immutable while the number
/// is reachable.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Policy {
    /// List of all vips in `ACCESS`, asked first; 0: none.
    pub global_access: u32,
    /// List of the vip in `ACCESS`; 0: none.
    pub access: u32,
    /// Not zero: sources that are not in the list are denied. The lower half word is of the vip's list, the upper one of
    /// the global one.
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

/// A key of the longest-prefix-match table `ACCESS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct AccessKey {
    /// Bits that count: 32 for the list, then those of the address.
    pub prefix_len: u32,
    /// Numbers of lists are never used again within an instance's life.
    pub list: u32,
    /// IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
}

/// A value of `ACCESS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AccessRule {
    /// [`AccessRule::ALLOW`] or [`AccessRule::DENY`]; in a list of routes the route's number, from 1.
    pub verdict: u32,
    pub reserved: u32,
    /// Packets that this prefix decided about.
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
    /// The prefix; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    pub vip: u32,
    pub reserved: u32,
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
