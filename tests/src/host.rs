//! The packet story on the host: a frame in a vector, and the tables as the layout's writes leave them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use bytemuck::{Pod, Zeroable};
use lb_common::abi::{
    AccessKey, AccessRule, Aim, Bucket, Dest, Directory, FLOW_WAYS, FlowCounters, Found, FragmentKey,
    FragmentRecord, Interface, InterfaceKey, LOOPBACK_IFINDEX, Lease, LeaseKey, Piece, Place, Policy,
    PolicyCounters, RING_PAGE_SLOTS, Reason, RingPage, Seat, SourceKey, Target, VIP_SLOTS,
};
use lb_ebpf::{FlowEvent, FlowRecords, Frame, PolicyEvent, SharedWord, StageTables, Tables, Verdict, stages};
use lb_user::dataplane::layout::{Capacity, Layout, Write};
use lb_user::dataplane::{access_key, interfaces, lease_key};
use lb_user::state::Forwarding;

use crate::world::{TEST_LINK, links};

/// Room in front of a frame, as drivers leave it (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;

/// A frame with room in front.
#[derive(Clone, Debug)]
pub struct HostFrame {
    bytes: Vec<u8>,
    start: usize,
}

impl HostFrame {
    #[must_use]
    pub fn new(frame: &[u8]) -> Self {
        Self { bytes: [&[0; HEADROOM], frame].concat(), start: HEADROOM }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Frame for HostFrame {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn whole_len(&self) -> usize {
        self.len()
    }

    fn at<T: Pod>(&self, offset: usize) -> Option<&T> {
        let bytes = self.bytes().get(offset..)?.get(..size_of::<T>())?;
        Some(bytemuck::from_bytes(bytes))
    }

    fn at_mut<T: Pod>(&mut self, offset: usize) -> Option<&mut T> {
        let bytes = self.bytes[self.start..].get_mut(offset..)?.get_mut(..size_of::<T>())?;
        Some(bytemuck::from_bytes_mut(bytes))
    }

    fn extend_front(&mut self, bytes: i32) -> Option<()> {
        let start = i64::try_from(self.start).ok()? - i64::from(bytes);
        let start = usize::try_from(start).ok().filter(|start| *start <= self.bytes.len())?;
        self.start = start;
        Some(())
    }

    fn truncate(&mut self, len: usize) -> Option<()> {
        // As the kernel: at least an Ethernet header is left.
        if len > self.len() || len < 14 {
            return None;
        }
        self.bytes.truncate(self.start + len);
        Some(())
    }
}

/// The tables as ordinary vectors.
#[derive(Debug)]
pub struct HostTables {
    directory: Box<Directory>,
    rings: Vec<RingPage>,
    dests: Vec<Dest>,
    policies: HashMap<u32, Policy>,
    access: HashMap<AccessKey, AccessRule>,
    /// Where owners of flows are in `dests`.
    owners: HashMap<u16, u32>,
    interfaces: BTreeMap<InterfaceKey, Interface>,
    leases: HashMap<LeaseKey, Lease>,
    /// What the program remembers.
    memory: Memory,
}

/// State that packets change.
#[derive(Debug, Default)]
struct Memory {
    now_ns: u64,
    /// In a run that must change nothing.
    quiet: Cell<bool>,
    found: Cell<Option<Found>>,
    piece: Cell<Option<Piece>>,
    aim: Cell<Option<Aim>>,
    buckets: RefCell<HashMap<u32, Rc<Cell<u64>>>>,
    flow_buckets: RefCell<HashMap<u32, Rc<Cell<u64>>>>,
    source_buckets: RefCell<HashMap<SourceKey, Rc<Cell<u64>>>>,
    fragments: RefCell<HashMap<FragmentKey, FragmentRecord>>,
    policy_counters: RefCell<HashMap<u32, PolicyCounters>>,
    flows: RefCell<HashMap<u32, Rc<[Cell<u64>; FLOW_WAYS]>>>,
    flow_counters: Cell<FlowCounters>,
    seat: Cell<Option<Seat>>,
}

impl HostTables {
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            directory: bytemuck::zeroed_box(),
            rings: vec![RingPage::zeroed(); capacity.ring_pages as usize],
            dests: vec![Dest::zeroed(); capacity.dests as usize],
            policies: HashMap::new(),
            access: HashMap::new(),
            owners: HashMap::new(),
            interfaces: BTreeMap::new(),
            leases: HashMap::new(),
            memory: Memory::default(),
        }
    }

    /// Tables for `forwarding`, and the layout behind them.
    ///
    /// # Panics
    /// When they are too small.
    #[must_use]
    pub fn filled(capacity: Capacity, forwarding: &Forwarding) -> (Self, Layout) {
        let (layout, writes) = Layout::new(capacity).stage(forwarding).expect("room in the tables");
        let mut tables = Self::new(capacity);
        writes.iter().for_each(|write| tables.write(write));
        tables.elect(&forwarding.elected);
        tables.interfaces = interfaces([TEST_LINK], &links(), layout.places());
        (tables, layout)
    }

    /// Elections are about these addresses.
    pub fn elect(&mut self, elected: &BTreeSet<IpAddr>) {
        let keys: Vec<LeaseKey> = elected.iter().map(|address| lease_key(*address)).collect();
        self.leases.retain(|key, _| keys.contains(key));
        for key in keys {
            self.leases.entry(key).or_default();
        }
    }

    /// Says what an election has to say about an address.
    pub fn set_lease(&mut self, address: IpAddr, lease: Lease) {
        self.leases.insert(lease_key(address), lease);
    }

    /// Carries out one step of a change.
    pub fn write(&mut self, write: &Write) {
        match write {
            Write::Device { .. } => {}
            Write::Owner { owner, dest: None } => drop(self.owners.remove(owner)),
            Write::Owner { owner, dest: Some(index) } => drop(self.owners.insert(*owner, *index)),
            Write::Tracking(tracking) => self.directory.control.tracking = *tracking,
            Write::Settle(retired) => {
                retired.dests.iter().for_each(|dest| self.dests[dest.index as usize] = Dest::zeroed());
                let gone: Vec<_> = retired.lists.iter().map(|retired| retired.list.id).collect();
                self.access.retain(|key, _| !gone.contains(&(key.list & !AccessKey::V4)));
            }
            Write::List(list) => {
                for (prefix, verdict) in list.content.rules() {
                    let rule = AccessRule { verdict, ..AccessRule::default() };
                    self.access.insert(access_key(list.id, prefix), rule);
                }
            }
            Write::Policy { index, policy } => drop(self.policies.insert(*index, **policy)),
            Write::Dest { index, dest } => self.dests[*index as usize] = **dest,
            Write::Ring { page, slots } => {
                for (page, part) in (*page as usize..).zip(slots.chunks(RING_PAGE_SLOTS as usize)) {
                    self.rings[page].slots[..part.len()].copy_from_slice(part);
                }
            }
            Write::Answering(answering) => self.directory.control.answering = *answering,
            Write::Tunnels(tunnels) => self.directory.control.tunnels = **tunnels,
            Write::Seed(seed) => self.directory.control.seed = *seed,
            Write::Place { is_v6: true, index, place } => {
                self.directory.vip6[*index as usize].target.place = place.to_word();
            }
            Write::Place { index, place, .. } => {
                self.directory.vip4[*index as usize].target.place = place.to_word()
            }
            Write::Bank { number, bank } => {
                let slots = (number * VIP_SLOTS) as usize..((number + 1) * VIP_SLOTS) as usize;
                self.directory.vip4[slots.clone()].copy_from_slice(&bank.vip4);
                self.directory.vip6[slots].copy_from_slice(&bank.vip6);
                self.directory.control.salt[*number as usize] = bank.salt;
            }
            Write::Filter(words) => self.directory.control.filter = **words,
            Write::Switch { bank } => self.directory.control.bank = *bank,
        }
    }

    /// Sets the clock.
    pub const fn set_clock(&mut self, now_ns: u64) {
        self.memory.now_ns = now_ns;
    }

    /// What was counted for the vip or route with this number.
    #[must_use]
    pub fn policy_counters(&self, number: u32) -> PolicyCounters {
        self.memory.policy_counters.borrow().get(&number).copied().unwrap_or_default()
    }

    /// Balances one frame that comes in where a test run does.
    pub fn run(&self, frame: &[u8]) -> (Result<Verdict, Reason>, Vec<u8>) {
        let mut frame = HostFrame::new(frame);
        let verdict = stages::run(&mut frame, self, LOOPBACK_IFINDEX);
        (verdict, frame.bytes().to_vec())
    }

    /// The same as a test run that only explains: nothing is remembered, no limit counts.
    pub fn explain(&self, frame: &[u8]) -> (Result<Verdict, Reason>, Vec<u8>) {
        self.memory.quiet.set(true);
        let explained = self.run(frame);
        self.memory.quiet.set(false);
        explained
    }
}

impl Tables for HostTables {
    fn directory(&self) -> Option<&Directory> {
        Some(&self.directory)
    }

    fn place(&self, target: &Target) -> Place {
        Place::from_word(target.place)
    }

    fn ring_page(&self, page: u32) -> Option<&RingPage> {
        self.rings.get(page as usize)
    }

    fn dest(&self, index: u32) -> Option<&Dest> {
        self.dests.get(index as usize)
    }

    fn set_found(&self, found: &Found) {
        self.memory.found.set(Some(*found));
    }
}

/// A word of [`Memory`].
#[derive(Clone, Debug)]
pub struct HostWord(Rc<Cell<u64>>);

impl SharedWord for HostWord {
    fn load(&self) -> u64 {
        self.0.get()
    }

    fn replace(&self, old: u64, new: u64) -> bool {
        self.0.get() == old && self.0.replace(new) == old
    }
}

/// A bucket of [`Memory::flows`].
#[derive(Debug)]
pub struct HostFlows {
    records: Rc<[Cell<u64>; FLOW_WAYS]>,
    quiet: bool,
}

impl FlowRecords for HostFlows {
    fn load(&self, way: usize) -> u64 {
        self.records[way].get()
    }

    fn replace(&self, way: usize, old: u64, new: u64) -> bool {
        self.quiet || (self.records[way].get() == old && self.records[way].replace(new) == old)
    }
}

impl Memory {
    /// `None` in a run that must change nothing.
    fn word<K: std::hash::Hash + Eq>(
        &self,
        words: &RefCell<HashMap<K, Rc<Cell<u64>>>>,
        key: K,
    ) -> Option<HostWord> {
        (!self.quiet.get()).then(|| HostWord(Rc::clone(words.borrow_mut().entry(key).or_default())))
    }
}

impl StageTables for HostTables {
    type Word = HostWord;
    type Flows = HostFlows;

    fn now_ns(&self) -> u64 {
        self.memory.now_ns
    }

    fn exact_now_ns(&self) -> u64 {
        self.memory.now_ns
    }

    fn lease(&self, key: &LeaseKey) -> Option<Lease> {
        self.leases.get(key).copied()
    }

    fn found(&self) -> Option<Found> {
        self.memory.found.get()
    }

    fn interface(&self, key: &InterfaceKey) -> Option<Interface> {
        self.interfaces.get(key).copied()
    }

    fn policy(&self, index: u32) -> Option<&Policy> {
        self.policies.get(&index)
    }

    fn count_policy(&self, vip: u32, event: PolicyEvent) {
        if !self.memory.quiet.get() {
            event.count(self.memory.policy_counters.borrow_mut().entry(vip).or_default());
        }
    }

    fn access(&self, key: &AccessKey) -> Option<AccessRule> {
        let address = u128::from_be_bytes(bytemuck::cast(key.address));
        (AccessKey::LIST_BITS..=key.prefix_len).rev().find_map(|prefix_len| {
            let mask = u128::MAX.checked_shl(AccessKey::BITS - prefix_len).unwrap_or(0);
            let address = bytemuck::cast((address & mask).to_be_bytes());
            self.access.get(&AccessKey { prefix_len, address, ..*key }).copied()
        })
    }

    fn bucket(&self, bucket: Bucket) -> Option<HostWord> {
        self.memory.word(&self.memory.buckets, bucket as u32)
    }

    fn flow_bucket(&self, vip: u32) -> Option<HostWord> {
        self.memory.word(&self.memory.flow_buckets, vip)
    }

    fn source_bucket(&self, key: &SourceKey) -> Option<HostWord> {
        self.memory.word(&self.memory.source_buckets, *key)
    }

    fn set_seat(&self, seat: &Seat) {
        self.memory.seat.set(Some(*seat));
    }

    fn seat(&self) -> Option<Seat> {
        self.memory.seat.get()
    }

    fn flows(&self, bucket: u32) -> Option<HostFlows> {
        let records = Rc::clone(self.memory.flows.borrow_mut().entry(bucket).or_default());
        Some(HostFlows { records, quiet: self.memory.quiet.get() })
    }

    fn owner(&self, owner: u16) -> Option<u32> {
        self.owners.get(&owner).copied()
    }

    fn count_flow(&self, event: FlowEvent) {
        if !self.memory.quiet.get() {
            let mut counters = self.memory.flow_counters.get();
            event.count(&mut counters);
            self.memory.flow_counters.set(counters);
        }
    }

    fn set_aim(&self, aim: &Aim) {
        self.memory.aim.set(Some(*aim));
    }

    fn aim(&self) -> Option<Aim> {
        self.memory.aim.get()
    }

    fn scratch<'r>(&'r self, own: &'r mut FragmentRecord) -> Option<&'r mut FragmentRecord> {
        Some(own)
    }

    fn set_piece(&self, piece: &Piece) {
        self.memory.piece.set(Some(*piece));
    }

    fn piece(&self) -> Option<Piece> {
        self.memory.piece.get()
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord> {
        self.memory.fragments.borrow().get(key).copied()
    }

    fn read_fragment(&self, key: &FragmentKey, into: &mut FragmentRecord) -> bool {
        let found = self.fragment(key);
        found.inspect(|record| *into = *record).is_some()
    }

    fn set_fragment(&self, key: &FragmentKey, record: &FragmentRecord, is_new: bool) -> bool {
        if self.memory.quiet.get() {
            return true;
        }
        let mut fragments = self.memory.fragments.borrow_mut();
        if is_new && fragments.contains_key(key) {
            return false;
        }
        fragments.insert(*key, *record);
        true
    }
}
