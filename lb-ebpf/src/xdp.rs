//! An XDP packet as a [`Frame`].

use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use bytemuck::Pod;
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
    fn whole_len(&self) -> usize {
        // SAFETY: the context is the one that the kernel passed in.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as usize }
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

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Option<()> {
        let delta = len as i32 - self.whole_len() as i32;
        if delta > 0 {
            return None;
        }
        // SAFETY: the context is the one that the kernel passed in.
        let result = unsafe { bpf_xdp_adjust_tail(self.0.ctx, delta) };
        if result == 0 { Some(()) } else { None }
    }
}
