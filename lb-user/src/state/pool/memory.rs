//! What one vip's decisions remember: when backends changed their state, who is held out, and whether the ring is frozen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::policy::PoolPolicy;
use super::{Seen, all_of};
use crate::state::DesiredVip;

/// Changes of one backend that are remembered at most.
const CHANGES_MAX: usize = 100;
/// Fewer failures are no mass failure, however few backends there are.
const MASS: usize = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    /// Whether each backend was up.
    up: BTreeMap<IpAddr, bool>,
    /// When a backend that is down turned so.
    falls: BTreeMap<IpAddr, SystemTime>,
    changes: BTreeMap<IpAddr, VecDeque<SystemTime>>,
    /// Until when backends that flap are held out.
    pub(super) held: BTreeMap<IpAddr, SystemTime>,
    pub(super) frozen: Option<Frozen>,
    /// By route: whether backups serve.
    pub(super) below_quorum: BTreeSet<Option<String>>,
    /// Since when each backend answers as the active one.
    pub(super) passing: BTreeMap<IpAddr, SystemTime>,
    pub(super) active: Option<IpAddr>,
    /// When several active ones are no switch-over any more.
    pub(super) settled_at: Option<SystemTime>,
    pub(super) alarms: Vec<Alarm>,
}

/// A ring that stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frozen {
    pub(super) until: SystemTime,
    /// Who was in it.
    pub(super) ring: BTreeSet<IpAddr>,
}

/// Something in a vip that is out of the ordinary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// The vip's route that is concerned, when it is not the vip itself.
    pub route: Option<String>,
    pub text: String,
}

/// What is out of the ordinary.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// No backend is healthy: all are used.
    FailOpen,
    /// No backend is healthy: none is used.
    Closed,
    /// Too few backends are healthy: all are used.
    Panic,
    /// Backups serve.
    Backup,
    /// Many backends failed at once: the ring stays as it was.
    Frozen,
    /// Several backends answer as the active one.
    SeveralActive,
    /// No backend answers as the active one.
    NoneActive,
    /// No backend is healthy: the address is not announced.
    Withdrawn,
}

impl AlarmKind {
    pub const ALL: [Self; 8] = [
        Self::FailOpen,
        Self::Closed,
        Self::Panic,
        Self::Backup,
        Self::Frozen,
        Self::SeveralActive,
        Self::NoneActive,
        Self::Withdrawn,
    ];

    /// As JSON and metrics call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::FailOpen => "fail_open",
            Self::Closed => "closed",
            Self::Panic => "panic",
            Self::Backup => "backup",
            Self::Frozen => "frozen",
            Self::SeveralActive => "several_active",
            Self::NoneActive => "none_active",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Alarm {
    pub(super) fn withdrawn(address: IpAddr) -> Self {
        let text = format!("no backend is healthy: {address} is not announced until one is");
        Self { kind: AlarmKind::Withdrawn, route: None, text }
    }
}

impl Pool {
    pub(super) fn dues(&self) -> impl Iterator<Item = SystemTime> + '_ {
        let frozen = self.frozen.iter().map(|frozen| frozen.until);
        self.held.values().copied().chain(frozen).chain(self.settled_at)
    }

    /// Takes in what has changed.
    pub(super) fn remember(
        &mut self,
        vip: &mut DesiredVip,
        policy: &PoolPolicy,
        seen: &impl Fn(IpAddr) -> Option<Seen>,
        now: SystemTime,
    ) {
        let members: BTreeMap<IpAddr, (bool, bool)> = all_of(vip)
            .filter_map(|member| {
                let seen = seen(member.address)?;
                Some((member.address, (seen.up, member.drained)))
            })
            .collect();
        self.forget_others(&members);
        for (address, (up, _)) in &members {
            let before = self.up.insert(*address, *up);
            if before.is_some_and(|before| before != *up) {
                self.changed(*address, *up, policy, now);
            }
        }
        self.held.retain(|_, until| *until > now);
        // A drained backend may fail as it likes.
        let counted = members.iter().filter(|(_, (_, drained))| !drained);
        self.guard(&counted.map(|(address, (up, _))| (*address, *up)).collect(), policy, now);
    }

    fn forget_others(&mut self, members: &BTreeMap<IpAddr, (bool, bool)>) {
        self.up.retain(|address, _| members.contains_key(address));
        self.falls.retain(|address, _| members.contains_key(address));
        self.changes.retain(|address, _| members.contains_key(address));
        self.held.retain(|address, _| members.contains_key(address));
        self.passing.retain(|address, _| members.contains_key(address));
    }

    fn changed(&mut self, address: IpAddr, up: bool, policy: &PoolPolicy, now: SystemTime) {
        if up {
            self.falls.remove(&address);
        } else {
            self.falls.insert(address, now);
            self.held.remove(&address);
        }
        let Some(flapping) = policy.flapping else {
            self.changes.remove(&address);
            self.held.remove(&address);
            return;
        };
        let changes = self.changes.entry(address).or_default();
        changes.push_back(now);
        changes.retain(|at| now.duration_since(*at).unwrap_or_default() < flapping.window);
        while changes.len() > CHANGES_MAX {
            changes.pop_front();
        }
        if up && changes.len() >= flapping.changes as usize {
            self.held.insert(address, now + flapping.hold);
        }
    }

    /// Freezes the ring when many backends failed at once, and ends that.
    fn guard(&mut self, members: &BTreeMap<IpAddr, bool>, policy: &PoolPolicy, now: SystemTime) {
        let Some(guard) = policy.guard else {
            self.frozen = None;
            return;
        };
        let too_many =
            |failed: usize| failed >= MASS && failed * 100 > members.len() * usize::from(guard.percent);
        let is_down = |address: &IpAddr| members.get(address) == Some(&false);
        if let Some(frozen) = &self.frozen {
            let failed = frozen.ring.iter().filter(|address| is_down(address)).count();
            if now >= frozen.until || !too_many(failed) {
                self.frozen = None;
                self.falls.clear();
            }
            return;
        }
        self.falls.retain(|_, at| now.duration_since(*at).unwrap_or_default() < guard.window);
        let fell: BTreeSet<IpAddr> = self.falls.keys().filter(|address| is_down(address)).copied().collect();
        if too_many(fell.len()) {
            let up = members.iter().filter(|(_, up)| **up).map(|(address, _)| *address);
            let ring = up.chain(fell).collect();
            self.frozen = Some(Frozen { until: now + guard.hold, ring });
        }
    }
}
