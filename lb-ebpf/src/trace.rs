//! The request for a trace that a test run puts in front of its packet, in the XDP metadata area.

use aya_ebpf::programs::XdpContext;
use lb_common::abi::Trace;

/// The request, when there is one. Traffic never has metadata here: drivers hand packets over without any.
#[inline(always)]
pub(crate) fn trace_request(ctx: &XdpContext) -> Option<Trace> {
    if ctx.metadata() == ctx.data() { None } else { trace_slot(ctx).map(|slot| *slot) }
}

/// Answers a trace in place.
#[inline(always)]
pub(crate) fn answer_trace(ctx: &XdpContext, trace: Trace) {
    if let Some(slot) = trace_slot(ctx) {
        *slot = trace;
    }
}

#[inline(always)]
fn trace_slot(ctx: &XdpContext) -> Option<&mut Trace> {
    let start = ctx.metadata();
    if start + size_of::<Trace>() > ctx.data() {
        return None;
    }
    // SAFETY: the bytes lie within the metadata area, which nothing else refers to; metadata is 4-byte aligned by kernel
    // contract.
    let trace = unsafe { &mut *(start as *mut Trace) };
    if trace.magic == Trace::MAGIC { Some(trace) } else { None }
}
