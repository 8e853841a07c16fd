//! From a packet with its vip to the backend: slot, dest, outer headers, and the way out.

use lb_common::abi::{
    Dest, EMPTY_SLOT, Found, IN_TRANSITION, LOOPBACK_IFINDEX, Place, RING_PAGE_SLOTS, Reason, Target,
};
use lb_common::flow::Says;
use lb_common::hash;

use crate::encap::Fit;
use crate::exit::{OrExit, exit};
use crate::parse::Packet;
use crate::stages::flow::{note_seat, seat};
use crate::tables::StageTables;
use crate::{Frame, Leave, Tables, Verdict, encap, quic};

/// A packet, its vip, and its place among that vip's flows.
pub(crate) struct Flow<'t> {
    pub(crate) packet: Packet,
    pub(crate) target: &'t Target,
    pub(crate) hash: u32,
    pub(crate) ingress: u32,
}

/// Sends a packet to the dest of its slot. `V6` is the family of the packet, `offset` where its IP header starts.
#[inline(always)]
pub(crate) fn forward<F: Frame, T: StageTables, const V6: bool>(
    frame: &mut F,
    tables: &T,
    flow: &Flow<'_>,
    offset: usize,
) -> Result<Verdict, Reason> {
    let slot = hash::ring_slot(flow.hash, flow.target.ring_size);
    let place = tables.place(flow.target);
    if flow.target.has(Target::QUIC) {
        // A way of its own up to the end: joined with the other again, it would cost that one registers.
        let (slot, index) = match quic::named_dest::<F, T, V6>(frame, tables, flow.target, place, offset) {
            Some(index) => (u32::MAX, index),
            None => (slot, owner_of_flow::<F, T, V6>(frame, tables, flow, offset, (place, slot))?),
        };
        return send::<F, T, V6>(frame, tables, flow, offset, (slot, index));
    }
    let index = owner_of_flow::<F, T, V6>(frame, tables, flow, offset, (place, slot))?;
    send::<F, T, V6>(frame, tables, flow, offset, (slot, index))
}

/// The index into `DESTS` that owns `slot`. In a transition the flow decides, which is noted for the stage that knows flows.
#[inline(always)]
fn owner_of_flow<F: Frame, T: StageTables, const V6: bool>(
    frame: &F,
    tables: &T,
    flow: &Flow<'_>,
    offset: usize,
    (place, slot): (Place, u32),
) -> Result<u32, Reason> {
    let local = local(tables, place, slot)?;
    if local & IN_TRANSITION == 0 {
        return Ok(place.dest_base.wrapping_add(u32::from(local)));
    }
    if local == EMPTY_SLOT {
        return exit(Reason::NoBackend);
    }
    exit(
        note_seat::<F, T, V6>(frame, tables, flow, offset, local)
            .map_or_else(|reason| reason, |()| Reason::FlowSeated),
    )
}

/// Sends an ICMP error about a packet of the flow to the dest of its slot, or in a transition on to the stage that knows its
/// flow. Which connection id the client uses, the quoted packet, a backend's, does not say.
#[inline(always)]
pub(crate) fn follow<F: Frame, T: StageTables, const V6: bool>(
    frame: &mut F,
    tables: &T,
    flow: &Flow<'_>,
    offset: usize,
    key: impl FnOnce() -> u64,
) -> Result<Verdict, Reason> {
    let slot = hash::ring_slot(flow.hash, flow.target.ring_size);
    let place = tables.place(flow.target);
    let index = match local(tables, place, slot)? {
        EMPTY_SLOT => return Err(Reason::NoBackend),
        local if local & IN_TRANSITION != 0 => {
            tables.set_seat(&seat(tables, flow, key(), Says::Quotes, local));
            return Err(Reason::FlowSeated);
        }
        local => place.dest_base.wrapping_add(u32::from(local)),
    };
    send::<F, T, V6>(frame, tables, flow, offset, (slot, index))
}

/// Sends a packet to the dest with this index. One that does not fit the way there is as it came then, and its dest is
/// noted for the stage that answers it.
#[inline(always)]
pub(crate) fn send<F: Frame, T: Tables, const V6: bool>(
    frame: &mut F,
    tables: &T,
    flow: &Flow<'_>,
    offset: usize,
    (slot, index): (u32, u32),
) -> Result<Verdict, Reason> {
    let dest = tables.dest(index).or_exit(Reason::NoDest)?;
    let vip = flow.target.vip;
    let opens_flow = flow.packet.opens_flow != 0;
    match encap::encapsulate::<F, V6>(frame, offset, dest, flow.hash, Fit::Dest) {
        Ok(bytes) => {
            Ok(Verdict { leave: leave(dest, flow.ingress), vip, slot, dest: index, bytes, opens_flow })
        }
        Err(reason) => {
            if reason == Reason::TooBig {
                let opens_flow = u32::from(opens_flow);
                tables.set_found(&Found { dest: index, vip, slot, hash: flow.hash, opens_flow });
            }
            Err(reason)
        }
    }
}

/// What the ring says of `slot`.
#[inline(always)]
pub(crate) fn local<T: Tables>(tables: &T, place: Place, slot: u32) -> Result<u16, Reason> {
    let page = place.ring_page.wrapping_add(slot / RING_PAGE_SLOTS);
    let page = tables.ring_page(page).or_exit(Reason::NoBackend)?;
    Ok(page.slots[(slot % RING_PAGE_SLOTS) as usize])
}

#[inline(always)]
pub(crate) fn leave(dest: &Dest, ingress: u32) -> Leave {
    if dest.ifindex == ingress || ingress == LOOPBACK_IFINDEX {
        Leave::Transmit
    } else {
        Leave::Redirect { device: dest.device }
    }
}
