//! The backend's side: takes the outer header off a packet that a tunnel ends for here.
//!
//! ```text
//! before   | Ethernet, tags | outer IP | inner IP ...
//! after    | Ethernet, tags | inner IP ...              (then the kernel gets it)
//! ```
//!
//! All four combinations of IPv4 and IPv6. The congestion mark of the outer header goes over to the inner one as
//! RFC 6040, section 4.2, says.

use lb_common::abi::{DecapOutcome, Reason};
use lb_common::checksum;
use lb_common::headers::{Be16, Ethernet, Ipv4, Ipv6};
use network_types::ip::IpProto;

use crate::{Frame, ether_type, parse};

const IPV4: u8 = IpProto::Ipv4 as u8;
const IPV6: u8 = IpProto::Ipv6 as u8;

/// What user space has decided for the backend's side. IPv4 addresses are given as `::ffff:a.b.c.d`.
pub trait DecapTables {
    /// Whether a tunnel may end at this address.
    fn is_local(&self, address: &[u8; 16]) -> bool;

    /// Whether packets from this tunnel source are taken.
    fn accepts(&self, source: &[u8; 16]) -> bool;
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
    /// Protocol number of the inner packet.
    inner: u8,
    ecn: u8,
    /// Where the inner packet starts.
    end: usize,
}

#[inline(always)]
fn try_decapsulate<F: Frame, T: DecapTables>(frame: &mut F, tables: &T) -> Result<(), DecapOutcome> {
    let (ether_type, offset) = parse::link(frame).map_err(|_| DecapOutcome::NotTunnel)?;
    let outer = match ether_type {
        ether_type::IPV4 => outer_v4(frame, offset)?,
        ether_type::IPV6 => outer_v6(frame, offset)?,
        _ => return Err(DecapOutcome::NotTunnel),
    };
    if !tables.is_local(&outer.destination) {
        return Err(DecapOutcome::NotTunnel);
    }
    if !tables.accepts(&outer.source) {
        return Err(DecapOutcome::ForeignSource);
    }
    let inner_type = if outer.inner == IPV4 {
        mark_v4(frame, &outer)?;
        ether_type::IPV4
    } else {
        mark_v6(frame, &outer)?;
        ether_type::IPV6
    };
    remove(frame, offset, outer.end - offset, inner_type)
}

#[inline(always)]
fn outer_v4<F: Frame>(frame: &F, offset: usize) -> Result<Outer, DecapOutcome> {
    let ip = frame.at::<Ipv4>(offset).ok_or(DecapOutcome::NotTunnel)?;
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let is_tunnel = ip.protocol == IPV4 || ip.protocol == IPV6;
    if !is_tunnel || ip.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() {
        return Err(DecapOutcome::NotTunnel);
    }
    if ip.flags_offset.get() & Ipv4::FRAGMENT != 0 {
        return Err(DecapOutcome::Fragment);
    }
    Ok(Outer {
        source: mapped(ip.source),
        destination: mapped(ip.destination),
        inner: ip.protocol,
        ecn: ip.tos & 3,
        end: offset + header_len,
    })
}

#[inline(always)]
fn outer_v6<F: Frame>(frame: &F, offset: usize) -> Result<Outer, DecapOutcome> {
    let ip = frame.at::<Ipv6>(offset).ok_or(DecapOutcome::NotTunnel)?;
    // Linux puts a tunnel encapsulation limit (RFC 2473, section 4.1.1) into a destination options header.
    let (inner, end) = match parse::extensions(frame, ip.next_header, offset + size_of::<Ipv6>()) {
        Ok(found) => found,
        Err(Reason::Fragment) => return Err(DecapOutcome::Fragment),
        Err(_) => return Err(DecapOutcome::NotTunnel),
    };
    if inner != IPV4 && inner != IPV6 {
        return Err(DecapOutcome::NotTunnel);
    }
    Ok(Outer { source: ip.source, destination: ip.destination, inner, ecn: ip.traffic_class() & 3, end })
}

/// Checks the inner IPv4 header and writes its congestion mark.
#[inline(always)]
fn mark_v4<F: Frame>(frame: &mut F, outer: &Outer) -> Result<(), DecapOutcome> {
    let whole = frame.whole_len();
    let ip = frame.at_mut::<Ipv4>(outer.end).ok_or(DecapOutcome::Malformed)?;
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let len = usize::from(ip.total_len.get());
    let sane = ip.version_ihl >> 4 == 4 && header_len >= size_of::<Ipv4>() && len >= header_len;
    if !sane || outer.end + len > whole {
        return Err(DecapOutcome::Malformed);
    }
    let ecn = combine(ip.tos & 3, outer.ecn).ok_or(DecapOutcome::Congestion)?;
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
fn mark_v6<F: Frame>(frame: &mut F, outer: &Outer) -> Result<(), DecapOutcome> {
    let whole = frame.whole_len();
    let ip = frame.at_mut::<Ipv6>(outer.end).ok_or(DecapOutcome::Malformed)?;
    let len = size_of::<Ipv6>() + usize::from(ip.payload_len.get());
    if ip.version_class_label[0] >> 4 != 6 || outer.end + len > whole {
        return Err(DecapOutcome::Malformed);
    }
    let ecn = combine(ip.traffic_class() & 3, outer.ecn).ok_or(DecapOutcome::Congestion)?;
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
const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
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
