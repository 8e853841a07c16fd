//! TCP resets for segments that no connection takes (RFC 9293, section 3.10.7.1).
//!
//! The segment's own checksum is not looked at: its data may be long, and a reset answers nothing that was not asked. A peer
//! takes a reset only with the sequence number that it expects.

use lb_common::abi::Reason;
use lb_common::checksum;
use lb_common::headers::{Ipv4, Ipv6, Ports, TcpStart};

use super::reply::{ECN, Link, TTL, ipv4_header, ipv6_header, pseudo_v4, pseudo_v6};
use super::upper::Upper;
use crate::Frame;
use crate::parse::TCP;

/// A TCP header without options, window or urgent data.
const LEN: usize = 20;
/// What makes an untagged IPv4 frame as long as Ethernet wants it.
const PADDING: usize = 6;

/// What the reset says: the first four words of its segment, in memory order. Words, because on the stack the verifier takes
/// no bytes at odd places.
pub(super) struct Reset {
    ports: u32,
    sequence: u32,
    acknowledgement: u32,
    length_and_flags: u32,
}

/// The reset that a segment calls for.
///
/// # Errors
/// For resets, which are never answered, and segments shorter than their header says.
#[inline(always)]
pub(super) fn to<F: Frame>(frame: &F, upper: &Upper) -> Result<Reset, Reason> {
    let tcp: &TcpStart = frame.at(upper.start).ok_or(Reason::Truncated)?;
    let header_len = usize::from(tcp.data_offset >> 4) * 4;
    if header_len < LEN || upper.len() < header_len {
        return Err(Reason::Truncated);
    }
    if tcp.flags & TcpStart::RST != 0 {
        return Err(Reason::ClosedPort);
    }
    let Ports { source: [a, b], destination: [c, d] } = tcp.ports;
    let ports = u32::from_ne_bytes([c, d, a, b]);
    if tcp.flags & TcpStart::ACK != 0 {
        let sequence = u32::from_ne_bytes(tcp.acknowledgement);
        return Ok(Reset {
            ports,
            sequence,
            acknowledgement: 0,
            length_and_flags: length_and_flags(TcpStart::RST),
        });
    }
    let bit = |flag| u32::from(tcp.flags & flag != 0);
    let segment_len = (upper.len() - header_len) as u32 + bit(TcpStart::SYN) + bit(TcpStart::FIN);
    let acknowledgement = u32::from_be_bytes(tcp.sequence).wrapping_add(segment_len).to_be();
    let length_and_flags = length_and_flags(TcpStart::RST | TcpStart::ACK);
    Ok(Reset { ports, sequence: 0, acknowledgement, length_and_flags })
}

/// The word with the header's length, the flags, and no window.
const fn length_and_flags(flags: u8) -> u32 {
    u32::from_ne_bytes([(LEN as u8 / 4) << 4, flags, 0, 0])
}

/// Turns the segment's packet, whose IPv4 header starts at `offset`, into the reset.
///
/// # Errors
/// Why it must be dropped.
#[inline(always)]
pub(super) fn send_v4<F: Frame>(
    frame: &mut F,
    offset: usize,
    ip: &Ipv4,
    reset: &Reset,
) -> Result<(), Reason> {
    const ALL: usize = size_of::<Ipv4>() + LEN;
    let link = Link::back(frame, offset)?;
    let header = ipv4_header(ip.tos & !ECN, ALL as u16, TCP, ip.destination, ip.source);
    let segment = reset.words(pseudo_v4(&ip.source, &ip.destination, LEN as u16, TCP));
    resize(frame, offset + ALL + PADDING)?;
    link.put(frame).ok_or(Reason::Truncated)?;
    *frame.at_mut(offset).ok_or(Reason::Truncated)? = header;
    *frame.at_mut(offset + size_of::<Ipv4>()).ok_or(Reason::Truncated)? = segment;
    *frame.at_mut(offset + ALL).ok_or(Reason::Truncated)? = [0u8; PADDING];
    Ok(())
}

/// The same for IPv6.
///
/// # Errors
/// As [`send_v4`].
#[inline(always)]
pub(super) fn send_v6<F: Frame>(
    frame: &mut F,
    offset: usize,
    ip: &Ipv6,
    reset: &Reset,
) -> Result<(), Reason> {
    const ALL: usize = size_of::<Ipv6>() + LEN;
    let link = Link::back(frame, offset)?;
    let header = ipv6_header(LEN as u16, TCP, TTL, ip.destination, ip.source);
    let segment = reset.words(pseudo_v6(&ip.source, &ip.destination, LEN as u16, TCP));
    resize(frame, offset + ALL)?;
    link.put(frame).ok_or(Reason::Truncated)?;
    *frame.at_mut(offset).ok_or(Reason::Truncated)? = header;
    *frame.at_mut(offset + size_of::<Ipv6>()).ok_or(Reason::Truncated)? = segment;
    Ok(())
}

/// Gives the frame this length. It grows at its front, where drivers leave room: all of it is written anew.
#[inline(always)]
fn resize<F: Frame>(frame: &mut F, len: usize) -> Result<(), Reason> {
    let there = frame.len();
    if there < len {
        return frame.extend_front((len - there) as i32).ok_or(Reason::NoHeadroom);
    }
    frame.truncate(len).ok_or(Reason::Truncated)
}

impl Reset {
    /// The segment; `pseudo` is the sum of its pseudo header.
    #[inline(always)]
    fn words(&self, pseudo: u64) -> [[u8; 4]; LEN / 4] {
        let &Self { ports, sequence, acknowledgement, length_and_flags } = self;
        let words = [ports, sequence, acknowledgement, length_and_flags];
        let sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
        let [a, b] = (!checksum::fold_long(pseudo + sum)).to_ne_bytes();
        [
            ports.to_ne_bytes(),
            sequence.to_ne_bytes(),
            acknowledgement.to_ne_bytes(),
            length_and_flags.to_ne_bytes(),
            [a, b, 0, 0],
        ]
    }
}
