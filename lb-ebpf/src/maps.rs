//! The balancer's maps, and the [`Tables`] that read them. Sizes given here are the smallest that load; user space sets
//! the configured ones.
//!
//! All arrays but the per-CPU ones are mapped into user space, which publishes by aligned stores of single words. Every
//! lookup of an array is inlined by the kernel; none is a helper call.

use core::cell::Cell;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, PerCpuArray};
use lb_common::abi::{Counters, Dest, Directory, Place, REASON_COUNT, RingPage, Target, Trace};
use lb_ebpf::Tables;

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
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(64, 0);

/// What becomes of the choices made for a packet.
pub(crate) trait Recorder {
    fn count(&self, dest: u32, bytes: u64, new_flow: bool);
    fn chosen(&self, vip: u32, slot: u32, dest: u32);
}

/// Counts them: the normal case.
pub(crate) struct Counting;

impl Recorder for Counting {
    #[inline(always)]
    fn count(&self, dest: u32, bytes: u64, new_flow: bool) {
        if let Some(counters) = COUNTERS.get_ptr_mut(dest) {
            // SAFETY: the pointer is this CPU's value, which nothing else writes while the program runs here.
            let counters = unsafe { &mut *counters };
            counters.packets += 1;
            counters.bytes += bytes;
            counters.new_flows += u64::from(new_flow);
        }
    }

    #[inline(always)]
    fn chosen(&self, _vip: u32, _slot: u32, _dest: u32) {}
}

/// Remembers them for the asker of a test run, and changes nothing.
pub(crate) struct Tracing {
    pub(crate) trace: Cell<Trace>,
}

impl Recorder for Tracing {
    #[inline(always)]
    fn count(&self, _dest: u32, _bytes: u64, _new_flow: bool) {}

    #[inline(always)]
    fn chosen(&self, vip: u32, slot: u32, dest: u32) {
        self.trace.set(Trace { vip, slot, dest, ..self.trace.get() });
    }
}

/// Counts a pass or a drop.
#[inline(always)]
pub(crate) fn count_reason(reason: u32) {
    if let Some(count) = REASONS.get_ptr_mut(reason) {
        // SAFETY: as in `Counting::count`.
        unsafe { *count += 1 };
    }
}

/// The maps as the story reads them.
pub(crate) struct KernelTables<R>(pub(crate) R);

impl<R: Recorder> Tables for KernelTables<R> {
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

    #[inline(always)]
    fn count(&self, dest: u32, bytes: u64, new_flow: bool) {
        self.0.count(dest, bytes, new_flow);
    }

    #[inline(always)]
    fn chosen(&self, vip: u32, slot: u32, dest: u32) {
        self.0.chosen(vip, slot, dest);
    }
}
