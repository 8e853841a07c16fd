//! The decapsulation program's maps, and the [`DecapTables`] that read them.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{HashMap, PerCpuArray};
use lb_common::abi::{DECAP_LOCALS, DECAP_OUTCOME_COUNT, DECAP_SOURCES as SOURCES, DecapOutcome};
use lb_ebpf::DecapTables;

#[map(name = "DECAP_LOCALS")]
static LOCAL_ADDRESSES: HashMap<[u8; 16], u32> = HashMap::with_max_entries(DECAP_LOCALS, 0);
#[map(name = "DECAP_SOURCES")]
static TUNNEL_SOURCES: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(SOURCES, BPF_F_NO_PREALLOC);
#[map(name = "DECAP_OUTCOMES")]
static OUTCOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(DECAP_OUTCOME_COUNT, 0);

/// Not zero: only sources in `DECAP_SOURCES` are taken. Set when the object is loaded, so that the verifier removes the
/// lookup where nothing is configured.
#[unsafe(no_mangle)]
static DECAP_CHECK_SOURCES: u32 = 0;

/// UDP port of GUE; 0: none. Set when the object is loaded, as above.
#[unsafe(no_mangle)]
static DECAP_GUE_PORT: u32 = 0;

/// The maps as the story reads them.
pub(crate) struct KernelDecapTables;

impl DecapTables for KernelDecapTables {
    #[inline(always)]
    fn is_local(&self, address: &[u8; 16]) -> bool {
        LOCAL_ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn accepts(&self, source: &[u8; 16]) -> bool {
        // SAFETY: a static is valid; volatile, or the compiler would take the value in this file for the one at run time.
        let check = unsafe { core::ptr::read_volatile(&raw const DECAP_CHECK_SOURCES) };
        check == 0 || TUNNEL_SOURCES.get(Key::new(128, *source)).is_some()
    }

    #[inline(always)]
    fn gue_port(&self) -> u16 {
        // SAFETY: as in `accepts`.
        unsafe { core::ptr::read_volatile(&raw const DECAP_GUE_PORT) as u16 }
    }
}

/// Counts what became of a packet.
#[inline(always)]
pub(crate) fn count_outcome(outcome: DecapOutcome) {
    if let Some(count) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: the pointer is this CPU's value, which nothing else writes while the program runs here.
        unsafe { *count += 1 };
    }
}
