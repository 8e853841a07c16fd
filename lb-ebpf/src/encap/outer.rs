//! An outer IPv4 header that is written already, where a stage needs more of it than the balancer does.

use lb_common::abi::{Dest, DestKind};
use lb_common::checksum;
use lb_common::headers::{Be16, Ipv4};

use super::{ETHERNET, TAGGED};
use crate::Frame;

/// Where the outer IPv4 header starts in the frames of a dest; `None` when there is none.
#[inline(always)]
pub(crate) fn v4_start(kind: u32) -> Option<usize> {
    let is = |kinds: [DestKind; 3]| kinds.iter().any(|other| *other as u32 == kind);
    if is([DestKind::Ipv4, DestKind::UdpIpv4, DestKind::GueIpv4]) {
        Some(ETHERNET)
    } else if is([DestKind::Ipv4Vlan, DestKind::UdpIpv4Vlan, DestKind::GueIpv4Vlan]) {
        Some(TAGGED)
    } else {
        None
    }
}

/// Gives the outer header of a fragment an identification that no other fragment of its datagram has: they share one, which
/// the outer headers have taken over, and a router that fragments these would mix up their pieces (RFC 6864, section 4.1).
/// `start` is where the fragment starts in its datagram, in units of 8 bytes.
#[inline(always)]
pub(crate) fn tell_apart<F: Frame>(frame: &mut F, dest: &Dest, start: u16) {
    let header = match v4_start(dest.kind) {
        Some(ETHERNET) => frame.at_mut::<Ipv4>(ETHERNET),
        Some(_) => frame.at_mut::<Ipv4>(TAGGED),
        None => None,
    };
    let Some(header) = header else { return };
    if header.flags_offset.get() & Ipv4::DF != 0 {
        return;
    }
    let old = header.id;
    header.id = Be16::new(old.get().wrapping_add(start << 3));
    let checksum = u16::from_ne_bytes(header.checksum);
    header.checksum = checksum::update(checksum, old.word(), header.id.word()).to_ne_bytes();
}
