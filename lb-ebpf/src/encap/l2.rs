//! Direct server return on one segment: only the frame's MAC addresses and VLAN tag change, and one hop is spent, so that
//! packets which go round in circles end, as IPVS does.

use lb_common::abi::{Dest, DestKind, Reason};
use lb_common::headers::Ethernet;

use super::{ETHERNET, Fit, Inner, TAGGED, V4, V6, make_room, put_ethernet, spend_hop, take};
use crate::Frame;
use crate::exit::{OrExit, exit};

const L2: u32 = DestKind::L2 as u32;
const L2_VLAN: u32 = DestKind::L2Vlan as u32;

/// Rewrites the frame for a dest of an `L2` kind; see [`super::encapsulate`].
#[inline(always)]
pub(super) fn rewrite<F: Frame, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    fit: Fit,
) -> Result<u32, Reason> {
    if goes_in_circles(frame, dest) {
        return exit(Reason::Loop);
    }
    match (dest.kind, INNER_V6) {
        (L2, false) => behind::<F, ETHERNET, { ETHERNET + V4 }, false>(frame, offset, dest, fit),
        (L2, true) => behind::<F, ETHERNET, { ETHERNET + V6 }, true>(frame, offset, dest, fit),
        (L2_VLAN, false) => behind::<F, TAGGED, { TAGGED + V4 }, false>(frame, offset, dest, fit),
        (L2_VLAN, true) => behind::<F, TAGGED, { TAGGED + V6 }, true>(frame, offset, dest, fit),
        _ => exit(Reason::NoDest),
    }
}

/// Whether the frame was sent by this balancer, or by the very backend that it would go to.
#[inline(always)]
fn goes_in_circles<F: Frame>(frame: &F, dest: &Dest) -> bool {
    let Some(ethernet) = frame.at::<Ethernet>(0) else { return false };
    let [backend, own]: [[u8; 6]; 2] = [take(&dest.head, 0), take(&dest.head, 6)];
    ethernet.source == own || ethernet.source == backend
}

/// Puts the dest's `L2` bytes of Ethernet in front of the IP header: `ALL` bytes together.
#[inline(always)]
fn behind<F: Frame, const L2: usize, const ALL: usize, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    fit: Fit,
) -> Result<u32, Reason> {
    // Before any byte moves: where a tag goes, nobody gives it back.
    let len = if INNER_V6 {
        Inner::read::<V6, true>(frame.at(offset).or_exit(Reason::Truncated)?, 0).len
    } else {
        Inner::read::<V4, false>(frame.at(offset).or_exit(Reason::Truncated)?, 0).len
    };
    if fit.is_missed(len, dest) {
        return exit(Reason::TooBig);
    }
    let all: &mut [u8; ALL] = make_room(frame, L2, offset)?;
    spend_hop::<ALL, INNER_V6>(all, L2)?;
    put_ethernet::<L2, ALL>(all, dest);
    Ok(len)
}
