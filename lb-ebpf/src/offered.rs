//! The packets of the benchmark's generator, and how its sink reads what became of them. No part of the product's program.
//!
//! Pure like the packet story, so that packets for an `AF_PACKET` socket are the same as those made in the kernel, and a
//! test can look at both. Every header is written anew for each packet, since buffers come back as the balancer, or the
//! kernel, has left them.

use bytemuck::Pod;
use lb_common::abi::{Offer, OfferTransport, QUIC_START, SPAN_BITS, Span, Stamp};
use lb_common::checksum;
use lb_common::headers::{Be16, Ethernet, Ipv4, Ipv6, TcpStart, Udp};

use crate::Frame;

pub(crate) const L3: usize = size_of::<Ethernet>();
pub(crate) const V4: usize = size_of::<Ipv4>();
pub(crate) const V6: usize = size_of::<Ipv6>();
const TCP: usize = 20;
pub(crate) const UDP: usize = size_of::<Udp>();
const QUIC: usize = UDP + QUIC_START;
const TIME: usize = 8;
/// Where the checksum is in a TCP header.
const TCP_CHECKSUM: usize = 16;

const IS_TCP: u32 = OfferTransport::Tcp as u32;
const IS_UDP: u32 = OfferTransport::Udp as u32;

/// What differs from packet to packet.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub sequence: u32,
    pub stream: u16,
    /// On the kernel's monotonic clock.
    pub time_ns: u64,
    /// Of the frame.
    pub len: u16,
}

impl Turn {
    /// 32 bits that pick the flow: all values come, each once before any comes again, and none beside the one before.
    /// Each stream begins somewhere else.
    #[must_use]
    #[inline(always)]
    pub const fn pick(&self) -> u32 {
        const STRIDE: u32 = 0x9e37_79b1;
        self.sequence.wrapping_add((self.stream as u32) << 28).wrapping_mul(STRIDE)
    }
}

/// Which of the spans `pick` is in.
#[must_use]
#[inline(always)]
pub const fn span_of(pick: u32) -> u32 {
    pick >> (32 - SPAN_BITS)
}

/// The flow within a span, by the bits that did not pick the span.
#[must_use]
#[inline(always)]
pub const fn flow_in(span: &Span, pick: u32) -> u32 {
    span.first + scaled(pick << SPAN_BITS, span.count)
}

/// One of `count` flows that are all alike.
#[must_use]
#[inline(always)]
pub const fn flow_of(count: u32, pick: u32) -> u32 {
    scaled(pick, count)
}

#[inline(always)]
const fn scaled(part: u32, whole: u32) -> u32 {
    ((part as u64 * whole as u64) >> 32) as u32
}

/// Writes the packet of `flow`, in a frame that is as long as the turn says and zero behind the headers and the time.
/// `None` when it is too short for the headers and the stamp.
#[must_use]
#[inline(always)]
pub fn write<F: Frame>(frame: &mut F, offer: &Offer, turn: &Turn, flow: u32) -> Option<()> {
    match (offer.ip_version == 6, offer.transport) {
        (false, IS_TCP) => write_as::<F, false, { L3 + V4 + TCP }>(frame, offer, turn, flow),
        (false, IS_UDP) => write_as::<F, false, { L3 + V4 + UDP }>(frame, offer, turn, flow),
        (false, _) => write_as::<F, false, { L3 + V4 + QUIC }>(frame, offer, turn, flow),
        (true, IS_TCP) => write_as::<F, true, { L3 + V6 + TCP }>(frame, offer, turn, flow),
        (true, IS_UDP) => write_as::<F, true, { L3 + V6 + UDP }>(frame, offer, turn, flow),
        (true, _) => write_as::<F, true, { L3 + V6 + QUIC }>(frame, offer, turn, flow),
    }
}

/// `HEAD`: bytes in front of the stamp.
#[inline(always)]
fn write_as<F: Frame, const IS_V6: bool, const HEAD: usize>(
    frame: &mut F,
    offer: &Offer,
    turn: &Turn,
    flow: u32,
) -> Option<()> {
    let l4 = if IS_V6 { L3 + V6 } else { L3 + V4 };
    frame.at_mut::<[u8; HEAD]>(0)?.copy_from_slice(offer.head.get(..HEAD)?);
    let mut sum = u64::from(offer.transport_sum);
    sum += write_stamp::<F, HEAD>(frame, offer, turn)?;

    // The address of the flow ends with these bytes.
    let network_len = turn.len.wrapping_sub(L3 as u16);
    if IS_V6 {
        let ip: &mut Ipv6 = frame.at_mut(L3)?;
        let [a, b, c, d] = flow.to_be_bytes();
        [ip.source[12], ip.source[13], ip.source[14], ip.source[15]] = [a, b, c, d];
        ip.payload_len = Be16::new(network_len.wrapping_sub(V6 as u16));
        // Zero in the template, so that the sum of the rest is a part of `transport_sum`.
        sum += words32(flow.to_be());
    } else {
        let ip: &mut Ipv4 = frame.at_mut(L3)?;
        let source = flow | u32::from_be_bytes(ip.source);
        ip.source = source.to_be_bytes();
        ip.total_len = Be16::new(network_len);
        let words = words32(source.to_be());
        let ip_sum = u64::from(offer.ip_sum) + words + u64::from(ip.total_len.word());
        ip.checksum = (!checksum::fold_long(ip_sum)).to_ne_bytes();
        sum += words;
    }

    let transport_len = Be16::new(turn.len.wrapping_sub(l4 as u16));
    sum += u64::from(transport_len.word());
    let port = port_of(flow).to_be_bytes();
    sum += u64::from(u16::from_ne_bytes(port));
    if HEAD == l4 + TCP {
        let tcp: &mut TcpStart = frame.at_mut(l4)?;
        let opens = offer.syn_every != 0 && turn.sequence & (offer.syn_every - 1) == 0;
        tcp.ports.source = port;
        tcp.flags = if opens { TcpStart::SYN } else { TcpStart::ACK };
        sum += u64::from(u16::from_ne_bytes([0, tcp.flags]));
        *frame.at_mut::<[u8; 2]>(l4 + TCP_CHECKSUM)? = (!checksum::fold_long(sum)).to_ne_bytes();
    } else {
        let udp: &mut Udp = frame.at_mut(l4)?;
        udp.ports.source = port;
        udp.len = transport_len;
        // The length is in the pseudo header as well.
        sum += u64::from(transport_len.word());
        let checksum = !checksum::fold_long(sum);
        // RFC 768: a sum of zero is sent as ones.
        udp.checksum = (if checksum == 0 { u16::MAX } else { checksum }).to_ne_bytes();
    }
    Some(())
}

/// The source port of a flow: those of neighbouring addresses differ, too.
#[inline(always)]
pub(crate) const fn port_of(flow: u32) -> u16 {
    0x8000 | (flow ^ flow >> 15) as u16 & 0x7fff
}

/// Writes what the sink will read, and returns the sum of it.
#[inline(always)]
fn write_stamp<F: Frame, const HEAD: usize>(frame: &mut F, offer: &Offer, turn: &Turn) -> Option<u64> {
    let stamp: &mut Stamp = frame.at_mut(HEAD)?;
    stamp.sequence = turn.sequence.to_le_bytes();
    stamp.stream = turn.stream.to_le_bytes();
    let sum = words32(turn.sequence.to_le()) + u64::from(turn.stream.to_le());
    if offer.is_timed == 0 {
        return Some(sum);
    }
    *frame.at_mut::<[u8; TIME]>(HEAD + size_of::<Stamp>())? = turn.time_ns.to_le_bytes();
    let time = turn.time_ns.to_le();
    Some(sum + words32(time as u32) + words32((time >> 32) as u32))
}

/// The sum of both halves of a word in memory order.
#[inline(always)]
const fn words32(word: u32) -> u64 {
    (word & 0xffff) as u64 + (word >> 16) as u64
}

/// What the sink reads of a packet that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Last byte of its MAC address, and of the outer destination address where there is one.
    pub backend: u8,
    /// Of the client's IP packet.
    pub bytes: u16,
    pub sequence: u32,
    pub stream: u16,
    /// Zero where packets carry none.
    pub time_ns: u64,
}

/// Why a frame is none of the offered packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoArrival {
    /// No TCP, UDP, or tunnel: the hosts' own.
    Other,
    /// It should be one.
    Broken,
}

/// Takes the outer headers off in its head, and reads the stamp.
///
/// # Errors
/// When it is no offered packet for this backend.
#[inline(always)]
pub fn read<F: Frame>(frame: &F, offer: &Offer) -> Result<Arrival, NoArrival> {
    let ethernet: &Ethernet = frame.at(0).ok_or(NoArrival::Other)?;
    let backend = ethernet.destination[5];
    let (outer, l4, protocol) = match ethernet.ether_type.get() {
        0x0800 => {
            let ip: &Ipv4 = frame.at(L3).ok_or(NoArrival::Broken)?;
            (ip.destination[3], L3 + V4, ip.protocol)
        }
        0x86dd => {
            let ip: &Ipv6 = frame.at(L3).ok_or(NoArrival::Broken)?;
            (ip.destination[15], L3 + V6, ip.next_header)
        }
        _ => return Err(NoArrival::Other),
    };
    let inner = match protocol {
        4 | 41 => l4,
        17 if is_gue(frame, l4) => l4 + UDP + gue_len(frame, l4 + UDP).ok_or(NoArrival::Broken)?,
        6 | 17 => L3,
        _ => return Err(NoArrival::Other),
    };
    if inner != L3 && outer != backend {
        return Err(NoArrival::Broken);
    }
    read_inner(frame, offer, inner, backend).ok_or(NoArrival::Broken)
}

#[inline(always)]
pub(crate) fn is_gue<F: Frame>(frame: &F, l4: usize) -> bool {
    const GUE: u16 = 6080;
    frame.at::<Udp>(l4).is_some_and(|udp| u16::from_be_bytes(udp.ports.destination) == GUE)
}

/// Variant 1 has no header of its own: the IP version is there.
#[inline(always)]
pub(crate) fn gue_len<F: Frame>(frame: &F, offset: usize) -> Option<usize> {
    match frame.at::<[u8; 4]>(offset)?[0] {
        0 => Some(4),
        0x40..=0x6f => Some(0),
        _ => None,
    }
}

/// The IP packet at `offset`: one of the offered, for the vip, or for this backend when its address was written over.
#[inline(always)]
pub(crate) fn read_inner<F: Frame>(frame: &F, offer: &Offer, offset: usize, backend: u8) -> Option<Arrival> {
    const MOST: usize = 127;
    let offset = offset & MOST;
    let (bytes, destination) = if offer.ip_version == 6 {
        let ip: &Ipv6 = frame.at(offset)?;
        let bytes = ip.payload_len.get().wrapping_add(V6 as u16);
        if ip.version_class_label[0] >> 4 != 6 {
            return None;
        }
        (bytes, (ip.destination[15], offered_byte(offer, L3 + V6 - 1)?))
    } else {
        let ip: &Ipv4 = frame.at(offset)?;
        if ip.version_ihl != 0x45 {
            return None;
        }
        (ip.total_len.get(), (ip.destination[3], offered_byte(offer, L3 + V4 - 1)?))
    };
    let (seen, vip) = destination;
    let rewritten = offset == L3 && seen == backend;
    if seen != vip && !rewritten {
        return None;
    }
    let at = offset + (offer.to_stamp as usize & MOST);
    let stamp: Stamp = *frame.at(at)?;
    let time_ns =
        if offer.is_timed == 0 { 0 } else { u64::from_le_bytes(*frame.at(at + size_of::<Stamp>())?) };
    Some(Arrival {
        backend,
        bytes,
        sequence: u32::from_le_bytes(stamp.sequence),
        stream: u16::from_le_bytes(stamp.stream),
        time_ns,
    })
}

#[inline(always)]
fn offered_byte(offer: &Offer, at: usize) -> Option<u8> {
    offer.head.get(at).copied()
}

/// Bytes in front of the stamp.
#[must_use]
pub const fn head_len(is_v6: bool, transport: OfferTransport) -> usize {
    let ip = if is_v6 { V6 } else { V4 };
    let transport = match transport {
        OfferTransport::Tcp => TCP,
        OfferTransport::Udp => UDP,
        OfferTransport::Quic => QUIC,
    };
    L3 + ip + transport
}

/// Bytes of the shortest frame that holds the headers and the stamp, and with `timed` the time.
#[must_use]
pub const fn shortest(is_v6: bool, transport: OfferTransport, timed: bool) -> usize {
    let time = if timed { TIME } else { 0 };
    head_len(is_v6, transport) + size_of::<Stamp>() + time
}

/// Where the IP header is, and where what follows it.
#[must_use]
pub const fn offsets(is_v6: bool) -> (usize, usize) {
    (L3, if is_v6 { L3 + V6 } else { L3 + V4 })
}

/// Puts a header into a template. `None` when it does not fit.
#[must_use]
pub fn put<T: Pod>(head: &mut [u8], offset: usize, header: &T) -> Option<()> {
    head.get_mut(offset..offset + size_of::<T>())?.copy_from_slice(bytemuck::bytes_of(header));
    Some(())
}
