//! The maps of the programs that carry checks, and the [`ProbeTables`] that read them.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap};
use lb_common::abi::{ProbeFlow, ProbeFlowKey, ProbeWay};
use lb_ebpf::ProbeTables;

#[map(name = "PROBE_WAYS")]
static WAYS: Array<ProbeWay> = Array::with_max_entries(1, 0);
#[map(name = "PROBE_FLOWS")]
static FLOWS: LruHashMap<ProbeFlowKey, ProbeFlow> = LruHashMap::with_max_entries(1, 0);

/// The bits of a probe address that are its index in `PROBE_WAYS`. Set when the object is loaded.
#[unsafe(no_mangle)]
static PROBE_MASK: u32 = 0;

/// Interface that answers leave through to arrive at the probe device. Set when the object is loaded.
#[unsafe(no_mangle)]
static PROBE_PEER: u32 = 0;

/// The maps as the story reads them.
pub(crate) struct KernelProbeTables;

impl ProbeTables for KernelProbeTables {
    #[inline(always)]
    fn way(&self, probe: &[u8; 16]) -> Option<&ProbeWay> {
        // SAFETY: a static is valid; volatile, or the compiler would take the value in this file for the one at run time.
        let mask = unsafe { core::ptr::read_volatile(&raw const PROBE_MASK) };
        let [.., a, b, c, d] = *probe;
        let way = WAYS.get(u32::from_be_bytes([a, b, c, d]) & mask)?;
        if way.probe == *probe { Some(way) } else { None }
    }

    #[inline(always)]
    fn flow(&self, key: &ProbeFlowKey) -> Option<ProbeFlow> {
        // SAFETY: the value is copied at once; a check that is given another's record fails once.
        unsafe { FLOWS.get(key).copied() }
    }

    #[inline(always)]
    fn remember(&self, key: &ProbeFlowKey, flow: &ProbeFlow, replace: bool) -> bool {
        let flags = if replace { BPF_ANY } else { BPF_NOEXIST };
        FLOWS.insert(key, flow, u64::from(flags)).is_ok()
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: takes nothing and touches nothing.
        unsafe { bpf_ktime_get_ns() }
    }
}

/// See [`PROBE_PEER`].
#[inline(always)]
pub(crate) fn peer() -> u32 {
    // SAFETY: as for the mask.
    unsafe { core::ptr::read_volatile(&raw const PROBE_PEER) }
}
