//! XDP entry points. `maps.rs`, `decap_maps.rs`, `trace.rs` and `xdp.rs` are the only files that touch the kernel's
//! interfaces; the story itself is the library.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    panic!("this binary runs in the kernel only; lb-user's build script builds and embeds it");
}

#[cfg(target_arch = "bpf")]
mod decap_maps;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod trace;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
    use aya_ebpf::macros::xdp;
    use aya_ebpf::programs::XdpContext;
    use lb_common::abi::{Reason, Trace};
    use lb_ebpf::{Leave, Verdict, balance, decapsulate};

    use crate::decap_maps::{KernelDecapTables, count_outcome};
    use crate::maps::{DEVICES, KernelTables, count, count_reason};
    use crate::trace::{answer_trace, trace_request};
    use crate::xdp::XdpFrame;

    /// The balancer. Inlined into the entry point that the macro makes: a call between BPF functions costs 7 ns.
    #[xdp]
    #[inline(always)]
    fn balancer(ctx: XdpContext) -> u32 {
        match trace_request(&ctx) {
            None => run(&ctx),
            Some(request) => explain(&ctx, request),
        }
    }

    #[inline(always)]
    fn run(ctx: &XdpContext) -> u32 {
        match balance(&mut XdpFrame(ctx), &KernelTables, ctx.ingress_ifindex() as u32) {
            Ok(verdict) => {
                count(&verdict);
                leave(verdict.leave)
            }
            Err(reason) => {
                count_reason(reason);
                stop(reason)
            }
        }
    }

    /// The same for a test run that wants to know why, and to change nothing.
    #[inline(never)]
    fn explain(ctx: &XdpContext, request: Trace) -> u32 {
        let (action, answer) = match balance(&mut XdpFrame(ctx), &KernelTables, ctx.ingress_ifindex() as u32)
        {
            Ok(Verdict { leave: way, vip, slot, dest, .. }) => {
                (leave(way), Trace { vip, slot, dest, ..request })
            }
            Err(reason) => (stop(reason), Trace { reason: reason as u32, ..request }),
        };
        answer_trace(ctx, answer);
        action
    }

    #[inline(always)]
    fn stop(reason: Reason) -> u32 {
        if reason.is_drop() { XDP_DROP } else { XDP_PASS }
    }

    #[inline(always)]
    fn leave(way: Leave) -> u32 {
        match way {
            Leave::Transmit => XDP_TX,
            Leave::Redirect { device } => DEVICES.redirect(device, 0).unwrap_or(XDP_DROP),
        }
    }

    /// The backend's side.
    #[xdp]
    #[inline(always)]
    fn decap(ctx: XdpContext) -> u32 {
        let outcome = decapsulate(&mut XdpFrame(&ctx), &KernelDecapTables);
        count_outcome(outcome);
        if outcome.is_drop() { XDP_DROP } else { XDP_PASS }
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
