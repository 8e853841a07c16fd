//! An XDP packet as a [`Frame`], and the metadata area in front of it.

use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use bytemuck::Pod;
use lb_common::abi::Trace;
use lb_ebpf::Frame;

/// The packet of one program run. Bounds are read anew for each view, because `adjust_head` moves them.
pub(crate) struct XdpFrame<'a>(pub(crate) &'a XdpContext);

impl XdpFrame<'_> {
    /// The address of `size` bytes at `offset`, when they lie within the packet.
    #[inline(always)]
    fn within(&self, offset: usize, size: usize) -> Option<usize> {
        let start = self.0.data() + offset;
        if start + size > self.0.data_end() { None } else { Some(start) }
    }
}

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.data_end() - self.0.data()
    }

    #[inline(always)]
    fn at<T: Pod>(&self, offset: usize) -> Option<&T> {
        const { assert!(align_of::<T>() == 1) };
        let start = self.within(offset, size_of::<T>())?;
        // SAFETY: the bytes lie within the packet, any bytes are a `T`, and its alignment is 1; the reference borrows the
        // frame, so that it cannot outlive `extend_front`.
        Some(unsafe { &*(start as *const T) })
    }

    #[inline(always)]
    fn at_mut<T: Pod>(&mut self, offset: usize) -> Option<&mut T> {
        const { assert!(align_of::<T>() == 1) };
        let start = self.within(offset, size_of::<T>())?;
        // SAFETY: as in `at`; the frame is borrowed exclusively.
        Some(unsafe { &mut *(start as *mut T) })
    }

    #[inline(always)]
    fn extend_front(&mut self, bytes: i32) -> Option<()> {
        // SAFETY: the context is the one that the kernel passed in.
        let result = unsafe { bpf_xdp_adjust_head(self.0.ctx, -bytes) };
        if result == 0 { Some(()) } else { None }
    }
}

/// The request for a trace that a test run carries in its metadata area. Traffic never has metadata here: drivers hand
/// packets over without any.
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
