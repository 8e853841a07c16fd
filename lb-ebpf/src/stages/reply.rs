//! Turning a packet round: what the program's own answers share. Says whom they may go to, how many there may be, and builds
//! the headers; what an answer says is the caller's.
//!
//! An answer leaves where its packet came in, to the neighbour that sent it, with the VLAN tags it came with: no route is
//! asked. It comes from the address that was asked.

use lb_common::abi::{Bucket, Directory, Lease, LeaseKey, Reason};
use lb_common::checksum;
use lb_common::headers::{Be16, Ethernet, Icmp, Ipv4, Ipv6, Vlan, words_v6};

use super::limit::conforms;
use crate::parse::{ICMP, ICMPV6};
use crate::tables::StageTables;
use crate::{Frame, vip};

/// Time to live and hop limit of answers.
pub(crate) const TTL: u8 = 64;
/// The ECN field. Only transports that understand it may set it (RFC 3168, section 5); none of our answers does.
pub(crate) const ECN: u8 = 0x03;
/// Internetwork control: the precedence of ICMP errors (RFC 1812, section 4.3.2.5).
const CONTROL: u8 = 0xc0;

/// An ICMP message is at most so long with its IP header: RFC 1812, section 4.3.2.3, and RFC 4443, section 2.4 (c).
const LONGEST_ERROR_V4: usize = 576;
const LONGEST_ERROR_V6: usize = 1280;
const HEAD_V4: usize = size_of::<Ipv4>() + size_of::<Icmp>();
const HEAD_V6: usize = size_of::<Ipv6>() + size_of::<Icmp>();
/// Words of the packet that an error quotes.
const QUOTED_V4: usize = (LONGEST_ERROR_V4 - HEAD_V4) / 4;
const QUOTED_V6: usize = (LONGEST_ERROR_V6 - HEAD_V6) / 4;

/// The MAC address that an election has put the address at; all zeros for that of the interface.
///
/// # Errors
/// When this node does not have the address: `left` when another one has, so that the question is the kernel's.
#[inline(always)]
pub(crate) fn held<T: StageTables>(tables: &T, address: [u64; 2], left: Reason) -> Result<[u8; 6], Reason> {
    match tables.lease(&LeaseKey { address }) {
        None => Ok([0; 6]),
        Some(Lease { until_ns: Lease::LEFT, .. }) => Err(left),
        Some(Lease { until_ns, .. }) if until_ns <= tables.exact_now_ns() => Err(Reason::LeaseLapsed),
        Some(Lease { mac, .. }) => Ok(mac),
    }
}

/// The MAC address of an answer: that of the address, or else of the interface.
#[inline(always)]
pub(crate) const fn answering_mac(held: [u8; 6], interface: [u8; 6]) -> [u8; 6] {
    if same_mac(held, [0; 6]) { interface } else { held }
}

/// Whether an answer may go to `source`.
///
/// # Errors
/// When it is no host's address (RFC 1122, sections 3.2.1.3 and 3.2.2), or that of a vip: two balancers that answer each
/// other would never stop.
#[inline(always)]
pub(crate) fn may_answer_v4(directory: &Directory, source: [u8; 4]) -> Result<(), Reason> {
    if !is_host_v4(source) {
        return Err(Reason::BadSource);
    }
    match vip::find_address_v4(directory, u32::from_le_bytes(source)) {
        Some(_) => Err(Reason::Loop),
        None => Ok(()),
    }
}

/// The same for IPv6 (RFC 4443, section 2.4 (e)).
///
/// # Errors
/// As [`may_answer_v4`].
#[inline(always)]
pub(crate) fn may_answer_v6(directory: &Directory, source: [u8; 16]) -> Result<(), Reason> {
    if !is_host_v6(source) {
        return Err(Reason::BadSource);
    }
    match vip::find_address_v6(directory, words_v6(source)) {
        Some(_) => Err(Reason::Loop),
        None => Ok(()),
    }
}

/// Whether a host other than this one can have the address: not "this network", loopback, multicast, or what was reserved,
/// with the broadcast address.
#[inline(always)]
pub(crate) const fn is_host_v4(address: [u8; 4]) -> bool {
    !matches!(address[0], 0 | 127 | 224..)
}

/// Whether a host other than this one can have the address.
#[inline(always)]
pub(crate) const fn is_host_v6(address: [u8; 16]) -> bool {
    const LOOPBACK: u64 = u64::from_le_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
    let [high, low] = words_v6(address);
    address[0] != 0xff && (high != 0 || low != 0 && low != LOOPBACK)
}

/// Whether two MAC addresses are equal, by one comparison.
#[inline(always)]
pub(crate) const fn same_mac(a: [u8; 6], b: [u8; 6]) -> bool {
    const fn word([a, b, c, d, e, f]: [u8; 6]) -> u64 {
        u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
    }
    word(a) == word(b)
}

/// Takes one answer from those that are left in this second.
///
/// # Errors
/// When there is none.
#[inline(always)]
pub(crate) fn spend<T: StageTables>(tables: &T, directory: &Directory, bucket: Bucket) -> Result<(), Reason> {
    let interval_ns = directory.control.answering.reply_interval_ns;
    if conforms(tables.bucket(bucket), tables.now_ns(), interval_ns) {
        Ok(())
    } else {
        Err(Reason::AnswerLimit)
    }
}

const PLAIN: usize = size_of::<Ethernet>();
const TAGGED: usize = PLAIN + size_of::<Vlan>();
const LONGEST: usize = TAGGED + size_of::<Vlan>();

/// The link header of an answer: that of its packet, tags included, with other addresses.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    bytes: [u8; LONGEST],
    /// Where the packet's IP header begins: [`PLAIN`], [`TAGGED`] or [`LONGEST`].
    len: usize,
}

impl Link {
    /// Back to who sent the frame.
    ///
    /// # Errors
    /// When it was sent to or by a group: nobody may be made to multiply packets.
    #[inline(always)]
    pub(crate) fn back<F: Frame>(frame: &F, len: usize) -> Result<Self, Reason> {
        let &Ethernet { destination, source, .. } = frame.at(0).ok_or(Reason::Truncated)?;
        if (destination[0] | source[0]) & 1 != 0 {
            return Err(Reason::BadSource);
        }
        Self::new(frame, len, source, destination)
    }

    #[inline(always)]
    pub(crate) fn new<F: Frame>(
        frame: &F,
        len: usize,
        destination: [u8; 6],
        source: [u8; 6],
    ) -> Result<Self, Reason> {
        let mut bytes = *frame.at::<[u8; LONGEST]>(0).ok_or(Reason::Truncated)?;
        bytes[..6].copy_from_slice(&destination);
        bytes[6..12].copy_from_slice(&source);
        Ok(Self { bytes, len })
    }

    /// Writes it to the frame's start.
    #[inline(always)]
    pub(crate) fn put<F: Frame>(&self, frame: &mut F) -> Option<()> {
        match self.len {
            PLAIN => self.put_bytes::<F, PLAIN>(frame),
            TAGGED => self.put_bytes::<F, TAGGED>(frame),
            _ => self.put_bytes::<F, LONGEST>(frame),
        }
    }

    #[inline(always)]
    fn put_bytes<F: Frame, const LEN: usize>(&self, frame: &mut F) -> Option<()> {
        frame.at_mut::<[u8; LEN]>(0)?.copy_from_slice(&self.bytes[..LEN]);
        Some(())
    }
}

/// Swaps the Ethernet addresses in place.
///
/// # Errors
/// As [`Link::back`].
#[inline(always)]
pub(crate) fn swap_macs<F: Frame>(frame: &mut F) -> Result<(), Reason> {
    let ethernet: &mut Ethernet = frame.at_mut(0).ok_or(Reason::Truncated)?;
    let Ethernet { destination, source, .. } = *ethernet;
    if (destination[0] | source[0]) & 1 != 0 {
        return Err(Reason::BadSource);
    }
    (ethernet.destination, ethernet.source) = (source, destination);
    Ok(())
}

/// Turns the packet whose IPv4 header starts at `offset` into an ICMP error about it; `message` lacks its checksum. All that
/// [`may_answer_v4`] and the bucket say is settled before, and the packet is no fragment but the first and no ICMP error.
///
/// # Errors
/// Why it must be dropped.
#[inline(always)]
pub(crate) fn error_v4<F: Frame>(frame: &mut F, offset: usize, message: Icmp) -> Result<(), Reason> {
    let link = Link::back(frame, offset)?;
    let ip: Ipv4 = *frame.at(offset).ok_or(Reason::Truncated)?;
    let words = make_room::<F, HEAD_V4, QUOTED_V4>(frame, offset, usize::from(ip.total_len.get()))?;
    let head = icmp_sum(message);
    let sum = sum::<F, QUOTED_V4>(frame, offset + HEAD_V4, words).ok_or(Reason::Truncated)?;
    let checksum = !checksum::fold_long(head + sum);
    let len = (HEAD_V4 + words * 4) as u16;
    link.put(frame).ok_or(Reason::Truncated)?;
    *frame.at_mut(offset).ok_or(Reason::Truncated)? =
        ipv4_header(CONTROL, len, ICMP, ip.destination, ip.source);
    *frame.at_mut(offset + size_of::<Ipv4>()).ok_or(Reason::Truncated)? =
        Icmp { checksum: checksum.to_ne_bytes(), ..message };
    Ok(())
}

/// The same for IPv6.
///
/// # Errors
/// As [`error_v4`].
#[inline(always)]
pub(crate) fn error_v6<F: Frame>(frame: &mut F, offset: usize, message: Icmp) -> Result<(), Reason> {
    let link = Link::back(frame, offset)?;
    let ip: Ipv6 = *frame.at(offset).ok_or(Reason::Truncated)?;
    let whole = size_of::<Ipv6>() + usize::from(ip.payload_len.get());
    let words = make_room::<F, HEAD_V6, QUOTED_V6>(frame, offset, whole)?;
    let len = (size_of::<Icmp>() + words * 4) as u16;
    let head = icmp_sum(message) + pseudo_v6(&ip.source, &ip.destination, len, ICMPV6);
    let sum = sum::<F, QUOTED_V6>(frame, offset + HEAD_V6, words).ok_or(Reason::Truncated)?;
    let checksum = !checksum::fold_long(head + sum);
    link.put(frame).ok_or(Reason::Truncated)?;
    *frame.at_mut(offset).ok_or(Reason::Truncated)? =
        ipv6_header(len, ICMPV6, TTL, ip.destination, ip.source);
    *frame.at_mut(offset + size_of::<Ipv6>()).ok_or(Reason::Truncated)? =
        Icmp { checksum: checksum.to_ne_bytes(), ..message };
    Ok(())
}

/// Puts `HEAD` bytes before the packet at `offset` and cuts it to whole words, at most `QUOTED`. Returns their number. The
/// packet's bytes beyond a frame's first buffer are not quoted.
#[inline(always)]
fn make_room<F: Frame, const HEAD: usize, const QUOTED: usize>(
    frame: &mut F,
    offset: usize,
    packet_len: usize,
) -> Result<usize, Reason> {
    let there = frame.len().saturating_sub(offset).min(packet_len);
    let words = (there / 4).min(QUOTED);
    frame.extend_front(HEAD as i32).ok_or(Reason::NoHeadroom)?;
    frame.truncate(offset + HEAD + words * 4).ok_or(Reason::Truncated)?;
    Ok(words)
}

/// An IPv4 header without options, of a packet that must not be fragmented and so needs no identification (RFC 6864).
#[inline(always)]
pub(crate) fn ipv4_header(tos: u8, len: u16, protocol: u8, source: [u8; 4], destination: [u8; 4]) -> Ipv4 {
    let header = Ipv4 {
        version_ihl: 0x45,
        tos,
        total_len: Be16::new(len),
        id: Be16::new(0),
        flags_offset: Be16::new(Ipv4::DF),
        ttl: TTL,
        protocol,
        checksum: [0; 2],
        source,
        destination,
    };
    let [a, b] = header.total_len.0;
    let [c, d] = header.flags_offset.0;
    let words = [[0x45, tos, a, b], [0, 0, c, d], [TTL, protocol, 0, 0], source, destination];
    let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    Ipv4 { checksum: (!checksum::fold64(sum)).to_ne_bytes(), ..header }
}

/// An IPv6 header of the default traffic class and flow.
#[inline(always)]
pub(crate) fn ipv6_header(
    payload_len: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
) -> Ipv6 {
    Ipv6 {
        version_class_label: [0x60, 0, 0, 0],
        payload_len: Be16::new(payload_len),
        next_header,
        hop_limit,
        source,
        destination,
    }
}

/// The unfolded sum of the pseudo header of RFC 9293, section 3.1.
#[inline(always)]
pub(crate) fn pseudo_v4(source: &[u8; 4], destination: &[u8; 4], len: u16, protocol: u8) -> u64 {
    let [a, b] = len.to_be_bytes();
    let words = [*source, *destination, [0, protocol, a, b]];
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// The unfolded sum of the pseudo header of RFC 8200, section 8.1.
#[inline(always)]
pub(crate) fn pseudo_v6(source: &[u8; 16], destination: &[u8; 16], len: u16, protocol: u8) -> u64 {
    let halves = |address: &[u8; 16]| -> u64 {
        let words = words_v6(*address).map(u64::to_le_bytes);
        words
            .map(|[a, b, c, d, e, f, g, h]| {
                u64::from(u32::from_ne_bytes([a, b, c, d])) + u64::from(u32::from_ne_bytes([e, f, g, h]))
            })
            .iter()
            .sum()
    };
    let [a, b] = len.to_be_bytes();
    let tail =
        u64::from(u32::from_ne_bytes([0, 0, a, b])) + u64::from(u32::from_ne_bytes([0, 0, 0, protocol]));
    halves(source) + halves(destination) + tail
}

/// The unfolded sum of an ICMP header without its checksum.
#[inline(always)]
fn icmp_sum(message: Icmp) -> u64 {
    let first = u32::from_ne_bytes([message.kind, message.code, 0, 0]);
    u64::from(first) + u64::from(u32::from_ne_bytes(message.rest))
}

/// The unfolded sum of `words` words of four bytes from `at` on, at most `MOST` of them. `None` where the frame ends before.
#[inline(always)]
pub(crate) fn sum<F: Frame, const MOST: usize>(frame: &F, at: usize, words: usize) -> Option<u64> {
    let mut sum = 0;
    for word in 0..MOST {
        if word >= words {
            break;
        }
        sum += u64::from(u32::from_ne_bytes(*frame.at::<[u8; 4]>(at + word * 4)?));
    }
    Some(sum)
}
