//! Datagrams whose fragments are on their way.

use bytemuck::{Pod, Zeroable};

/// A key of `FRAGMENTS`: what all fragments of a datagram share (RFC 791, section 3.2; RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct FragmentKey {
    /// IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    pub destination: [u8; 16],
    pub identification: u32,
    pub protocol: u32,
}

/// A stretch of a datagram, in units of 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Stretch {
    pub start: u16,
    /// Behind the last one. An empty stretch is unused.
    pub end: u16,
}

/// Stretches of a datagram that are told apart; one more arrives in no sensible order.
pub const STRETCHES: usize = 8;

/// A value of `FRAGMENTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FragmentRecord {
    /// When the last fragment came, on the clock of `Tables::now_ns`.
    pub seen_ns: u64,
    /// The flow's hash, and with it its slot.
    pub hash: u32,
    /// The flow's ports ([`crate::hash::ports_word`]) when `state` has [`FragmentRecord::PORTS`].
    pub ports: u32,
    pub state: u32,
    /// Behind the datagram's last byte, in units of 8 bytes, once the last fragment is known; else 0.
    pub end: u32,
    /// What has come.
    pub seen: [Stretch; STRETCHES],
}

impl FragmentRecord {
    /// The first fragment was seen: `ports` are known.
    pub const PORTS: u32 = 1;
    /// Its parts are those of an echo request that is answered.
    pub const ECHO: u32 = 2;
    /// Fragments overlapped: all that follow are dropped (RFC 5722).
    pub const POISONED: u32 = 4;
}

const _: () = assert!(size_of::<FragmentKey>() == 40);
const _: () = assert!(size_of::<FragmentRecord>() == 24 + 4 * STRETCHES);
