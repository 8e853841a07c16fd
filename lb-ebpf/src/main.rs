//! The XDP programs.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// Passes everything. A veth that receives frames by `XDP_TX` or redirect needs a program, and this is the least one.
#[cfg(target_arch = "bpf")]
#[aya_ebpf::macros::xdp]
fn pass(_context: aya_ebpf::programs::XdpContext) -> u32 {
    aya_ebpf::bindings::xdp_action::XDP_PASS
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
