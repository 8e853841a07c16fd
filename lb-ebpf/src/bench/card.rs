//! For real interfaces: a sink that leaves everybody else's packets alone, what drivers did with live frames, and a program
//! that does nothing.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, raw_tracepoint, xdp};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::{RawTracePointContext, XdpContext};
use lb_common::abi::{Departed, STREAMS, StreamSeen};
use lb_ebpf::offered::Arrival;
use lb_ebpf::recognise::recognise;

use crate::generator::{MADE, OFFER};
use crate::sink::count;
use crate::xdp::XdpFrame;

/// By streams. A value is one core's, since a card spreads a stream's flows over its queues.
#[map(name = "SEEN")]
static STREAMS_SEEN: PerCpuArray<StreamSeen> = PerCpuArray::with_max_entries(STREAMS, 0);
#[map]
static DEPARTED: PerCpuArray<Departed> = PerCpuArray::with_max_entries(1, 0);

/// Counts the generator's packets and drops them. All others go on untouched.
#[xdp(frags)]
fn collect(ctx: XdpContext) -> u32 {
    let Some(offer) = OFFER.get(0) else { return XDP_PASS };
    let Some(arrival) = recognise(&XdpFrame::<false>(&ctx), offer) else { return XDP_PASS };
    count(offer, &arrival);
    see(&arrival);
    XDP_DROP
}

#[inline(always)]
fn see(arrival: &Arrival) {
    let Some(seen) = STREAMS_SEEN.get_ptr_mut(arrival.stream.into()) else { return };
    // SAFETY: the value is this CPU's, and the program does not interrupt itself there.
    let seen = unsafe { &mut *seen };
    let sequence = u64::from(arrival.sequence);
    seen.packets += 1;
    if sequence < seen.next {
        seen.late += 1;
    } else {
        seen.next = sequence + 1;
    }
}

/// Several drivers send frames of XDP only while the interface has a program.
#[xdp(frags)]
fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// `xdp_devmap_xmit(from_dev, to_dev, sent, drops, err)`, called when a bulk of redirected frames was handed to a driver.
///
/// A bulk is handed over on the core and in the softirq section in which its frames were made. So one that holds no more
/// frames than were made here and not yet handed over is the generator's, and one that comes when all are handed over is
/// somebody else's.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
fn departed(ctx: RawTracePointContext) -> i32 {
    let (taken, refused): (i32, i32) = (ctx.arg(2), ctx.arg(3));
    let (taken, refused) = (u64::from(taken as u32), u64::from(refused as u32));
    let (Some(made), Some(all)) = (MADE.get_ptr(0), DEPARTED.get_ptr_mut(0)) else { return 0 };
    // SAFETY: both values are this CPU's, and neither the generator nor another bulk interrupts this one.
    let (made, all) = unsafe { ((*made).packets, &mut *all) };
    if taken + refused <= made.wrapping_sub(all.taken + all.refused) {
        all.taken += taken;
        all.refused += refused;
    }
    0
}
