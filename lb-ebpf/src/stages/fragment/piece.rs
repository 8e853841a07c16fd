//! Reads what one fragment says about itself, and refuses what no sender would send. Knows nothing of other fragments.

use lb_common::abi::{FragmentKey, Reason, Stretch};
use lb_common::hash;
use lb_common::headers::{Ipv4, Ipv6, Ipv6Fragment, Ports, TcpStart, Udp};

use crate::Frame;
use crate::parse::{self, TCP, UDP};
use crate::stages::upper::Upper;

/// Bytes of a datagram with its headers (RFC 791, section 3.1; RFC 8200, section 4.5).
const LARGEST: usize = 65_535;
/// TCP's first 16 bytes, up to and with the flags, belong into one fragment (RFC 1858, section 3.2.1; RFC 3128).
const TCP_START: usize = 16;
/// An echo request's header.
const ICMP_HEADER: usize = 8;

/// One fragment.
pub(super) struct Piece {
    pub(super) key: FragmentKey,
    /// Not a type parameter: the program's stack holds one record, not one for each family.
    pub(super) is_v6: bool,
    /// Where the IP header starts.
    pub(super) offset: usize,
    /// Its part of the datagram. The protocol is what this fragment says, which for IPv6 counts in the first one only.
    pub(super) upper: Upper,
    pub(super) stretch: Stretch,
    pub(super) is_last: bool,
    /// IPv6: there is nothing between IP and fragment header.
    pub(super) is_plain: bool,
}

/// How a datagram begins.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) protocol: u8,
    /// See [`hash::ports_word`]; 0 where the protocol has none.
    pub(super) ports: u32,
    pub(super) opens_flow: bool,
    /// The upper layer.
    pub(super) upper: Upper,
}

impl Piece {
    #[inline(always)]
    pub(super) const fn is_first(&self) -> bool {
        self.stretch.start == 0
    }

    /// An "atomic fragment" (RFC 6946): all there is.
    #[inline(always)]
    pub(super) const fn is_whole(&self) -> bool {
        self.is_first() && self.is_last
    }

    /// The source as hashes of IPv4 flows take it.
    #[inline(always)]
    pub(super) const fn source_v4(&self) -> u32 {
        let source = &self.key.source;
        u32::from_le_bytes([source[12], source[13], source[14], source[15]])
    }

    #[inline(always)]
    pub(super) const fn destination_v4(&self) -> u32 {
        let destination = &self.key.destination;
        u32::from_le_bytes([destination[12], destination[13], destination[14], destination[15]])
    }
}

/// The fragment whose IPv4 header starts at `offset`.
///
/// # Errors
/// Why it is dropped.
#[inline(always)]
pub(super) fn read_v4<F: Frame>(frame: &F, offset: usize) -> Result<Piece, Reason> {
    let ip: &Ipv4 = frame.at(offset).ok_or(Reason::Truncated)?;
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let len = usize::from(ip.total_len.get());
    let sound = ip.version_ihl >> 4 == 4 && header_len >= size_of::<Ipv4>() && len >= header_len;
    if !sound || !parse::holds(frame, offset + len) {
        return Err(Reason::Truncated);
    }
    let field = ip.flags_offset.get();
    if field & Ipv4::FRAGMENT == 0 {
        return Err(Reason::Fragment);
    }
    let is_last = field & Ipv4::MORE_FRAGMENTS == 0;
    let stretch = stretch(field & Ipv4::OFFSET, len - header_len, header_len, is_last)?;
    let key = FragmentKey {
        source: mapped(ip.source),
        destination: mapped(ip.destination),
        identification: u32::from(ip.id.get()),
        protocol: u32::from(ip.protocol),
    };
    let upper = Upper { protocol: ip.protocol, start: offset + header_len, end: offset + len };
    Ok(Piece { key, is_v6: false, offset, upper, stretch, is_last, is_plain: true })
}

/// The fragment whose IPv6 header starts at `offset`.
///
/// # Errors
/// Why it is dropped, or given to the kernel.
#[inline(always)]
pub(super) fn read_v6<F: Frame>(frame: &F, offset: usize) -> Result<Piece, Reason> {
    let ip: &Ipv6 = frame.at(offset).ok_or(Reason::Truncated)?;
    let start = offset + size_of::<Ipv6>();
    let end = start + usize::from(ip.payload_len.get());
    if ip.version_class_label[0] >> 4 != 6 || !parse::holds(frame, end) {
        return Err(Reason::Truncated);
    }
    let at = parse::fragment_header(frame, ip.next_header, start)?;
    let header: &Ipv6Fragment = frame.at(at).ok_or(Reason::Truncated)?;
    let body = at + size_of::<Ipv6Fragment>();
    if body > end {
        return Err(Reason::Truncated);
    }
    let field = header.offset_more.get();
    let is_last = field & 1 == 0;
    let stretch = stretch(field >> 3, end - body, at - start, is_last)?;
    let key = FragmentKey {
        source: ip.source,
        destination: ip.destination,
        identification: u32::from_be_bytes(header.id),
        protocol: 0,
    };
    let upper = Upper { protocol: header.next_header, start: body, end };
    Ok(Piece { key, is_v6: true, offset, upper, stretch, is_last, is_plain: at == start })
}

/// The stretch that `len` bytes from `start`, in units of 8, take; `headers` are the bytes of the whole datagram's headers.
#[inline(always)]
fn stretch(start: u16, len: usize, headers: usize, is_last: bool) -> Result<Stretch, Reason> {
    let is_whole = start == 0 && is_last;
    let from = usize::from(start) * 8;
    if (len == 0 || !is_last && !len.is_multiple_of(8)) && !is_whole || headers + from + len > LARGEST {
        return Err(Reason::FragmentTiny);
    }
    Ok(Stretch { start, end: ((from + len).div_ceil(8)) as u16 })
}

/// How the datagram of a first fragment begins.
///
/// # Errors
/// [`Reason::FragmentTiny`] when the fragment does not hold all headers (RFC 7112).
#[inline(always)]
pub(super) fn head<F: Frame>(frame: &F, piece: &Piece) -> Result<Head, Reason> {
    let Upper { mut protocol, mut start, end } = piece.upper;
    if piece.is_v6 {
        (protocol, start) = match parse::extensions(frame, protocol, start) {
            // A fragment of a fragment.
            Err(Reason::Fragment) => return Err(Reason::ExtensionHeaders),
            Err(Reason::Truncated) => return Err(Reason::FragmentTiny),
            walked => walked?,
        };
    }
    let upper = Upper { protocol, start, end };
    let needed = match protocol {
        TCP => TCP_START,
        UDP => size_of::<Udp>(),
        _ => ICMP_HEADER,
    };
    if upper.len() < needed {
        return Err(Reason::FragmentTiny);
    }
    let word = |ports: &Ports| hash::ports_word(ports.source, ports.destination);
    let (ports, opens_flow) = match protocol {
        TCP => {
            let tcp: &TcpStart = frame.at(start).ok_or(Reason::Truncated)?;
            (word(&tcp.ports), tcp.flags & (TcpStart::SYN | TcpStart::ACK) == TcpStart::SYN)
        }
        UDP => (word(frame.at(start).ok_or(Reason::Truncated)?), false),
        _ => (0, false),
    };
    Ok(Head { protocol, ports, opens_flow, upper })
}

/// RFC 3128: a second fragment that would overwrite TCP's flags.
#[inline(always)]
pub(super) const fn rewrites_tcp_flags(piece: &Piece) -> bool {
    piece.upper.protocol == TCP && piece.stretch.start == 1
}

/// An IPv4 address as `::ffff:a.b.c.d`.
#[inline(always)]
const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
