//! What should be forwarded where: pure data and pure functions.
//!
//! [`Desired`] is the configuration with the runtime changes laid over it; [`Forwarding`] is that plus next hops and
//! rings: everything the kernel has to know. Nothing here knows BPF, netlink or health checks.
#![forbid(unsafe_code)]

mod access;
mod apply;
mod change;
mod desired;
mod drain;
mod forwarding;
mod history;
mod next_hop;
mod options;
mod overlay;
pub mod path_mtu;
mod pool;
mod predict;
mod rings;
mod slow_start;
mod store;
mod vip_key;

pub use access::{Decision, route_of};
pub(crate) use apply::find_vip;
pub use apply::{ChangeError, Changed, MAX_WEIGHT};
pub use change::{Change, ChangeMark, JournalEntry};
pub use desired::{
    Affinity, Answers, Desired, DesiredMember, DesiredRoute, DesiredVip, Dscp, GueVariant, Mode, Oversize,
    SourcePrefix, Tunnel,
};
pub use drain::{Drain, DrainKind};
pub use forwarding::{ForwardDest, ForwardVip, Forwarding, Found, Previous, VipPlan, VipPlanKind, identity};
pub use history::History;
pub use next_hop::{MacAddress, NextHop, NextHops, Unresolved};
pub use options::{
    AccessRules, Announce, DesiredAddress, FlowLimits, FlowTimes, Fragments, OnUnhealthy, Prefix, Prefixes,
    QuicRouting, ServerId, TrackingMode, UnknownPorts, VipOptions,
};
pub use overlay::{Dormant, DormantReason, MemberOverride, Merged, Overlay, Override, WeightOverride, merge};
pub use pool::{
    Alarm, AlarmKind, AllSeen, FailOpen, Flapping, Guard, Out, PoolPolicy, Pools, RoleConflict, Seen, Spared,
};
pub use predict::{Denied, Prediction, predict};
pub use slow_start::{SlowStart, Warming};
pub use store::{Asked, Healths, JOURNAL_LEN, SlowStarts, Store, StoreError, Undo};
pub use vip_key::{ParseVipKeyError, Protocol, VipKey};
