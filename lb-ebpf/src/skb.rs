//! A packet on its way up in the kernel as a [`Frame`] that can only be read.

use core::arch::asm;

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::TcContext;
use bytemuck::Pod;
use lb_ebpf::Frame;

/// The part of a packet that lies in one piece.
pub(crate) struct SkbFrame<'a>(pub(crate) &'a TcContext);

impl SkbFrame<'_> {
    /// The first byte, and what is behind the last one.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        let (start, end);
        // SAFETY: reads `data` and `data_end` of the `__sk_buff` that the kernel passed in. Instructions of our own, for the
        // reason that `xdp.rs` gives.
        unsafe {
            asm!(
                "{start} = *(u32 *)({ctx} + 76)",
                start = out(reg) start,
                ctx = in(reg) self.0.as_ptr(),
                options(pure, readonly, nostack, preserves_flags),
            );
            asm!(
                "{end} = *(u32 *)({ctx} + 80)",
                end = out(reg) end,
                ctx = in(reg) self.0.as_ptr(),
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        (start, end)
    }
}

impl Frame for SkbFrame<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        let (start, end) = self.bounds();
        end - start
    }

    #[inline(always)]
    fn whole_len(&self) -> usize {
        self.0.len() as usize
    }

    #[inline(always)]
    fn at<T: Pod>(&self, offset: usize) -> Option<&T> {
        const { assert!(align_of::<T>() == 1) };
        let (start, end) = self.bounds();
        let start: usize = start + offset;
        if start + size_of::<T>() > end {
            return None;
        }
        // SAFETY: the bytes lie within the packet, any bytes are a `T`, and its alignment is 1.
        Some(unsafe { &*(start as *const T) })
    }

    #[inline(always)]
    fn at_mut<T: Pod>(&mut self, _offset: usize) -> Option<&mut T> {
        None
    }

    #[inline(always)]
    fn extend_front(&mut self, _bytes: i32) -> Option<()> {
        None
    }

    #[inline(always)]
    fn truncate(&mut self, _len: usize) -> Option<()> {
        None
    }
}
