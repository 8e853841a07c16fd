//! The balancer's maps, and the [`Tables`] that read them. Sizes given here are the smallest that load; user space sets
//! the configured ones.
//!
//! All arrays but the per-CPU ones are mapped into user space, which publishes by aligned stores of single words. Every
//! lookup of an array is inlined by the kernel; none is a helper call.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, ProgramArray};
use lb_common::abi::{
    ACCESS_PREFIXES, AccessKey, AccessRule, Aim, BUCKET_COUNT, Bucket, Counters, Dest, Directory,
    FLOW_OWNERS, FLOW_WAYS, FlowBucket, FlowCounters, Found, FragmentKey, FragmentRecord, Interface,
    InterfaceKey, Lease, LeaseKey, MAX_DEVICES, MAX_INTERFACES, MAX_LEASES, PINNED_CLOCK_BUCKET, Piece,
    Place, Policy, PolicyCounters, REASON_COUNT, Reason, RingPage, STAGE_COUNT, Seat, SourceKey, Target,
    VIP_SLOTS,
};
use lb_ebpf::{FlowEvent, FlowRecords, PolicyEvent, SharedWord, StageTables, Tables, Verdict};

/// A map as well: an array of this one value, in a section of its own, which user space maps. The address of such a value
/// stands in the instructions, so that no lookup is needed, nor a register for what is known before it.
#[unsafe(link_section = ".bss.DIRECTORY")]
static mut DIRECTORY: MaybeUninit<Directory> = MaybeUninit::zeroed();
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
#[map]
pub(crate) static STAGES: ProgramArray = ProgramArray::with_max_entries(STAGE_COUNT, 0);
#[map]
static POLICIES: Array<Policy> = Array::with_max_entries(2 * VIP_SLOTS, BPF_F_MMAPABLE);
#[map]
static POLICY_COUNTERS: PerCpuArray<PolicyCounters> = PerCpuArray::with_max_entries(2 * VIP_SLOTS, 0);
#[map]
static ACCESS: LpmTrie<[u8; 20], AccessRule> = LpmTrie::with_max_entries(ACCESS_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static INTERFACES: HashMap<InterfaceKey, Interface> = HashMap::with_max_entries(MAX_INTERFACES, 0);
#[map]
static LEASES: HashMap<LeaseKey, Lease> = HashMap::with_max_entries(MAX_LEASES, 0);
#[map]
static BUCKETS: Array<u64> = Array::with_max_entries(BUCKET_COUNT, 0);
#[map]
static FLOW_BUCKETS: Array<u64> = Array::with_max_entries(2 * VIP_SLOTS, 0);
#[map(name = "SOURCE_BUCKETS")]
static OF_SOURCES: LruHashMap<SourceKey, u64> =
    LruHashMap::with_max_entries(lb_common::abi::SOURCE_BUCKETS, 0);
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SEAT: PerCpuArray<Seat> = PerCpuArray::with_max_entries(1, 0);
#[map]
static PIECE: PerCpuArray<Piece> = PerCpuArray::with_max_entries(1, 0);
#[map]
static AIM: PerCpuArray<Aim> = PerCpuArray::with_max_entries(1, 0);
#[map]
static RECORD: PerCpuArray<FragmentRecord> = PerCpuArray::with_max_entries(1, 0);
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, FragmentRecord> = LruHashMap::with_max_entries(1, 0);

#[map]
static FLOWS: Array<FlowBucket> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static OWNERS: Array<u64> = Array::with_max_entries(FLOW_OWNERS, BPF_F_MMAPABLE);
#[map]
static FLOW_COUNTERS: PerCpuArray<FlowCounters> = PerCpuArray::with_max_entries(1, 0);

const _: () = assert!(size_of::<AccessKey>() == size_of::<Key<[u8; 20]>>());

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

/// Not zero: the clock is what a test has written into [`BUCKETS`]. Set when the object is loaded, so that otherwise the
/// verifier removes the lookup.
#[unsafe(no_mangle)]
static PINNED_CLOCK: u32 = 0;

/// What a test has set the clock to.
#[inline(always)]
fn pinned_clock() -> Option<u64> {
    // SAFETY: a static is valid; volatile, or the compiler would take the value in this file for the one at run time.
    if unsafe { core::ptr::read_volatile(&raw const PINNED_CLOCK) } == 0 {
        return None;
    }
    Some(BUCKETS.get(PINNED_CLOCK_BUCKET).copied().unwrap_or(0))
}

/// The same reason, about which the compiler has forgotten which one it is. It would otherwise carry all that follows from
/// each reason (the action, the stage) in registers through every test on the way of packets that pass them.
#[inline(always)]
pub(crate) fn forget(reason: Reason) -> Reason {
    let mut number = reason as u64;
    // SAFETY: a register moved to itself; and the number is the reason's still.
    unsafe {
        core::arch::asm!("{number} = {number}", number = inlateout(reg) number, options(pure, nomem, nostack, preserves_flags));
        core::mem::transmute::<u32, Reason>(number as u32)
    }
}

/// The maps as the story reads them.
pub(crate) struct KernelTables {
    /// In a test run that must change nothing.
    pub(crate) quiet: bool,
}

impl Tables for KernelTables {
    #[inline(always)]
    fn directory(&self) -> Option<&Directory> {
        let mut directory = &raw const DIRECTORY;
        // SAFETY: a register is left alone, but the compiler has forgotten that nothing in this file writes the value; and any
        // bytes are a `Directory`.
        unsafe {
            core::arch::asm!("# {0}", inout(reg) directory, options(pure, nomem, nostack, preserves_flags));
            Some((*directory).assume_init_ref())
        }
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
    fn set_found(&self, found: &Found) {
        if let Some(place) = FOUND.get_ptr_mut(0) {
            // SAFETY: as in `count`.
            unsafe { *place = *found };
        }
    }
}

impl StageTables for KernelTables {
    type Word = KernelWord;
    type Flows = KernelFlows;

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: takes nothing and touches nothing.
        pinned_clock().unwrap_or_else(|| unsafe { bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn exact_now_ns(&self) -> u64 {
        // SAFETY: as in `now_ns`.
        pinned_clock().unwrap_or_else(|| unsafe { bpf_ktime_get_ns() })
    }

    #[inline(always)]
    fn found(&self) -> Option<Found> {
        FOUND.get(0).copied()
    }

    #[inline(always)]
    fn interface(&self, key: &InterfaceKey) -> Option<Interface> {
        // SAFETY: the value is copied at once; user space replaces it as a whole, and seldom.
        unsafe { INTERFACES.get(key).copied() }
    }

    #[inline(always)]
    fn lease(&self, key: &LeaseKey) -> Option<Lease> {
        // SAFETY: as in `interface`, but that it is replaced often: a value in use may become another address's, whose owner
        // is mostly the same and changes at the same time.
        unsafe { LEASES.get(key).copied() }
    }

    #[inline(always)]
    fn policy(&self, index: u32) -> Option<&Policy> {
        POLICIES.get(index)
    }

    #[inline(always)]
    fn count_policy(&self, vip: u32, event: PolicyEvent) {
        if self.quiet {
            return;
        }
        if let Some(counters) = POLICY_COUNTERS.get_ptr_mut(vip) {
            // SAFETY: as in `count`.
            event.count(unsafe { &mut *counters });
        }
    }

    #[inline(always)]
    fn access(&self, key: &AccessKey) -> Option<AccessRule> {
        // SAFETY: both are a length and twenty bytes of data, without padding, and any bytes are a `Key`.
        let key = unsafe { &*core::ptr::from_ref(key).cast::<Key<[u8; 20]>>() };
        let rule = core::ptr::from_ref(ACCESS.get(key)?).cast_mut();
        // SAFETY: the pointer is a live value of the map, which programs may write; `hits` is only ever used as an atomic.
        unsafe {
            if !self.quiet {
                count_by_halves(&raw mut (*rule).hits);
            }
            Some(AccessRule { verdict: (*rule).verdict, ..AccessRule::default() })
        }
    }

    #[inline(always)]
    fn bucket(&self, bucket: Bucket) -> Option<KernelWord> {
        self.shared(BUCKETS.get_ptr_mut(bucket as u32))
    }

    #[inline(always)]
    fn flow_bucket(&self, vip: u32) -> Option<KernelWord> {
        self.shared(FLOW_BUCKETS.get_ptr_mut(vip))
    }

    #[inline(always)]
    fn source_bucket(&self, key: &SourceKey) -> Option<KernelWord> {
        if self.quiet {
            return None;
        }
        if let Some(known) = OF_SOURCES.get_ptr_mut(key) {
            return self.shared(Some(known));
        }
        // Somebody else may have been faster; then theirs counts.
        let _ = OF_SOURCES.insert(key, 0, u64::from(BPF_NOEXIST));
        self.shared(OF_SOURCES.get_ptr_mut(key))
    }

    #[inline(always)]
    fn set_seat(&self, seat: &Seat) {
        if let Some(place) = SEAT.get_ptr_mut(0) {
            // SAFETY: as in `count`.
            unsafe { *place = *seat };
        }
    }

    #[inline(always)]
    fn seat(&self) -> Option<Seat> {
        SEAT.get(0).copied()
    }

    #[inline(always)]
    fn flows(&self, bucket: u32) -> Option<KernelFlows> {
        Some(KernelFlows { records: FLOWS.get_ptr_mut(bucket)?.cast(), quiet: self.quiet })
    }

    #[inline(always)]
    fn owner(&self, owner: u16) -> Option<u32> {
        // SAFETY: a live map value; volatile, since user space stores this word while packets read it.
        let word = unsafe { OWNERS.get_ptr(u32::from(owner))?.read_volatile() };
        if word == 0 { None } else { Some((word - 1) as u32) }
    }

    #[inline(always)]
    fn count_flow(&self, event: FlowEvent) {
        if self.quiet {
            return;
        }
        if let Some(counters) = FLOW_COUNTERS.get_ptr_mut(0) {
            // SAFETY: as in `count`.
            event.count(unsafe { &mut *counters });
        }
    }

    #[inline(always)]
    fn scratch<'r>(&'r self, _own: &'r mut FragmentRecord) -> Option<&'r mut FragmentRecord> {
        // SAFETY: as in `count`; the story asks for it once a program.
        RECORD.get_ptr_mut(0).map(|record| unsafe { &mut *record })
    }

    #[inline(always)]
    fn set_aim(&self, aim: &Aim) {
        if let Some(place) = AIM.get_ptr_mut(0) {
            // SAFETY: as in `count`.
            unsafe { *place = *aim };
        }
    }

    #[inline(always)]
    fn aim(&self) -> Option<Aim> {
        AIM.get(0).copied()
    }

    #[inline(always)]
    fn set_piece(&self, piece: &Piece) {
        if let Some(place) = PIECE.get_ptr_mut(0) {
            // SAFETY: as in `count`.
            unsafe { *place = *piece };
        }
    }

    #[inline(always)]
    fn piece(&self) -> Option<Piece> {
        PIECE.get(0).copied()
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord> {
        // SAFETY: the value is copied at once; one that another CPU writes meanwhile may be torn, which the story allows for.
        unsafe { FRAGMENTS.get(key).copied() }
    }

    #[inline(always)]
    fn read_fragment(&self, key: &FragmentKey, into: &mut FragmentRecord) -> bool {
        let Some(record) = FRAGMENTS.get_ptr(key) else { return false };
        // SAFETY: as in `fragment`; the copy lies in another map.
        unsafe { *into = *record };
        true
    }

    #[inline(always)]
    fn set_fragment(&self, key: &FragmentKey, record: &FragmentRecord, is_new: bool) -> bool {
        if self.quiet {
            return true;
        }
        let flags = if is_new { BPF_NOEXIST } else { 0 };
        FRAGMENTS.insert(key, record, u64::from(flags)).is_ok()
    }
}

impl KernelTables {
    /// A word that all CPUs share; `None` in a run that must change nothing.
    #[inline(always)]
    fn shared(&self, word: Option<*mut u64>) -> Option<KernelWord> {
        if self.quiet {
            return None;
        }
        word.map(KernelWord)
    }
}

/// A word of a map's value, only used by the atomic instructions below and by volatile reads. Rust's own atomic types have no
/// read-modify-write on this target.
pub(crate) struct KernelWord(*mut u64);

impl SharedWord for KernelWord {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: the pointer is an aligned word of a live map value.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    fn replace(&self, old: u64, new: u64) -> bool {
        let mut found = old;
        // SAFETY: the pointer is an aligned word of a live map value; the instruction (BPF ISA v3, "atomic operations")
        // compares with r0 and leaves what it found there.
        unsafe {
            core::arch::asm!(
                "r0 = cmpxchg_64({place} + 0, r0, {new})",
                place = in(reg) self.0,
                new = in(reg) new,
                inlateout("r0") found,
            );
        }
        found == old
    }
}

/// A live bucket of `FLOWS`, whose records are only ever used as whole words.
pub(crate) struct KernelFlows {
    records: *mut u64,
    /// In a run that must change nothing.
    quiet: bool,
}

impl KernelFlows {
    #[inline(always)]
    fn word(&self, way: usize) -> KernelWord {
        // SAFETY: the masked number is within the bucket.
        KernelWord(unsafe { self.records.add(way & (FLOW_WAYS - 1)) })
    }
}

impl FlowRecords for KernelFlows {
    #[inline(always)]
    fn load(&self, way: usize) -> u64 {
        self.word(way).load()
    }

    #[inline(always)]
    fn replace(&self, way: usize, old: u64, new: u64) -> bool {
        self.quiet || self.word(way).replace(old, new)
    }
}

/// Adds one to a little-endian word that all CPUs share and that is aligned to four bytes only: see [`AccessRule::hits`].
///
/// # Safety
/// `place` is such a word of a live map value that nobody refers to otherwise.
#[inline(always)]
unsafe fn count_by_halves(place: *mut u64) {
    let mut low = 1u32;
    // SAFETY: as demanded of the caller; the instructions (BPF ISA v3, "atomic operations") touch four bytes each.
    unsafe {
        core::arch::asm!(
            "{low} = atomic_fetch_add((u32 *)({place} + 0), {low})",
            place = in(reg) place,
            low = inout(wreg) low,
        );
        if low == u32::MAX {
            core::arch::asm!("lock *(u32 *)({place} + 4) += {one}", place = in(reg) place, one = in(wreg) 1u32);
        }
    }
}
