//! QUIC connection ids that name a backend, so that a connection survives a new address or port of its client.
//!
//! ```text
//! short header   | flags | destination connection id ...                        (RFC 9000, section 17.3)
//! long header    | flags | version (4) | length | destination connection id ... (RFC 9000, section 17.2)
//! connection id  | configuration (3 bits), anything (5) | server id | nonce ... (QUIC-LB, unencrypted)
//! ```
//!
//! An id counts only where a server has chosen it: the ids of Initial and 0-RTT packets are the client's own.

use lb_common::abi::{Dest, Place, RING_PAGE_SLOTS, Target, ring_pages};
use lb_common::hash;
use lb_common::headers::{Ipv4, Ipv6, Udp};

use crate::parse::{Packet, UDP};
use crate::{Frame, Tables};

const LONG_HEADER: u8 = 0x80;
const VERSION_1: u32 = 1;
/// RFC 9369.
const VERSION_2: u32 = 0x6b33_43cf;

/// The first byte and the version of a long header, and the length of its destination connection id.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct LongHeader {
    flags: u8,
    version: [u8; 4],
    id_len: u8,
}

/// The first bytes of a connection id: as many as can name a server. Packets that are whole have at least so many bytes
/// there, since the payload's authentication tag alone takes 16.
type IdStart = [u8; 9];

/// The index into `DESTS` of the backend whose server id the packet carries, when there is one. The IP header is at
/// `offset`.
#[inline(always)]
pub(crate) fn named_dest<F: Frame, T: Tables, const V6: bool>(
    frame: &F,
    tables: &T,
    target: &Target,
    place: Place,
    offset: usize,
) -> Option<u32> {
    let len = target.flags >> Target::QUIC_LEN_SHIFT & 0xf;
    let start = id_start(frame, udp_at::<F, V6>(frame, offset)? + size_of::<Udp>(), len)?;
    let config_id = target.flags >> Target::QUIC_CONFIG_SHIFT & 7;
    if u32::from(start[0] >> 5) != config_id {
        return None;
    }
    let [_, id @ ..] = start;
    let id = u64::from_le_bytes(id) & hash::server_id_mask(len);
    let pages = 1 << (target.flags >> Target::QUIC_PAGES_SHIFT & 0xf);
    let first_page = place.ring_page.wrapping_add(ring_pages(target.ring_size));
    let at = |slot: u32| {
        let page = tables.ring_page(first_page.wrapping_add(slot / RING_PAGE_SLOTS))?;
        let local = page.slots[(slot % RING_PAGE_SLOTS) as usize];
        let index = place.dest_base.wrapping_add(u32::from(local));
        let dest = tables.dest(index)?;
        if is_named(dest, target.vip, id, len) { Some(index) } else { None }
    };
    let salt = tables.ring_page(first_page)?.slots[0];
    let (one, other) = hash::server_id_slots(id, salt, pages * RING_PAGE_SLOTS);
    at(one).or_else(|| at(other))
}

/// Where the UDP header of a packet is. Read anew, since the other packets need not know any more. Extension headers are
/// not walked again: such packets go by the ring.
#[inline(always)]
fn udp_at<F: Frame, const V6: bool>(frame: &F, offset: usize) -> Option<usize> {
    if V6 {
        let ip: &Ipv6 = frame.at(offset)?;
        return if ip.next_header == UDP { Some(offset + size_of::<Ipv6>()) } else { None };
    }
    let ip: &Ipv4 = frame.at(offset)?;
    if ip.protocol == UDP { Some(offset + usize::from(ip.version_ihl & 0x0f) * 4) } else { None }
}

/// The table may hold anything at a place that is not this id's.
#[inline(always)]
fn is_named(dest: &Dest, vip: u32, id: u64, len: u32) -> bool {
    dest.server_id == id && dest.server_id_len == len && dest.vip == vip && dest.kind != 0
}

/// The connection id of a packet whose QUIC header is at `offset`, unless the client has chosen it or it is too short for
/// a server id of `len` bytes.
#[inline(always)]
fn id_start<F: Frame>(frame: &F, offset: usize, len: u32) -> Option<IdStart> {
    let flags = *frame.at::<u8>(offset)?;
    if flags & LONG_HEADER == 0 {
        return frame.at::<IdStart>(offset + 1).copied();
    }
    let header = frame.at::<LongHeader>(offset)?;
    if is_client_chosen(flags, u32::from_be_bytes(header.version)) || u32::from(header.id_len) <= len {
        return None;
    }
    frame.at::<IdStart>(offset + size_of::<LongHeader>()).copied()
}

/// Whether the destination connection id of a long header may be the client's: in Initial and 0-RTT packets, and for all
/// that is known in those of other versions.
#[inline(always)]
const fn is_client_chosen(flags: u8, version: u32) -> bool {
    let kind = flags >> 4 & 3;
    match version {
        VERSION_1 => kind < 2,
        VERSION_2 => kind == 1 || kind == 2,
        _ => true,
    }
}

/// Whether a packet opens a QUIC connection: a client's Initial packet (RFC 9000, section 17.2.2; RFC 9369, section 3.2).
/// Versions that are not known are taken for drafts of version 1. The fixed bit may have any value (RFC 9287).
#[inline(always)]
pub(crate) fn opens_flow<F: Frame>(frame: &F, packet: &Packet) -> bool {
    if packet.protocol != u64::from(UDP) {
        return false;
    }
    match frame.at::<LongHeader>(packet.layer4() + size_of::<Udp>()) {
        Some(header) => is_initial(header.flags, u32::from_be_bytes(header.version)),
        None => false,
    }
}

/// Version 0 is a server's version negotiation.
#[inline(always)]
const fn is_initial(flags: u8, version: u32) -> bool {
    let initial = if version == VERSION_2 { 1 } else { 0 };
    flags & LONG_HEADER != 0 && version != 0 && flags >> 4 & 3 == initial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_initial_packets_with_a_version_open_a_connection() {
        assert!(is_initial(0xc3, VERSION_1));
        assert!(is_initial(0x83, VERSION_1), "the fixed bit may be greased");
        assert!(is_initial(0xc0, 0xff00_001d), "draft 29");
        assert!(!is_initial(0x43, VERSION_1), "a short header");
        assert!(!is_initial(0xc0, 0), "version negotiation");
        for other in [0xd0, 0xe0, 0xf0] {
            assert!(!is_initial(other, VERSION_1), "0-RTT, handshake, retry");
        }
        assert!(is_initial(0xd0, VERSION_2));
        for other in [0xc0, 0xe0, 0xf0] {
            assert!(!is_initial(other, VERSION_2), "retry, 0-RTT, handshake");
        }
    }
}
