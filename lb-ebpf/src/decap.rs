//! The backend's side: takes the outer header off a packet that a tunnel ends for here.
//!
//! ```text
//! before   | Ethernet, tags | outer IP | inner IP ...
//! or       | Ethernet, tags | outer IP | UDP | inner IP ...        GUE, variant 1
//! or       | Ethernet, tags | outer IP | UDP | GUE | inner IP ...  GUE, variant 0
//! after    | Ethernet, tags | inner IP ...                         (then the kernel gets it)
//! ```
//!
//! All four combinations of IPv4 and IPv6. The congestion mark of the outer header goes over to the inner one as
//! RFC 6040, section 4.2, says.
//!
//! GUE's UDP checksum is not verified: that takes every byte of the packet, and what comes out is checked by the kernel with
//! checksums of its own (an IPv6 header has none, but its addresses are in the pseudo header). Control messages, flags,
//! optional fields and other payloads than IP are the kernel's business.

use lb_common::abi::{DecapOutcome, Reason};
use lb_common::checksum;
use lb_common::headers::{Be16, Ethernet, Ipv4, Ipv6, Udp};
use network_types::ip::IpProto;

use crate::{Frame, ether_type, parse};

const IPV4: u8 = IpProto::Ipv4 as u8;
const IPV6: u8 = IpProto::Ipv6 as u8;
const UDP: u8 = IpProto::Udp as u8;

/// Bytes of the GUE header without optional fields.
const GUE: usize = 4;

/// What user space has decided for the backend's side. IPv4 addresses are given as `::ffff:a.b.c.d`.
pub trait DecapTables {
    /// Whether a tunnel may end at this address.
    fn is_local(&self, address: &[u8; 16]) -> bool;

    /// Whether packets from this tunnel source are taken.
    fn accepts(&self, source: &[u8; 16]) -> bool;

    /// UDP port on which GUE is taken in; 0: none.
    fn gue_port(&self) -> u16;
}

/// Takes the outer header off one packet. A packet that is not to be dropped and was not decapsulated is untouched.
#[inline(always)]
pub fn decapsulate<F: Frame, T: DecapTables>(frame: &mut F, tables: &T) -> DecapOutcome {
    match try_decapsulate(frame, tables) {
        Ok(()) => DecapOutcome::Decapsulated,
        Err(outcome) => outcome,
    }
}

/// The outer header.
struct Outer {
    source: [u8; 16],
    destination: [u8; 16],
    /// Protocol number of what follows: an inner packet, or UDP.
    protocol: u8,
    ecn: u8,
    /// Where it starts.
    end: usize,
}

/// What a tunnel carries.
struct Inner {
    is_v6: bool,
    /// The congestion mark of the outer header.
    outer_ecn: u8,
    start: usize,
}

#[inline(always)]
fn try_decapsulate<F: Frame, T: DecapTables>(frame: &mut F, tables: &T) -> Result<(), DecapOutcome> {
    let (ether_type, offset) = parse::link(frame).map_err(|_| DecapOutcome::NotTunnel)?;
    let outer = match ether_type {
        ether_type::IPV4 => outer_v4(frame, tables, offset)?,
        ether_type::IPV6 => outer_v6(frame, tables, offset)?,
        _ => return Err(DecapOutcome::NotTunnel),
    };
    if !tables.is_local(&outer.destination) {
        return Err(DecapOutcome::NotTunnel);
    }
    if !tables.accepts(&outer.source) {
        return Err(DecapOutcome::ForeignSource);
    }
    let inner = inner(frame, &outer)?;
    let inner_type = if inner.is_v6 {
        mark_v6(frame, &inner)?;
        ether_type::IPV6
    } else {
        mark_v4(frame, &inner)?;
        ether_type::IPV4
    };
    remove(frame, offset, inner.start - offset, inner_type)
}

#[inline(always)]
fn outer_v4<F: Frame, T: DecapTables>(frame: &F, tables: &T, offset: usize) -> Result<Outer, DecapOutcome> {
    let ip = frame.at::<Ipv4>(offset).ok_or(DecapOutcome::NotTunnel)?;
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let end = offset + header_len;
    let fragment = ip.flags_offset.get() & Ipv4::FRAGMENT;
    if ip.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() {
        return Err(DecapOutcome::NotTunnel);
    }
    // Only the first fragment has a UDP header.
    let is_later = fragment & Ipv4::OFFSET != 0;
    if !is_tunnel(frame, tables, ip.protocol, end) || ip.protocol == UDP && is_later {
        return Err(DecapOutcome::NotTunnel);
    }
    if fragment != 0 {
        return Err(DecapOutcome::Fragment);
    }
    Ok(Outer {
        source: mapped(ip.source),
        destination: mapped(ip.destination),
        protocol: ip.protocol,
        ecn: ip.tos & 3,
        end,
    })
}

#[inline(always)]
fn outer_v6<F: Frame, T: DecapTables>(frame: &F, tables: &T, offset: usize) -> Result<Outer, DecapOutcome> {
    let ip = frame.at::<Ipv6>(offset).ok_or(DecapOutcome::NotTunnel)?;
    // Linux puts a tunnel encapsulation limit (RFC 2473, section 4.1.1) into a destination options header.
    let (protocol, end) = match parse::extensions(frame, ip.next_header, offset + size_of::<Ipv6>()) {
        Ok(found) => found,
        Err(Reason::Fragment) => return Err(DecapOutcome::Fragment),
        Err(_) => return Err(DecapOutcome::NotTunnel),
    };
    if !is_tunnel(frame, tables, protocol, end) {
        return Err(DecapOutcome::NotTunnel);
    }
    Ok(Outer { source: ip.source, destination: ip.destination, protocol, ecn: ip.traffic_class() & 3, end })
}

/// Whether a tunnel begins at `end`, behind an IP header with this protocol.
#[inline(always)]
fn is_tunnel<F: Frame, T: DecapTables>(frame: &F, tables: &T, protocol: u8, end: usize) -> bool {
    match protocol {
        IPV4 | IPV6 => true,
        UDP if tables.gue_port() != 0 => {
            frame.at::<Udp>(end).is_some_and(|udp| udp.ports.destination == tables.gue_port().to_be_bytes())
        }
        _ => false,
    }
}

/// The packet inside the outer header, or inside UDP.
#[inline(always)]
fn inner<F: Frame>(frame: &F, outer: &Outer) -> Result<Inner, DecapOutcome> {
    let inner = |protocol, start| Inner { is_v6: protocol == IPV6, outer_ecn: outer.ecn, start };
    if outer.protocol != UDP {
        return Ok(inner(outer.protocol, outer.end));
    }
    let start = outer.end + size_of::<Udp>();
    let [first, protocol, flags @ ..]: [u8; GUE] = *frame.at(start).ok_or(DecapOutcome::Unsupported)?;
    // Variant 1 is the packet itself: the bits 01, and what they begin is its version.
    match (first, first >> 4) {
        (_, 4) => Ok(inner(IPV4, start)),
        (_, 6) => Ok(inner(IPV6, start)),
        // No control message (0x20), no optional fields (0x1f), no flags.
        (0, _) if flags == [0, 0] && (protocol == IPV4 || protocol == IPV6) => {
            Ok(inner(protocol, start + GUE))
        }
        _ => Err(DecapOutcome::Unsupported),
    }
}

/// Checks the inner IPv4 header and writes its congestion mark.
#[inline(always)]
fn mark_v4<F: Frame>(frame: &mut F, inner: &Inner) -> Result<(), DecapOutcome> {
    let whole = frame.whole_len();
    let ip = frame.at_mut::<Ipv4>(inner.start).ok_or(DecapOutcome::Malformed)?;
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let len = usize::from(ip.total_len.get());
    let sane = ip.version_ihl >> 4 == 4 && header_len >= size_of::<Ipv4>() && len >= header_len;
    if !sane || inner.start + len > whole {
        return Err(DecapOutcome::Malformed);
    }
    let ecn = combine(ip.tos & 3, inner.outer_ecn).ok_or(DecapOutcome::Congestion)?;
    let tos = ip.tos & !3 | ecn;
    if tos != ip.tos {
        let old = u16::from_ne_bytes([ip.version_ihl, ip.tos]);
        let new = u16::from_ne_bytes([ip.version_ihl, tos]);
        ip.checksum = checksum::update(u16::from_ne_bytes(ip.checksum), old, new).to_ne_bytes();
        ip.tos = tos;
    }
    Ok(())
}

/// Checks the inner IPv6 header and writes its congestion mark.
#[inline(always)]
fn mark_v6<F: Frame>(frame: &mut F, inner: &Inner) -> Result<(), DecapOutcome> {
    let whole = frame.whole_len();
    let ip = frame.at_mut::<Ipv6>(inner.start).ok_or(DecapOutcome::Malformed)?;
    let len = size_of::<Ipv6>() + usize::from(ip.payload_len.get());
    if ip.version_class_label[0] >> 4 != 6 || inner.start + len > whole {
        return Err(DecapOutcome::Malformed);
    }
    let ecn = combine(ip.traffic_class() & 3, inner.outer_ecn).ok_or(DecapOutcome::Congestion)?;
    ip.version_class_label[1] = ip.version_class_label[1] & 0xcf | ecn << 4;
    Ok(())
}

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The inner congestion mark behind a tunnel: RFC 6040, figure 4. `None`: drop.
#[inline(always)]
const fn combine(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        _ => Some(inner),
    }
}

/// Takes `len` bytes away behind the first `offset`, an Ethernet header with its tags, which gets a new type.
#[inline(always)]
fn remove<F: Frame>(frame: &mut F, offset: usize, len: usize, ether_type: u16) -> Result<(), DecapOutcome> {
    const TAG: usize = 4;
    const ONE_TAG: usize = size_of::<Ethernet>() + TAG;
    const TWO_TAGS: usize = ONE_TAG + TAG;
    let malformed = DecapOutcome::Malformed;
    let start: [u8; TWO_TAGS] = *frame.at(0).ok_or(malformed)?;
    let (addresses, first, second): ([u8; 12], [u8; TAG], [u8; TAG]) =
        (part(&start, 0), part(&start, 12), part(&start, 16));
    frame.extend_front(-(len as i32)).ok_or(malformed)?;
    *frame.at_mut(0).ok_or(malformed)? = addresses;
    let type_at = match offset {
        TWO_TAGS => {
            *frame.at_mut(12).ok_or(malformed)? = first;
            *frame.at_mut(16).ok_or(malformed)? = second;
            20
        }
        ONE_TAG => {
            *frame.at_mut(12).ok_or(malformed)? = first;
            16
        }
        _ => 12,
    };
    *frame.at_mut::<Be16>(type_at).ok_or(malformed)? = Be16::new(ether_type);
    Ok(())
}

#[inline(always)]
fn part<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    core::array::from_fn(|i| from[at + i])
}

/// An IPv4 address as `::ffff:a.b.c.d`.
#[inline(always)]
pub(crate) const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congestion_marks_combine_as_figure_4_of_rfc_6040_says() {
        let rows = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, expected) in rows {
            assert_eq!(
                [NOT_ECT, ECT_0, ECT_1, CE].map(|outer| combine(inner, outer)),
                expected,
                "inner {inner:02b}"
            );
        }
    }
}
