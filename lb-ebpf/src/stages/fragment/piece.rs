//! Reads what one fragment says about itself, and refuses what no sender would send. Knows nothing of other fragments.

use lb_common::abi::{FragmentKey, Piece, Reason, Stretch};
use lb_common::hash;
use lb_common::headers::{Icmp, Ipv4, Ipv6, Ipv6Fragment, Ports, TcpStart, Udp};

use crate::Frame;
use crate::parse::{self, ICMP, ICMPV6, TCP, UDP};
use crate::stages::upper::Upper;

/// Bytes of a datagram with its headers (RFC 791, section 3.1; RFC 8200, section 4.5).
const LARGEST: usize = 65_535;
/// TCP's first 16 bytes, up to and with the flags, belong into one fragment (RFC 1858, section 3.2.1; RFC 3128).
const TCP_START: usize = 16;

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
    let piece = Piece {
        key: FragmentKey {
            source: mapped(ip.source),
            destination: mapped(ip.destination),
            identification: u32::from(ip.id.get()),
            protocol: u32::from(ip.protocol),
        },
        stretch: stretch(field & Ipv4::OFFSET, len - header_len, header_len, is_last)?,
        offset: offset as u16,
        is_v6: 0,
        is_last: u8::from(is_last),
        protocol: ip.protocol,
        asks_echo: 0,
        opens_flow: 0,
        reserved: 0,
        ports: 0,
    };
    let upper = Upper { protocol: ip.protocol, start: offset + header_len, end: offset + len };
    let echo =
        if header_len == size_of::<Ipv4>() && ip.protocol == ICMP { Icmp::ECHO_REQUEST } else { NO_ECHO };
    finish(frame, piece, &upper, echo)
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
    let piece = Piece {
        key: FragmentKey {
            source: ip.source,
            destination: ip.destination,
            identification: u32::from_be_bytes(header.id),
            protocol: 0,
        },
        stretch: stretch(field >> 3, end - body, at - start, is_last)?,
        offset: offset as u16,
        is_v6: 1,
        is_last: u8::from(is_last),
        protocol: header.next_header,
        asks_echo: 0,
        opens_flow: 0,
        reserved: 0,
        ports: 0,
    };
    let upper = Upper { protocol: header.next_header, start: body, end };
    let echo = if at == start && header.next_header == ICMPV6 { Icmp::V6_ECHO_REQUEST } else { NO_ECHO };
    if !piece.is_first() {
        return finish(frame, piece, &upper, echo);
    }
    match parse::extensions(frame, header.next_header, body) {
        Ok((protocol, start)) => finish(frame, piece, &Upper { protocol, start, end }, echo),
        // A fragment of a fragment.
        Err(Reason::Fragment) => Err(Reason::ExtensionHeaders),
        // All headers belong into the first fragment (RFC 7112).
        Err(Reason::Truncated) => Err(Reason::FragmentTiny),
        Err(reason) => Err(reason),
    }
}

/// No ICMP type that is asked for.
const NO_ECHO: u8 = 0;

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

/// Adds how the datagram begins, when this is its first fragment. `echo` is the type of an echo request.
///
/// # Errors
/// [`Reason::FragmentTiny`] when a first fragment does not hold the upper layer's header, or another one would overwrite
/// TCP's flags (RFC 3128).
#[inline(always)]
fn finish<F: Frame>(frame: &F, mut piece: Piece, upper: &Upper, echo: u8) -> Result<Piece, Reason> {
    if !piece.is_first() {
        let rewrites_flags = piece.protocol == TCP && piece.stretch.start == 1;
        return if rewrites_flags { Err(Reason::FragmentTiny) } else { Ok(piece) };
    }
    piece.protocol = upper.protocol;
    let needed = match upper.protocol {
        TCP => TCP_START,
        UDP => size_of::<Udp>(),
        _ => size_of::<Icmp>(),
    };
    if upper.len() < needed {
        return Err(Reason::FragmentTiny);
    }
    let word = |ports: &Ports| hash::ports_word(ports.source, ports.destination);
    match upper.protocol {
        TCP => {
            let tcp: &TcpStart = frame.at(upper.start).ok_or(Reason::Truncated)?;
            piece.ports = word(&tcp.ports);
            piece.opens_flow = u8::from(tcp.flags & (TcpStart::SYN | TcpStart::ACK) == TcpStart::SYN);
        }
        UDP => piece.ports = word(frame.at(upper.start).ok_or(Reason::Truncated)?),
        ICMP | ICMPV6 if echo != NO_ECHO => {
            let icmp: &Icmp = frame.at(upper.start).ok_or(Reason::Truncated)?;
            piece.asks_echo = u8::from(icmp.kind == echo);
        }
        _ => {}
    }
    Ok(piece)
}

/// An IPv4 address as `::ffff:a.b.c.d`.
#[inline(always)]
const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
