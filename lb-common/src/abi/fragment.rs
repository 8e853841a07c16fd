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
    /// 0 for IPv6, where only the first fragment tells it for certain. With [`FragmentKey::HINT`]: no datagram, but what
    /// the sender's datagrams are like.
    pub protocol: u32,
}

impl FragmentKey {
    /// The entry remembers the ports of the last first fragment between two addresses, so that later fragments that come
    /// before it can be taken for the same flow's. Only made for senders whose fragments come in such an order.
    pub const HINT: u32 = 1 << 31;
}

/// A stretch of a datagram, in units of 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Stretch {
    pub start: u16,
    /// Behind the last one. An empty stretch is unused.
    pub end: u16,
}

/// One fragment, as it was read. Flags are 0 or 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Piece {
    pub key: FragmentKey,
    /// Its part of the datagram.
    pub stretch: Stretch,
    /// Where in the frame the IP header starts.
    pub offset: u16,
    pub is_v6: u8,
    pub is_last: u8,
    /// What it says it carries; in a first fragment, the upper layer's protocol.
    pub protocol: u8,
    /// What a first fragment begins: an echo request right behind the headers that fragments have, a TCP connection attempt.
    pub asks_echo: u8,
    pub opens_flow: u8,
    pub reserved: u8,
    /// Of a first fragment, see [`crate::hash::ports_word`]; 0 where the protocol has none.
    pub ports: u32,
}

/// What a fragment is taken for. Flags are 0 or 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Aim {
    /// See [`crate::hash::ports_word`].
    pub ports: u32,
    /// As in [`FragmentRecord`].
    pub state: u32,
    /// Of the flow, as its source, or the datagram's record, says.
    pub hash: u32,
    /// The vip's number, and that of its route for this source, if there is one.
    pub vip: u32,
    pub target: u32,
    /// Of the ring; 0: the fragment is not for a vip.
    pub ring_size: u32,
    /// See [`super::Place`].
    pub ring_page: u32,
    pub dest_base: u32,
    /// Pages from the ring's first one to its past.
    pub past_pages: u32,
    pub protocol: u8,
    pub opens_flow: u8,
    /// There is a record for its datagram.
    pub is_tracked: u8,
    /// Its source's early fragments are taken for its flow.
    pub is_learned: u8,
}

impl Piece {
    #[must_use]
    #[inline(always)]
    pub const fn is_first(&self) -> bool {
        self.stretch.start == 0
    }

    /// An "atomic fragment" (RFC 6946): all there is.
    #[must_use]
    #[inline(always)]
    pub const fn is_whole(&self) -> bool {
        self.is_first() && self.is_last != 0
    }

    /// The source as hashes of IPv4 flows take it.
    #[must_use]
    #[inline(always)]
    pub const fn source_v4(&self) -> u32 {
        let [.., a, b, c, d] = self.key.source;
        u32::from_le_bytes([a, b, c, d])
    }

    #[must_use]
    #[inline(always)]
    pub const fn destination_v4(&self) -> u32 {
        let [.., a, b, c, d] = self.key.destination;
        u32::from_le_bytes([a, b, c, d])
    }
}

/// Stretches of a datagram that are told apart; one more arrives in no sensible order.
pub const STRETCHES: usize = 8;

/// A value of `FRAGMENTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FragmentRecord {
    /// When the last fragment came, on the clock of `Tables::now_ns`.
    pub seen_ns: u64,
    /// The hash that all its fragments go by. Written once, by whoever makes the record.
    pub hash: u32,
    /// The ports by which the vip is found ([`crate::hash::ports_word`]): the flow's, or what it was taken for.
    pub ports: u32,
    pub state: u32,
    /// Behind the datagram's last byte, in units of 8 bytes, once the last fragment is known; else 0.
    pub end: u16,
    /// TCP or UDP.
    pub protocol: u16,
    /// What has come.
    pub seen: [Stretch; STRETCHES],
}

impl FragmentRecord {
    /// `ports` are those that a first fragment has named.
    pub const PORTS: u32 = 1;
    /// Its parts are those of an echo request that is answered.
    pub const ECHO: u32 = 2;
    /// Fragments overlapped: all that follow are dropped (RFC 5722).
    pub const POISONED: u32 = 4;
    /// All of it has come: the next first fragment with this identification begins another datagram.
    pub const COMPLETE: u32 = 8;
    /// It is for no vip's port: the kernel gets all of it.
    pub const NO_SERVICE: u32 = 16;
}

const _: () = assert!(size_of::<FragmentKey>() == 40);
const _: () = assert!(size_of::<Piece>() == 56 && size_of::<Aim>() == 40);
const _: () = assert!(size_of::<FragmentRecord>() == 24 + 4 * STRETCHES);
