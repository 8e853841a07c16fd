//! What the packet generator and its sink share with user space. It is no part of the product.
//!
//! ```text
//! Ethernet | IPv4 or IPv6 | TCP, UDP, or UDP and QUIC | Stamp | time, where there is room | zeros
//! ```

use bytemuck::{Pod, Zeroable};

/// What follows the IP header.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferTransport {
    Tcp = 0,
    Udp = 1,
    /// UDP with the short header of a QUIC packet (RFC 9000, section 17.3.1): [`QUIC_START`] bytes.
    Quic = 2,
}

/// The flags, and a connection id of 13 bytes.
pub const QUIC_START: usize = 14;

/// Most bytes in front of the stamp: Ethernet, IPv6, TCP; rounded up.
pub const OFFER_HEAD: usize = 80;

/// Frame lengths that follow each other, at most.
pub const OFFER_LENS: usize = 16;

/// Most flows: as many as 24 bits of an IPv4 address tell apart.
pub const OFFER_FLOWS: u32 = 1 << 24;

/// The single value of the map `OFFER`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Offer {
    /// Of one core: nanoseconds from packet to packet; 0: without a pause.
    pub interval_ns: u64,
    /// Packets that each core makes at most.
    pub limit: u64,
    /// 4 or 6.
    pub ip_version: u32,
    /// An [`OfferTransport`].
    pub transport: u32,
    /// From 1 to [`OFFER_FLOWS`].
    pub flows: u32,
    /// Flows are taken from `SPANS`, and not one like the other.
    pub is_skewed: u32,
    /// TCP: every so many packets one is a SYN and no ACK; a power of two. 0: none.
    pub syn_every: u32,
    /// Whether the time follows the stamp.
    pub is_timed: u32,
    /// Ones' complement sum, unfolded, of what never changes in the IPv4 header: all but length, source, and checksum.
    pub ip_sum: u32,
    /// The same of pseudo header, transport header, and what is in front of the stamp: all but lengths, source address,
    /// source port, TCP's flags, checksum, and what begins with the stamp.
    pub transport_sum: u32,
    /// Bytes from the IP header to the stamp.
    pub to_stamp: u32,
    /// The longest of `lens`: as long as frames are before they are written.
    pub longest: u32,
    /// How many of `lens` count.
    pub len_count: u32,
    pub reserved: u32,
    /// Bytes of the frames, in turn.
    pub lens: [u16; OFFER_LENS],
    /// All headers.
    pub head: [u8; OFFER_HEAD],
}

const _: () = assert!(size_of::<Offer>() == 16 + 12 * 4 + 2 * OFFER_LENS + OFFER_HEAD);

/// Which packet this is. Little-endian; its stream is the core that it was made on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Stamp {
    /// Counts the packets of the stream, from 0.
    pub sequence: [u8; 4],
    pub stream: [u8; 2],
}

const _: () = assert!(size_of::<Stamp>() == 6 && align_of::<Stamp>() == 1);

/// Entries of the map `SPANS`.
pub const SPANS: usize = 1 << SPAN_BITS;
pub const SPAN_BITS: u32 = 12;

/// Flows that together get one part in [`SPANS`] of all packets, each as many as the others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Span {
    pub first: u32,
    /// At least 1.
    pub count: u32,
}

/// Packets from one look at the clock to the next; a power of two.
pub const MARK_EVERY: u64 = 1024;

/// What one core has made: the value of the per-CPU map `MADE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Made {
    pub packets: u64,
    pub bytes: u64,
    /// When the next packet may leave.
    pub due_ns: u64,
    /// When the first packet was made.
    pub first_ns: u64,
    /// When [`Self::marked`] packets had been made. The clock is read only now and then.
    pub last_ns: u64,
    pub marked: u64,
    /// Which of [`Offer::lens`] is next.
    pub next_len: u32,
    pub reserved: u32,
}

/// Entries of the map `ARRIVED`: backends are told apart by the last byte of their addresses.
pub const SINK_BACKENDS: u32 = 256;

/// What has arrived for a backend: a value of the per-CPU map `ARRIVED`. Bytes are those of the client's IP packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Arrived {
    pub packets: u64,
    pub bytes: u64,
}

/// Entries of the map `STREAMS`.
pub const STREAMS: u32 = 64;

/// The order in which a stream's packets arrived: a value of the map `STREAMS`. Streams are of cores, and an array map's values
/// begin anywhere in a cache line: with so much around what is written, no line is two streams'.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct StreamOrder {
    pub before: [u64; 6],
    /// Sequence number behind the highest that was seen.
    pub next: u64,
    /// Numbers that were skipped.
    pub skipped: u64,
    /// Packets with a lower number than one before them.
    pub late: u64,
    pub behind: [u64; 7],
}

const _: () = assert!(size_of::<StreamOrder>() == 128);

/// What one core has seen of a stream on a real interface, whose queues share the stream: a value of the per-CPU map `SEEN`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct StreamSeen {
    /// Sequence number behind the highest that was seen.
    pub next: u64,
    pub packets: u64,
    /// Packets with a lower number than one before them.
    pub late: u64,
}

/// What became of the packets of one core at the interface's driver: the value of the per-CPU map `DEPARTED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Departed {
    pub taken: u64,
    pub refused: u64,
}

/// Entries of the per-CPU map `LATENCIES`, which counts packets by [`latency_bucket`].
pub const LATENCY_BUCKETS: u32 = 1024;

/// Buckets of equal width between a power of two and the next: so many.
const STEPS: u32 = 32;

/// The bucket of a latency; of one beyond 4 s that of 4 s. A bucket is at most 1/32 wide of what it holds.
#[must_use]
#[inline(always)]
pub const fn latency_bucket(ns: u64) -> u32 {
    let ns = if ns > u32::MAX as u64 { u32::MAX } else { ns as u32 };
    if ns < STEPS {
        return ns;
    }
    let octave = highest_bit(ns) - STEPS.trailing_zeros();
    (octave + 1) * STEPS + ((ns >> octave) & (STEPS - 1))
}

/// Number of the highest bit that is set. In steps: BPF has no instruction for it.
#[inline(always)]
const fn highest_bit(mut value: u32) -> u32 {
    let mut bit = 0;
    if value >= 1 << 16 {
        (bit, value) = (bit + 16, value >> 16);
    }
    if value >= 1 << 8 {
        (bit, value) = (bit + 8, value >> 8);
    }
    if value >= 1 << 4 {
        (bit, value) = (bit + 4, value >> 4);
    }
    if value >= 1 << 2 {
        (bit, value) = (bit + 2, value >> 2);
    }
    if value >= 2 { bit + 1 } else { bit }
}

/// The least latency in nanoseconds that a bucket holds.
#[must_use]
pub const fn latency_floor(bucket: u32) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let octave = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS) as u64) << octave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_lies_between_its_floor_and_the_next() {
        let mut ns = 0_u64;
        while ns < 1 << 32 {
            let bucket = latency_bucket(ns);
            assert!(bucket < LATENCY_BUCKETS, "{ns}");
            assert!(latency_floor(bucket) <= ns && ns < latency_floor(bucket + 1), "{ns} in {bucket}");
            ns += 1 + ns / 100;
        }
        assert_eq!(latency_bucket(u64::MAX), latency_bucket(u32::MAX.into()));
    }

    #[test]
    fn a_bucket_is_narrow() {
        for bucket in STEPS..latency_bucket(u64::MAX) {
            let (floor, next) = (latency_floor(bucket), latency_floor(bucket + 1));
            assert!(next - floor <= floor / u64::from(STEPS), "{bucket}");
        }
    }
}
