//! The packet generator: each run of `generate` makes one packet in a live frame of `BPF_PROG_TEST_RUN` and sends it out of
//! the client's interface. A packet that is not due yet is dropped instead, so that a run waits by running.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_xdp_adjust_tail};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, DevMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{MARK_EVERY, Made, OFFER_LENS, Offer, SPANS, Span};
use lb_ebpf::offered::{self, Turn};

use crate::xdp::XdpFrame;

#[map]
pub(crate) static OFFER: Array<Offer> = Array::with_max_entries(1, 0);
#[map(name = "SPANS")]
static FLOW_SPANS: Array<Span> = Array::with_max_entries(SPANS as u32, 0);
#[map]
pub(crate) static MADE: PerCpuArray<Made> = PerCpuArray::with_max_entries(1, 0);
/// Where packets leave: the client's interface.
#[map]
static CLIENT: DevMap = DevMap::with_max_entries(1, 0);

#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    make(&ctx).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn make(ctx: &XdpContext) -> Option<u32> {
    let offer = OFFER.get(0)?;
    let made = MADE.get_ptr_mut(0)?;
    // SAFETY: the value is this CPU's, and one generator at a time runs on it.
    let made = unsafe { &mut *made };
    if made.packets >= offer.limit {
        return Some(XDP_DROP);
    }
    let mut time_ns = 0;
    if offer.interval_ns != 0 || offer.is_timed != 0 {
        // SAFETY: takes nothing and touches nothing.
        time_ns = unsafe { bpf_ktime_get_ns() };
    }
    if offer.interval_ns != 0 {
        if time_ns < made.due_ns {
            return Some(XDP_DROP);
        }
        // The first packet says when the next ones are due. What comes late is made up for.
        let due = if made.due_ns == 0 { time_ns } else { made.due_ns };
        made.due_ns = due + offer.interval_ns;
    }
    let len = offer.lens[made.next_len as usize & (OFFER_LENS - 1)];
    made.next_len = if made.next_len + 1 < offer.len_count { made.next_len + 1 } else { 0 };
    let longest = offer.longest as u16;
    if len < longest {
        let cut = i32::from(longest - len);
        // SAFETY: the context is the one that the kernel passed in.
        if unsafe { bpf_xdp_adjust_tail(ctx.ctx, -cut) } != 0 {
            return None;
        }
    }
    // SAFETY: takes nothing and touches nothing.
    let stream = unsafe { bpf_get_smp_processor_id() } as u16;
    let turn = Turn { sequence: made.packets as u32, stream, time_ns, len };
    let pick = turn.pick();
    let flow = if offer.is_skewed == 0 {
        offered::flow_of(offer.flows, pick)
    } else {
        offered::flow_in(FLOW_SPANS.get(offered::span_of(pick))?, pick)
    };
    offered::write(&mut XdpFrame::<false>(ctx), offer, &turn, flow)?;
    if made.packets & (MARK_EVERY - 1) == 0 {
        mark(made);
    }
    made.packets += 1;
    made.bytes += u64::from(len);
    Some(CLIENT.redirect(0, 0).unwrap_or(XDP_ABORTED))
}

/// Notes how far it has come by now.
#[inline(always)]
fn mark(made: &mut Made) {
    // SAFETY: takes nothing and touches nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    if made.packets == 0 {
        made.first_ns = now;
    }
    (made.last_ns, made.marked) = (now, made.packets);
}
