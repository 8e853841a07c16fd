//! What user space has decided, as the story reads it, and the little that the story itself remembers.

use lb_common::abi::{
    AccessKey, AccessRule, Aim, Bucket, Dest, Directory, FlowCounters, Found, FragmentKey, FragmentRecord,
    Interface, InterfaceKey, Lease, LeaseKey, Piece, Place, Policy, PolicyCounters, RingPage, Seat,
    SourceKey, Target,
};

/// The tables behind a packet's way. Every lookup that finds nothing is a valid state, never a defect of the packet.
pub trait Tables {
    fn directory(&self) -> Option<&Directory>;

    /// The target's ring and dests, read at once: user space may move them at any moment.
    fn place(&self, target: &Target) -> Place;

    fn ring_page(&self, page: u32) -> Option<&RingPage>;

    fn dest(&self, index: u32) -> Option<&Dest>;

    /// Notes the dest that this packet does not fit, for the stage that comes next.
    fn set_found(&self, found: &Found);
}

/// What stages read and remember beyond [`Tables`]; of this, the balancer only notes where a flow is whose slot has changed
/// hands. In a run that must change nothing, what is remembered is read, and
/// writes are left out.
pub trait StageTables: Tables {
    type Word: SharedWord;
    type Flows: FlowRecords;

    /// A clock that never goes back, in nanoseconds; it may step by some milliseconds.
    fn now_ns(&self) -> u64;

    /// The same clock to the nanosecond; reading it takes longer.
    fn exact_now_ns(&self) -> u64;

    /// What this packet's program before has noted.
    fn found(&self) -> Option<Found>;

    fn interface(&self, key: &InterfaceKey) -> Option<Interface>;

    /// What an election has to say about an address.
    fn lease(&self, key: &LeaseKey) -> Option<Lease>;

    /// A policy, by [`Target::policy`].
    fn policy(&self, index: u32) -> Option<&Policy>;

    /// Counts for a vip with a policy.
    fn count_policy(&self, vip: u32, event: PolicyEvent);

    /// The rule with the longest prefix that holds the key's address; counts a hit.
    fn access(&self, key: &AccessKey) -> Option<AccessRule>;

    /// The time at which the next answer of this kind conforms. `None` in a run that must change nothing.
    fn bucket(&self, bucket: Bucket) -> Option<Self::Word>;

    /// The same for new flows of a vip.
    fn flow_bucket(&self, vip: u32) -> Option<Self::Word>;

    /// The same for new flows of a source prefix, which is remembered when it is new.
    fn source_bucket(&self, key: &SourceKey) -> Option<Self::Word>;

    /// Notes what a fragment says about itself, for the stage that comes next.
    fn set_piece(&self, piece: &Piece);

    /// What this fragment's program before has noted.
    fn piece(&self) -> Option<Piece>;

    /// A datagram under way.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord>;

    /// Notes where a flow is in the tables, for the stage that comes next.
    fn set_seat(&self, seat: &Seat);

    /// What this packet's program before has noted.
    fn seat(&self) -> Option<Seat>;

    /// A bucket of the flow cache.
    fn flows(&self, bucket: u32) -> Option<Self::Flows>;

    /// The index into `DESTS` of an owner of flows; `None` when flows cannot go on there any more.
    fn owner(&self, owner: u16) -> Option<u32>;

    /// Counts what became of a packet of a slot in transition.
    fn count_flow(&self, event: FlowEvent);

    /// The same, copied to `into`; `false`: there is none.
    fn read_fragment(&self, key: &FragmentKey, into: &mut FragmentRecord) -> bool;

    /// Notes what a fragment is taken for, for the stage that comes next.
    fn set_aim(&self, aim: &Aim);

    /// What this fragment's program before has noted.
    fn aim(&self) -> Option<Aim>;

    /// A record to work in: this one, or better one whose bytes the kernel's verifier does not keep track of.
    fn scratch<'r>(&'r self, own: &'r mut FragmentRecord) -> Option<&'r mut FragmentRecord>;

    /// Remembers a datagram; with `is_new` only when nobody has done so meanwhile. `false`: not remembered.
    fn set_fragment(&self, key: &FragmentKey, record: &FragmentRecord, is_new: bool) -> bool;
}

/// What [`lb_common::abi::PolicyCounters`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyEvent {
    NewFlow,
    Denied,
    VipLimited,
    SourceLimited,
}

impl PolicyEvent {
    /// Counts it.
    #[inline(always)]
    pub const fn count(self, counters: &mut PolicyCounters) {
        match self {
            Self::NewFlow => counters.new_flows += 1,
            Self::Denied => counters.denied += 1,
            Self::VipLimited => counters.vip_limited += 1,
            Self::SourceLimited => counters.source_limited += 1,
        }
    }
}

/// What [`lb_common::abi::FlowCounters`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    Recorded,
    Followed,
    ToPrevious,
    ToOwner,
    Evicted,
    Lost,
}

impl FlowEvent {
    /// Counts it.
    #[inline(always)]
    pub const fn count(self, counters: &mut FlowCounters) {
        match self {
            Self::Recorded => counters.recorded += 1,
            Self::Followed => counters.followed += 1,
            Self::ToPrevious => counters.to_previous += 1,
            Self::ToOwner => counters.to_owner += 1,
            Self::Evicted => counters.evicted += 1,
            Self::Lost => counters.lost += 1,
        }
    }
}

/// A bucket of the flow cache, which all CPUs share.
pub trait FlowRecords {
    /// The record at one of [`lb_common::abi::FLOW_WAYS`] places.
    fn load(&self, way: usize) -> u64;

    /// Puts `new` in the place of `old`, unless another CPU was faster.
    fn replace(&self, way: usize, old: u64, new: u64) -> bool;
}

/// A word that all CPUs share.
pub trait SharedWord {
    fn load(&self) -> u64;

    /// Puts `new` in the place of `old`, unless another CPU was faster.
    fn replace(&self, old: u64, new: u64) -> bool;
}
