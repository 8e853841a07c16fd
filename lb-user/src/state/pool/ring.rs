//! Who of one ring serves: a vip's own, or a route's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::memory::{Alarm, AlarmKind, Pool};
use super::policy::{FailOpen, PoolPolicy};
use super::{Out, Seen, Spared};
use crate::state::{DesiredMember, DesiredVip};

type Ring = BTreeMap<String, DesiredMember>;

impl Pool {
    /// Marks who serves.
    pub(super) fn decide(
        &mut self,
        vip: &mut DesiredVip,
        policy: &PoolPolicy,
        seen: &impl Fn(IpAddr) -> Option<Seen>,
        is_reachable: &impl Fn(IpAddr) -> bool,
        now: SystemTime,
    ) {
        self.alarms.clear();
        if let Some(conflict) = policy.role {
            self.decide_role(vip, policy, conflict, seen, is_reachable, now);
            return;
        }
        (self.active, self.settled_at) = (None, None);
        let routes = vip.routes.iter_mut().map(|route| (Some(route.name.clone()), &mut route.members));
        for (route, ring) in routes.chain([(None, &mut vip.members)]) {
            for member in ring.values_mut() {
                member.out = self.by_itself(member.address, seen);
            }
            match &self.frozen {
                Some(_) => self.freeze(route, ring),
                None => self.together(route, ring, policy, is_reachable),
            }
            for member in ring.values_mut().filter(|member| member.out.is_some()) {
                member.spared = None;
            }
        }
    }

    /// What keeps a backend out without regard to the others.
    pub(super) fn by_itself(&self, address: IpAddr, seen: &impl Fn(IpAddr) -> Option<Seen>) -> Option<Out> {
        let seen = seen(address)?;
        match self.held.get(&address) {
            _ if seen.down_in_group => Some(Out::UnhealthyInGroup),
            _ if !seen.up => Some(Out::Unhealthy),
            Some(until) => Some(Out::Flapping { until: *until }),
            None => None,
        }
    }

    fn freeze(&mut self, route: Option<String>, ring: &mut Ring) {
        let Some(frozen) = &self.frozen else { return };
        let mut failed = 0;
        for member in ring.values_mut() {
            let was_in = frozen.ring.contains(&member.address);
            (member.out, member.spared) = match member.out {
                Some(Out::Unhealthy | Out::UnhealthyInGroup) if was_in => (None, Some(Spared::Frozen)),
                None if !was_in => (Some(Out::Frozen), None),
                out => (out, None),
            };
            failed += usize::from(member.spared.is_some());
        }
        let until = humantime::format_rfc3339_seconds(frozen.until);
        let text = format!(
            "{failed} of {} backends failed at once: the ring stays as it was until they recover or {until}",
            ring.len()
        );
        self.alarms.push(Alarm { kind: AlarmKind::Frozen, route, text });
    }

    fn together(
        &mut self,
        route: Option<String>,
        ring: &mut Ring,
        policy: &PoolPolicy,
        is_reachable: &impl Fn(IpAddr) -> bool,
    ) {
        let could = |member: &DesiredMember| {
            !member.drained && member.asked_weight() > 0 && is_reachable(member.address)
        };
        let is_backup = |name: &String| policy.backup.contains(name);
        let flaps = |member: &DesiredMember| matches!(member.out, Some(Out::Flapping { .. }));
        let stable = |(name, member): (&String, &DesiredMember)| {
            !is_backup(name) && could(member) && member.out.is_none()
        };
        if !ring.iter().any(stable) {
            for member in ring.values_mut().filter(|member| flaps(member)) {
                (member.out, member.spared) = (None, Some(Spared::Flapping));
            }
        }
        let total = ring.iter().filter(|(name, member)| !is_backup(name) && could(member)).count();
        let healthy = ring.iter().filter(|entry| stable(*entry)).count();
        let backups =
            ring.iter().any(|(name, member)| is_backup(name) && could(member) && member.out.is_none());
        let below = self.is_below_quorum(&route, healthy, policy);
        let (kind, text) = if below && backups {
            for (name, member) in ring.iter_mut().filter(|(_, member)| member.out.is_none()) {
                member.out = (!is_backup(name)).then_some(Out::BelowQuorum);
            }
            let needed = policy.quorum_up;
            (
                AlarmKind::Backup,
                format!("{healthy} of {total} backends are healthy: backups serve until {needed} are"),
            )
        } else {
            for (_, member) in ring.iter_mut().filter(|(name, _)| is_backup(name)) {
                member.out.get_or_insert(Out::Idle);
            }
            let (kind, text, spared) = match (healthy, policy.fail_open) {
                (0, FailOpen::All) => (
                    AlarmKind::FailOpen,
                    "no backend is healthy: all are used".to_owned(),
                    Spared::NoneHealthy,
                ),
                (0, FailOpen::None) => {
                    if total > 0 {
                        let text = "no backend is healthy: packets are dropped".to_owned();
                        self.alarms.push(Alarm { kind: AlarmKind::Closed, route, text });
                    }
                    return;
                }
                _ if healthy * 100 < total * usize::from(policy.panic_percent) => {
                    let text = format!("only {healthy} of {total} backends are healthy: all are used");
                    (AlarmKind::Panic, text, Spared::TooFewHealthy)
                }
                _ => return,
            };
            for (_, member) in ring.iter_mut().filter(|(name, _)| !is_backup(name)) {
                if member.out.take().is_some() {
                    member.spared = Some(spared);
                }
            }
            (kind, text)
        };
        if total > 0 {
            self.alarms.push(Alarm { kind, route, text });
        }
    }

    /// Whether backups are to serve.
    fn is_below_quorum(&mut self, route: &Option<String>, healthy: usize, policy: &PoolPolicy) -> bool {
        let needed = if self.below_quorum.contains(route) { policy.quorum_up } else { policy.quorum_down };
        let below = !policy.backup.is_empty() && healthy < needed as usize;
        if below {
            self.below_quorum.insert(route.clone());
        } else {
            self.below_quorum.remove(route);
        }
        below
    }
}
