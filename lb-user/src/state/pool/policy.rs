//! What can be asked of a vip's decisions. Every default is "off", or does the least.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::state::OnUnhealthy;

/// What follows in a vip from what checks say of its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPolicy {
    pub on_unhealthy: OnUnhealthy,
    pub fail_open: FailOpen,
    /// Names of backends that serve only in place of the others.
    pub backup: BTreeSet<String>,
    /// So many healthy ones let the others serve again in place of backups.
    pub quorum_up: u32,
    /// With fewer healthy ones, backups serve in place of the others; at least 1, at most `quorum_up`.
    pub quorum_down: u32,
    /// With fewer healthy ones of a hundred, all are used; 0: off.
    pub panic_percent: u8,
    pub guard: Option<Guard>,
    pub flapping: Option<Flapping>,
    /// Only one backend serves: the one whose check passes.
    pub role: Option<RoleConflict>,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            on_unhealthy: OnUnhealthy::default(),
            fail_open: FailOpen::default(),
            backup: BTreeSet::new(),
            quorum_up: 1,
            quorum_down: 1,
            panic_percent: 0,
            guard: None,
            flapping: None,
            role: None,
        }
    }
}

/// Who is used when no backend is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailOpen {
    /// All; with a role, the last active one.
    #[default]
    All,
    None,
}

/// Against failures of many backends at once, for which the check or the balancer's own network may be to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// More of a hundred than these, and at least two, freeze the ring; 1 to 99.
    pub percent: u8,
    /// Failures within this time count together.
    pub window: Duration,
    /// So long the ring stays frozen at most.
    pub hold: Duration,
}

impl Guard {
    pub const WINDOW: Duration = Duration::from_secs(10);
    pub const HOLD: Duration = Duration::from_secs(300);
}

/// Against backends that come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flapping {
    /// So many changes of its state within `window` are too many.
    pub changes: u32,
    pub window: Duration,
    /// So long a backend has to be healthy without a change then.
    pub hold: Duration,
}

impl Flapping {
    pub const WINDOW: Duration = Duration::from_secs(600);
    pub const HOLD: Duration = Duration::from_secs(60);
}

/// Who serves when several backends answer as the active one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RoleConflict {
    /// Who served before.
    #[default]
    Keep,
    /// Who answered so last.
    Newest,
    /// Who has the lowest address.
    Lowest,
}
