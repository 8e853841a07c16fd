//! Entry points. `maps.rs`, `decap_maps.rs`, `probe_maps.rs`, `trace.rs`, `xdp.rs` and `skb.rs` are the only files that touch
//! the kernel's interfaces; the story itself is the library.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    panic!("this binary runs in the kernel only; lb-user's build script builds and embeds it");
}

#[cfg(target_arch = "bpf")]
mod decap_maps;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod probe_maps;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod trace;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
    use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
    use aya_ebpf::helpers::{bpf_redirect, bpf_skb_store_bytes, bpf_skb_vlan_pop};
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};
    use lb_common::abi::{PROBE_MAC, Reason, Stage, Trace};
    use lb_ebpf::{Leave, Verdict, balance, decapsulate, is_answer, send_probe, stages, take_answer};

    use crate::decap_maps::{KernelDecapTables, count_outcome};
    use crate::maps::{DEVICES, KernelTables, STAGES, count, count_reason, forget};
    use crate::probe_maps::{KernelProbeTables, peer};
    use crate::skb::SkbFrame;
    use crate::trace::{answer_trace, trace_request};
    use crate::xdp::XdpFrame;

    /// The balancer. Inlined into the entry point that the macro makes: a call between BPF functions costs 7 ns. Packets that
    /// a test run wants explained, and those that need more than most, go on to other programs by tail calls.
    #[xdp(frags)]
    #[inline(always)]
    fn balancer(ctx: XdpContext) -> u32 {
        if trace_request(&ctx).is_some() {
            // SAFETY: the context is the one that the kernel passed in.
            unsafe { STAGES.tail_call(&ctx, Stage::EXPLAIN) };
        }
        match balance(
            &mut XdpFrame::<false>(&ctx),
            &KernelTables { quiet: false },
            ctx.ingress_ifindex() as u32,
        ) {
            Ok(verdict) => {
                count(&verdict);
                leave(verdict.leave)
            }
            Err(reason) => {
                let reason = forget(reason);
                go_on(&ctx, reason, None);
                count_reason(reason);
                stop(reason)
            }
        }
    }

    /// The balancer for a test run that wants to know why, and to change nothing.
    #[xdp(frags)]
    #[inline(always)]
    fn explain(ctx: XdpContext) -> u32 {
        let tables = KernelTables { quiet: true };
        end(&ctx, &tables, balance(&mut XdpFrame::<false>(&ctx), &tables, ctx.ingress_ifindex() as u32), None)
    }

    macro_rules! stage_programs {
        ($($name:ident, $run:ident, $stage:ident;)*) => {
            $(
                #[xdp(frags)]
                #[inline(always)]
                fn $name(ctx: XdpContext) -> u32 {
                    let tables = KernelTables { quiet: trace_request(&ctx).is_some() };
                    let ingress = ctx.ingress_ifindex() as u32;
                    let result = stages::$run(&mut XdpFrame::<true>(&ctx), &tables, ingress);
                    end(&ctx, &tables, result, Some(Stage::$stage))
                }
            )*
        };
    }

    stage_programs! {
        stage_policy, policy, Policy;
        stage_arp, arp, Arp;
        stage_icmp, icmp, Icmp;
        stage_fragment, fragment, Fragment;
        stage_aim, aim, Aim;
        stage_datagram, datagram, Datagram;
        stage_send, send, Send;
        stage_closed, closed, Closed;
        stage_decide, decide, Decide;
        stage_too_big, too_big, TooBig;
    }

    /// Goes on to the reason's stage, if there is one; comes back if not.
    #[inline(always)]
    fn go_on(ctx: &XdpContext, reason: Reason, last: Option<Stage>) {
        if let Some(stage) = stages::next(reason, last) {
            // SAFETY: the context is the one that the kernel passed in.
            unsafe { STAGES.tail_call(ctx, stage as u32) };
        }
    }

    /// How a stage ends.
    #[inline(always)]
    fn end(
        ctx: &XdpContext,
        tables: &KernelTables,
        result: Result<Verdict, Reason>,
        stage: Option<Stage>,
    ) -> u32 {
        match result {
            Ok(verdict) => {
                if tables.quiet {
                    let Verdict { vip, slot, dest, .. } = verdict;
                    answer_trace(ctx, Trace { vip, slot, dest, ..Trace::REQUEST });
                } else {
                    count(&verdict);
                }
                if verdict.leave == Leave::Kernel && !tables.quiet {
                    count_reason(Reason::Oversize);
                }
                leave(verdict.leave)
            }
            Err(reason) => {
                go_on(ctx, reason, stage);
                if tables.quiet {
                    answer_trace(ctx, Trace { reason: reason as u32, ..Trace::REQUEST });
                } else {
                    count_reason(reason);
                }
                stop(reason)
            }
        }
    }

    #[inline(always)]
    fn stop(reason: Reason) -> u32 {
        if reason.is_answer() {
            XDP_TX
        } else if reason.is_drop() {
            XDP_DROP
        } else {
            XDP_PASS
        }
    }

    #[inline(always)]
    fn leave(way: Leave) -> u32 {
        match way {
            Leave::Transmit => XDP_TX,
            Leave::Redirect { device } => DEVICES.redirect(device, 0).unwrap_or(XDP_DROP),
            Leave::Kernel => XDP_PASS,
        }
    }

    /// The backend's side.
    #[xdp(frags)]
    #[inline(always)]
    fn decap(ctx: XdpContext) -> u32 {
        let outcome = decapsulate(&mut XdpFrame::<true>(&ctx), &KernelDecapTables);
        count_outcome(outcome);
        if outcome.is_drop() { XDP_DROP } else { XDP_PASS }
    }

    /// At the outer end of the probe device: sends checks to their backends.
    #[xdp(frags)]
    #[inline(always)]
    fn probe_send(ctx: XdpContext) -> u32 {
        match send_probe(&mut XdpFrame::<true>(&ctx), &KernelProbeTables) {
            // SAFETY: takes no pointers.
            Some(interface) => unsafe { bpf_redirect(interface, 0) as u32 },
            None => XDP_DROP,
        }
    }

    /// At the probe device: hands answers over to the sockets of checks.
    #[xdp(frags)]
    #[inline(always)]
    fn probe_take(ctx: XdpContext) -> u32 {
        match take_answer(&mut XdpFrame::<true>(&ctx), &KernelProbeTables) {
            Some(()) => XDP_PASS,
            None => XDP_DROP,
        }
    }

    /// Where backends' answers arrive: takes those to checks to the probe device, and leaves everything else alone.
    #[classifier]
    #[inline(always)]
    fn probe_find(ctx: TcContext) -> i32 {
        if !is_answer(&SkbFrame(&ctx), &KernelProbeTables) {
            return TC_ACT_UNSPEC;
        }
        // A tag that the card has taken off would make it another device's packet, and this interface's Ethernet address another
        // host's.
        let mac = PROBE_MAC;
        let skb: *mut __sk_buff = ctx.as_ptr().cast();
        // SAFETY: they take the packet that the kernel passed in, and as many bytes as are there.
        unsafe {
            if (*skb).vlan_present != 0 {
                bpf_skb_vlan_pop(skb);
            }
            bpf_skb_store_bytes(skb, 0, mac.as_ptr().cast(), mac.len() as u32, 0);
            bpf_redirect(peer(), 0) as i32
        }
    }

    /// Passes everything. A veth's peer needs an XDP program to receive what `XDP_TX` sends.
    #[xdp(frags)]
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
