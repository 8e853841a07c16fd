//! An XDP packet as a [`Frame`].

use core::arch::asm;

use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use bytemuck::Pod;
use lb_ebpf::Frame;

/// The packet of one program run. Bounds are read anew for each view, because `adjust_head` moves them.
///
/// `WHOLE`: the length of a frame in several buffers is asked for where it matters. The call that this takes costs registers
/// on ways that never come to it, so the first program does without and leaves such frames to a stage.
pub(crate) struct XdpFrame<'a, const WHOLE: bool>(pub(crate) &'a XdpContext);

impl<const WHOLE: bool> XdpFrame<'_, WHOLE> {
    /// The address of `size` bytes at `offset`, when they lie within the packet.
    #[inline(always)]
    fn within(&self, offset: usize, size: usize) -> Option<usize> {
        let start = self.data() + offset;
        // SAFETY: no packet lies at address 0; said here, so that no view is compared with it.
        unsafe { core::hint::assert_unchecked(start != 0) };
        if start + size > self.data_end() { None } else { Some(start) }
    }

    /// The first byte.
    #[inline(always)]
    fn data(&self) -> usize {
        let start;
        // SAFETY: reads the first field of the context that the kernel passed in. An instruction of our own, because the
        // compiler, which sees that the field has 32 bits, would move the pointer that the verifier makes of it by 32-bit
        // moves, after which it is none any more.
        unsafe {
            asm!(
                "{start} = *(u32 *)({ctx} + 0)",
                start = out(reg) start,
                ctx = in(reg) self.0.ctx,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        start
    }

    /// Behind the last byte.
    #[inline(always)]
    fn data_end(&self) -> usize {
        let end;
        // SAFETY: as in `data`, of the second field.
        unsafe {
            asm!(
                "{end} = *(u32 *)({ctx} + 4)",
                end = out(reg) end,
                ctx = in(reg) self.0.ctx,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        end
    }
}

impl<const WHOLE: bool> Frame for XdpFrame<'_, WHOLE> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.data_end() - self.data()
    }

    #[inline(always)]
    fn whole_len(&self) -> usize {
        if !WHOLE {
            return self.len();
        }
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
