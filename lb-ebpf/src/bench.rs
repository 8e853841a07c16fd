//! The benchmark's wrapper around the balancer. `BPF_PROG_TEST_RUN` does not reset the frame between its rounds, so the
//! wrapper does: it makes the next flow's packet, calls a target through a tail call from a subprogram, and undoes what
//! the target did. A target's cost is that of the wrapper around it minus that of the wrapper around an empty target.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    panic!("this binary runs in the kernel only");
}

#[cfg(target_arch = "bpf")]
#[path = "bench/card.rs"]
mod card;
#[cfg(target_arch = "bpf")]
#[path = "bench/generator.rs"]
mod generator;
#[cfg(target_arch = "bpf")]
#[path = "bench/sink.rs"]
mod sink;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_TX};
    use aya_ebpf::helpers::{bpf_xdp_adjust_tail, bpf_xdp_store_bytes};
    use aya_ebpf::macros::{map, xdp};
    use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
    use aya_ebpf::programs::XdpContext;
    use lb_common::abi::{BENCH_FRAGMENT, BENCH_HEAD, BenchConfig, BenchSource};
    use lb_common::checksum;
    use lb_common::headers::{Be16, Ethernet, Ipv4, Ipv6};
    use lb_ebpf::Frame;

    use crate::xdp::XdpFrame;

    #[map]
    static BENCH: Array<BenchConfig> = Array::with_max_entries(1, 0);
    #[map]
    static ROUNDS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
    #[map]
    static TARGETS: ProgramArray = ProgramArray::with_max_entries(3, 0);

    const L3: usize = size_of::<Ethernet>();
    /// To the backend that the outer destination address names as well.
    const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

    /// The wrapper.
    #[xdp(frags)]
    fn bench(ctx: XdpContext) -> u32 {
        round(&ctx).unwrap_or(XDP_ABORTED)
    }

    #[inline(always)]
    fn round(ctx: &XdpContext) -> Option<u32> {
        let config = BENCH.get(0)?;
        let frame = &mut XdpFrame::<false>(ctx);
        next_flow(frame, config)?;
        let action = call(ctx, config.target);
        frame.extend_front(-(config.grown as i32))?;
        if config.cut != 0 {
            move_end(ctx, -(config.left as i32))?;
            move_end(ctx, config.cut as i32)?;
        }
        restore(ctx, config)?;
        Some(action)
    }

    /// Gives the packet the next flow's source address.
    #[inline(always)]
    fn next_flow(frame: &mut XdpFrame<false>, config: &BenchConfig) -> Option<()> {
        // Odd: all flows come, each once before any comes again, and none beside the one before.
        const STRIDE: u32 = 0x9e37_79b1;
        let round = ROUNDS.get_ptr_mut(0)?;
        // SAFETY: the pointer is this CPU's value, which nothing else writes while the program runs here.
        let round = unsafe {
            *round = (*round).wrapping_add(1);
            *round
        };
        let flow = round.wrapping_mul(STRIDE) & config.flow_mask;
        if config.source == BenchSource::Ipv4 as u32 {
            let ip = frame.at_mut::<Ipv4>(L3)?;
            ip.source = (flow | 0x0a00_0000).to_be_bytes();
        } else if config.source == BenchSource::Ipv6 as u32 {
            let ip = frame.at_mut::<Ipv6>(L3)?;
            let [a, b, c, d] = flow.to_be_bytes();
            [ip.source[12], ip.source[13], ip.source[14], ip.source[15]] = [a, b, c, d];
        } else if config.source == BenchSource::Fragments as u32 {
            let ip = frame.at_mut::<Ipv4>(L3)?;
            // Rounds count from 1, and runs are of even length.
            let is_first = round & 1 == 1;
            ip.id = Be16::new((round.wrapping_sub(1) >> 1) as u16);
            ip.flags_offset = Be16::new(if is_first { Ipv4::MORE_FRAGMENTS } else { BENCH_FRAGMENT });
        }
        Some(())
    }

    /// A tail call replaces its caller; from a subprogram it returns to the wrapper.
    #[inline(never)]
    fn call(ctx: &XdpContext, target: u32) -> u32 {
        // SAFETY: the context is the one that the kernel passed in.
        unsafe { TARGETS.tail_call(ctx, target) };
        // Opaque, or the compiler would take this for the only result there is.
        core::hint::black_box(XDP_ABORTED)
    }

    /// Moves the frame's end by so many bytes; new ones are zeros.
    #[inline(always)]
    fn move_end(ctx: &XdpContext, bytes: i32) -> Option<()> {
        // SAFETY: the context is the one that the kernel passed in.
        let result = unsafe { bpf_xdp_adjust_tail(ctx.ctx, bytes) };
        if result == 0 { Some(()) } else { None }
    }

    /// Writes back the frame's first bytes.
    #[inline(always)]
    fn restore(ctx: &XdpContext, config: &BenchConfig) -> Option<()> {
        const LAST: u32 = BENCH_HEAD as u32 - 1;
        let len = (config.head_last & LAST) + 1;
        let head = config.head.as_ptr().cast_mut().cast();
        // SAFETY: the context is the one that the kernel passed in, which only reads from `head`, and `len` bytes at most.
        let result = unsafe { bpf_xdp_store_bytes(ctx.ctx, 0, head, len) };
        if result == 0 { Some(()) } else { None }
    }

    /// A target that does nothing.
    #[xdp(frags)]
    fn empty(_ctx: XdpContext) -> u32 {
        XDP_TX
    }

    /// A target that encapsulates without looking anything up.
    #[xdp(frags)]
    fn bare(ctx: XdpContext) -> u32 {
        encapsulate(&ctx).unwrap_or(XDP_ABORTED)
    }

    #[inline(always)]
    fn encapsulate(ctx: &XdpContext) -> Option<u32> {
        let frame = &mut XdpFrame::<false>(ctx);
        if frame.at::<Ethernet>(0)?.ether_type.get() != 0x0800 {
            return None;
        }
        let ip = frame.at::<Ipv4>(L3)?;
        let (tos, len) = (ip.tos, ip.total_len.get() + 20);
        if ip.version_ihl != 0x45 || ip.protocol != 6 {
            return None;
        }
        frame.extend_front(20)?;
        let head = frame.at_mut::<[u8; 34]>(0)?;
        head[..12].copy_from_slice(&ETHERNET);
        let [len_0, len_1] = len.to_be_bytes();
        let fixed = [0x08, 0x00, 0x45, tos, len_0, len_1, 0, 0, 0x40, 0, 64, 4];
        head[12..24].copy_from_slice(&fixed);
        let addresses = [10, 0, 0, 1, 10, 0, 0, 2];
        head[26..].copy_from_slice(&addresses);
        const SUM: u32 = 0x4500 + 0x4000 + 0x4004 + 0x0a00 + 0x0001 + 0x0a00 + 0x0002;
        let sum = checksum::fold(SUM + u32::from(tos) + u32::from(len));
        head[24..26].copy_from_slice(&(!sum).to_be_bytes());
        Some(XDP_TX)
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
