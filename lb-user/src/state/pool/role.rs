//! Pools in which one backend is active and says so by passing its check, as the primary of a database mirror does: only it
//! serves.
//!
//! A backend becomes the active one with its first pass once the one before does not pass any more. While both pass, it may be
//! that the one before was not asked again yet; when both still pass after a round of probes, there are two of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::memory::{Alarm, AlarmKind, Pool};
use super::policy::{FailOpen, PoolPolicy, RoleConflict};
use super::{Out, Seen, Spared, all_of};
use crate::state::DesiredVip;

impl Pool {
    pub(super) fn decide_role(
        &mut self,
        vip: &mut DesiredVip,
        policy: &PoolPolicy,
        conflict: RoleConflict,
        seen: &impl Fn(IpAddr) -> Option<Seen>,
        is_reachable: &impl Fn(IpAddr) -> bool,
        now: SystemTime,
    ) {
        let mut names = BTreeMap::new();
        let mut round = Duration::ZERO;
        for (name, member) in vip.all_members() {
            let could = !member.drained && member.asked_weight() > 0 && is_reachable(member.address);
            let seen = seen(member.address).filter(|_| could);
            round = round.max(seen.map_or(Duration::ZERO, |seen| seen.round));
            names.insert(member.address, (name.to_owned(), could, seen.is_some_and(|seen| seen.passes)));
        }
        for (address, (_, _, passes)) in &names {
            if *passes {
                self.passing.entry(*address).or_insert(now);
            } else {
                self.passing.remove(address);
            }
        }
        self.active = self.active.filter(|active| names.get(active).is_some_and(|(_, could, _)| *could));
        self.elect(conflict, round, now);
        let name = |address: &IpAddr| names.get(address).map_or("", |(name, ..)| name.as_str());
        let is_settled = self.settled_at.is_some_and(|at| at <= now);
        if self.passing.len() > 1 && is_settled {
            let all: Vec<&str> = self.passing.keys().map(name).collect();
            let chosen = self.active.as_ref().map(name).unwrap_or_default();
            let text = format!("{} all answer as the active backend: {chosen} serves", all.join(", "));
            self.alarms.push(Alarm { kind: AlarmKind::SeveralActive, route: None, text });
        }
        // One failure is none yet.
        let is_up = |address: IpAddr| seen(address).is_some_and(|seen| seen.up || seen.passes);
        let serving = self.active.filter(|active| policy.fail_open == FailOpen::All || is_up(*active));
        if !self.active.is_some_and(is_up) {
            let who = match serving.as_ref().map(name) {
                Some(last) => format!("{last}, which was the last, serves"),
                None => "none serves".to_owned(),
            };
            let text = format!("no backend answers as the active one: {who}");
            self.alarms.push(Alarm { kind: AlarmKind::NoneActive, route: None, text });
        }
        for member in all_of(vip) {
            let by_itself = seen(member.address).filter(|seen| !seen.up).map(|_| Out::Unhealthy);
            (member.out, member.spared) = if serving == Some(member.address) {
                (None, by_itself.map(|_| Spared::Active))
            } else {
                (Some(by_itself.unwrap_or(Out::Inactive)), None)
            };
        }
    }

    /// Chooses among those that pass.
    fn elect(&mut self, conflict: RoleConflict, round: Duration, now: SystemTime) {
        let newest =
            self.passing.iter().max_by_key(|(_, since)| **since).map(|(address, since)| (*address, *since));
        let Some((newest, since)) = newest else {
            // Nobody takes over: it may be a single failure, or a switch-over that takes a while.
            self.settled_at = None;
            return;
        };
        let lowest = self.passing.keys().next().copied();
        let current = self.active.filter(|active| self.passing.contains_key(active));
        self.settled_at = (self.passing.len() > 1).then_some(since + round);
        let is_settled = self.settled_at.is_none_or(|at| at <= now);
        self.active = match (conflict, current) {
            (RoleConflict::Newest, _) => Some(newest),
            (RoleConflict::Keep, Some(current)) => Some(current),
            (RoleConflict::Lowest, Some(current)) if !is_settled => Some(current),
            (RoleConflict::Lowest, _) | (RoleConflict::Keep, None) => lowest,
        };
    }
}
