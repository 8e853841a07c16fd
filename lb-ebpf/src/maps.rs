//! The balancer's maps, and the [`Tables`] that read them. Sizes given here are the smallest that load; user space sets
//! the configured ones.
//!
//! All arrays but the per-CPU ones are mapped into user space, which publishes by aligned stores of single words. Every
//! lookup of an array is inlined by the kernel; none is a helper call.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, PerCpuArray};
use lb_common::abi::{Counters, Dest, Directory, MAX_DEVICES, Place, REASON_COUNT, Reason, RingPage, Target};
use lb_ebpf::{Tables, Verdict};

#[map]
static DIRECTORY: Array<Directory> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static RINGS: Array<RingPage> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static DESTS: Array<Dest> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
#[map]
static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASON_COUNT, 0);
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(MAX_DEVICES, 0);

/// Counts a balanced packet.
#[inline(always)]
pub(crate) fn count(verdict: &Verdict) {
    if let Some(counters) = COUNTERS.get_ptr_mut(verdict.dest) {
        // SAFETY: the pointer is this CPU's value, which nothing else writes while the program runs here.
        let counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += u64::from(verdict.bytes);
        counters.new_flows += u64::from(verdict.opens_flow);
    }
}

/// Counts a packet that was not forwarded.
#[inline(always)]
pub(crate) fn count_reason(reason: Reason) {
    if let Some(count) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: as in `count`.
        unsafe { *count += 1 };
    }
}

/// The maps as the story reads them.
pub(crate) struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn directory(&self) -> Option<&Directory> {
        DIRECTORY.get(0)
    }

    #[inline(always)]
    fn place(&self, target: &Target) -> Place {
        // SAFETY: the reference is valid; volatile, because user space stores this word while packets read it, and the two
        // halves must come from one load.
        Place::from_word(unsafe { core::ptr::read_volatile(&raw const target.place) })
    }

    #[inline(always)]
    fn ring_page(&self, page: u32) -> Option<&RingPage> {
        RINGS.get(page)
    }

    #[inline(always)]
    fn dest(&self, index: u32) -> Option<&Dest> {
        DESTS.get(index)
    }
}
