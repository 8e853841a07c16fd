//! XDP entry points. `maps.rs`, `trace.rs` and `xdp.rs` are the only files that touch the kernel's interfaces; the story
//! itself is the library.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    panic!("this binary runs in the kernel only; lb-user's build script builds and embeds it");
}

#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod trace;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
mod programs {
    use core::cell::Cell;

    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
    use aya_ebpf::macros::xdp;
    use aya_ebpf::programs::XdpContext;
    use lb_common::abi::Trace;
    use lb_ebpf::{Verdict, balance};

    use crate::maps::{Counting, DEVICES, KernelTables, Tracing, count_reason};
    use crate::trace::{answer_trace, trace_request};
    use crate::xdp::XdpFrame;

    /// The balancer.
    #[xdp]
    fn balancer(ctx: XdpContext) -> u32 {
        match trace_request(&ctx) {
            None => run(&ctx),
            Some(request) => explain(&ctx, request),
        }
    }

    #[inline(always)]
    fn run(ctx: &XdpContext) -> u32 {
        match balance(&mut XdpFrame(ctx), &KernelTables(Counting), ctx.ingress_ifindex() as u32) {
            Ok(Verdict::Transmit) => XDP_TX,
            Ok(Verdict::Redirect { device }) => redirect(device),
            Ok(Verdict::Pass(reason)) => {
                count_reason(reason as u32);
                XDP_PASS
            }
            Err(reason) => {
                count_reason(reason as u32);
                XDP_DROP
            }
        }
    }

    /// The same for a test run that wants to know why, and to change nothing.
    #[inline(never)]
    fn explain(ctx: &XdpContext, request: Trace) -> u32 {
        let tables = KernelTables(Tracing { trace: Cell::new(request) });
        let (action, reason) = match balance(&mut XdpFrame(ctx), &tables, ctx.ingress_ifindex() as u32) {
            Ok(Verdict::Transmit) => (XDP_TX, u32::MAX),
            Ok(Verdict::Redirect { device }) => (redirect(device), u32::MAX),
            Ok(Verdict::Pass(reason)) => (XDP_PASS, reason as u32),
            Err(reason) => (XDP_DROP, reason as u32),
        };
        answer_trace(ctx, Trace { reason, ..tables.0.trace.get() });
        action
    }

    #[inline(always)]
    fn redirect(device: u32) -> u32 {
        DEVICES.redirect(device, 0).unwrap_or(XDP_DROP)
    }

    /// Passes everything. A veth's peer needs an XDP program to receive what `XDP_TX` sends.
    #[xdp]
    fn pass(_ctx: XdpContext) -> u32 {
        XDP_PASS
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
