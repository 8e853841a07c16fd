//! What follows from the backends' health: who is to be checked, and who is taken out of the rings.
//!
//! Brings what checks say to the vips that use them; what a vip makes of it is decided in [`Pools`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::events::alarm_event;
use crate::config::{CheckConfig, Config, known_mode, mode_word};
use crate::health::probe::Weight;
use crate::health::{Spec, Standings, State, Target, Via, Wanted, Way};
use crate::hooks::Hooks;
use crate::state::{Alarm, AllSeen, Asked, Desired, DesiredMember, Healths, MAX_WEIGHT, Pools, Seen, VipKey};

/// What the checks say so far.
pub(super) type Verdicts = BTreeMap<Target, Verdict>;

/// What one check says of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// Whether the last probe passed.
    pub(super) passes: bool,
    /// The weight that the backend asks for.
    pub(super) weight: Option<Weight>,
    /// Why the state is what it is.
    pub(super) reason: Option<String>,
}

pub(super) fn verdicts(standings: &Standings) -> Verdicts {
    let verdicts = standings.iter().map(|(target, standing)| {
        let reason = standing.transitions.back().and_then(|transition| transition.reason.clone());
        (
            target.clone(),
            Verdict { state: standing.state(), passes: standing.passes, weight: standing.weight, reason },
        )
    });
    verdicts.collect()
}

/// Verdicts as an earlier daemon has left them.
pub(super) fn known(healths: Healths) -> Verdicts {
    let verdict = |((check, asked), healthy): ((String, Asked), bool)| {
        let state = if healthy { State::Healthy } else { State::Unhealthy };
        let reason = (!healthy).then(|| "it was unhealthy when the daemon ended".to_owned());
        let (address, port) = (asked.socket.ip(), asked.socket.port());
        let way = |(to, mode): (IpAddr, String)| Some(Way { to, backend: address, mode: known_mode(&mode)? });
        let way = match asked.way {
            Some(asked) => Some(way(asked)?),
            None => None,
        };
        Some((Target { check, address, port, way }, Verdict { state, passes: healthy, weight: None, reason }))
    };
    healths.into_iter().filter_map(verdict).collect()
}

/// What the next daemon is to know.
pub(super) fn lasting(verdicts: &Verdicts) -> Healths {
    let known = verdicts.iter().filter(|(_, verdict)| !matches!(verdict.state, State::Initial(_)));
    let lasting = known.map(|(target, verdict)| {
        let way = target.way.as_ref().map(|way| (way.to, way.mode.to_owned()));
        let asked = Asked { socket: SocketAddr::new(target.address, target.port), way };
        ((target.check.clone(), asked), verdict.state == State::Healthy)
    });
    lasting.collect()
}

/// What is checked for a backend of a vip, and how.
pub(super) fn target<'a>(
    config: &'a Config,
    vip: VipKey,
    name: &str,
    member: &DesiredMember,
) -> Option<(Target, &'a CheckConfig)> {
    let own = config.backends.get(name).and_then(|backend| backend.check.as_ref());
    let of_vip = || config.vips.get(&vip).and_then(|vip| vip.health.check.as_ref());
    target_of(config, own.or_else(of_vip)?, vip, member)
}

/// The agent that is asked beside that.
pub(super) fn agent<'a>(
    config: &'a Config,
    vip: VipKey,
    name: &str,
    member: &DesiredMember,
) -> Option<(Target, &'a CheckConfig)> {
    let own = config.backends.get(name).and_then(|backend| backend.agent.as_ref());
    let of_vip = || config.vips.get(&vip).and_then(|vip| vip.health.agent.as_ref());
    target_of(config, own.or_else(of_vip)?, vip, member)
}

/// Both, the check first.
pub(super) fn targets<'a>(
    config: &'a Config,
    vip: VipKey,
    name: &str,
    member: &DesiredMember,
) -> impl Iterator<Item = (Target, &'a CheckConfig)> {
    target(config, vip, name, member).into_iter().chain(agent(config, vip, name, member))
}

fn target_of<'a>(
    config: &'a Config,
    check: &str,
    vip: VipKey,
    member: &DesiredMember,
) -> Option<(Target, &'a CheckConfig)> {
    let (check, found) = config.checks.get_key_value(check)?;
    let port = found.port.unwrap_or(vip.port);
    let address = member.address;
    let way = Way { to: vip.address, backend: address, mode: mode_word(member.mode) };
    let way = (found.via == Via::Tunnel).then_some(way);
    Some((Target { check: check.clone(), address, port, way }, found))
}

/// Everything that is to be checked. Drained backends are, too: they may come back; those in maintenance are not.
pub(super) fn wanted(config: &Config, desired: &Desired) -> Wanted {
    let mut wanted = Wanted::new();
    for (key, vip) in &desired.vips {
        for (name, member) in vip.all_members().into_iter().filter(|(_, member)| !member.silent) {
            if let Some((target, check)) = target(config, *key, name, member) {
                let spec = spec(check, &target);
                wanted.entry(target).or_insert(spec);
            }
            if let Some((target, check)) = agent(config, *key, name, member) {
                let spec = Spec { beside: true, ..spec(check, &target) };
                wanted.entry(target).or_insert(spec);
            }
        }
    }
    wanted
}

/// How a target is checked. Whoever asks a vip's address asks in its name, too.
fn spec(check: &CheckConfig, target: &Target) -> Spec {
    let mut spec = check.spec();
    if let Some(way) = &target.way {
        spec.probe.ask_for(SocketAddr::new(way.to, target.port));
    }
    spec
}

/// The verdict on a backend of a vip, of its check and its agent together; `None` when it has neither.
pub(super) fn verdict(
    config: &Config,
    verdicts: &Verdicts,
    vip: VipKey,
    name: &str,
    member: &DesiredMember,
) -> Option<Verdict> {
    let of = |(target, check): (Target, &CheckConfig)| {
        let state = State::Initial(check.rhythm.start);
        let unknown = || Verdict { state, passes: false, weight: None, reason: None };
        verdicts.get(&target).cloned().unwrap_or_else(unknown)
    };
    let check = target(config, vip, name, member).map(of);
    match (check, agent(config, vip, name, member).map(of)) {
        (Some(check), Some(agent)) => Some(check.beside(agent)),
        (check, agent) => check.or(agent),
    }
}

impl Verdict {
    /// Both together: a backend is up when neither says otherwise, and the agent's weight counts when it has said one.
    fn beside(self, agent: Self) -> Self {
        let agrees = agent.state.is_up();
        let weight = agent.weight.or(self.weight);
        if self.state.is_up() && !agrees {
            return Self { state: agent.state, passes: false, weight, reason: agent.reason };
        }
        Self { passes: self.passes && agrees, weight, ..self }
    }
}

/// Marks in `desired`, fresh from file and runtime changes, who serves. `is_reachable`: whether a backend has a next hop.
pub(super) fn mind(
    desired: &mut Desired,
    config: &Config,
    verdicts: &Verdicts,
    pools: &mut Pools,
    is_reachable: impl Fn(IpAddr) -> bool,
    now: SystemTime,
) {
    weigh(desired, config, verdicts);
    let seen = seen(desired, config, verdicts);
    let policy = |key: VipKey| config.vips.get(&key).map(|vip| &vip.health.pool);
    pools.follow(desired, policy, &seen, is_reachable, now);
}

/// Gives the backends the weights that they ask for.
fn weigh(desired: &mut Desired, config: &Config, verdicts: &Verdicts) {
    for (key, vip) in &mut desired.vips {
        let routes = vip.routes.iter_mut().map(|route| &mut route.members);
        for (name, member) in routes.chain([&mut vip.members]).flatten() {
            let weight = verdict(config, verdicts, *key, name, member).and_then(|found| found.weight);
            member.checked_weight = weight.map(|weight| asked(weight, member));
        }
    }
}

/// What the weight that a check asks for comes to.
pub(super) fn asked(weight: Weight, member: &DesiredMember) -> u32 {
    weight.over(member.weight).min(MAX_WEIGHT)
}

/// What checks say of each backend of each vip. A group sends a client to the same backend in all of its vips, so that one that
/// fails for any of them fails for all.
fn seen(desired: &Desired, config: &Config, verdicts: &Verdicts) -> AllSeen {
    let mut all = AllSeen::new();
    let mut groups: BTreeMap<(&str, IpAddr), (bool, bool)> = BTreeMap::new();
    for (key, vip) in &desired.vips {
        for (name, member) in vip.all_members() {
            let check = targets(config, *key, name, member).next();
            let found = check.zip(verdict(config, verdicts, *key, name, member));
            if let Some(((_, check), Verdict { state, passes, .. })) = found {
                let up = state.is_up();
                let round = check.rhythm.interval + check.timeout;
                let seen = Seen { up, passes, down_in_group: false, round };
                all.insert((*key, member.address), seen);
                if let Some(group) = &vip.options.group {
                    let of_group = groups.entry((group, member.address)).or_insert((true, true));
                    *of_group = (of_group.0 && up, of_group.1 && passes);
                }
            }
        }
    }
    for (key, vip) in &desired.vips {
        let Some(group) = &vip.options.group else { continue };
        for member in vip.all_members().values() {
            let Some((up, passes)) = groups.get(&(group.as_str(), member.address)) else { continue };
            let unchecked = Seen { up: true, passes: true, down_in_group: false, round: Duration::ZERO };
            let seen = all.entry((*key, member.address)).or_insert(unchecked);
            seen.down_in_group = seen.up && !up;
            (seen.up, seen.passes) = (*up, *passes);
        }
    }
    all
}

/// Logs and tells what has come to be out of the ordinary, and what is over.
pub(super) fn tell_alarms(hooks: &Hooks, desired: &Desired, before: &Pools, after: &Pools, now: SystemTime) {
    for (key, vip) in &desired.vips {
        let (before, after) = (before.alarms(*key), after.alarms(*key));
        let is_new = |alarm: &Alarm, known: &[Alarm]| {
            !known.iter().any(|other| (other.kind, &other.route) == (alarm.kind, &alarm.route))
        };
        for alarm @ Alarm { kind, route, text } in after.iter().filter(|alarm| is_new(alarm, before)) {
            warn!(vip = vip.name, route = route.as_deref(), alarm = kind.label(), "{text}");
            hooks.tell(alarm_event(desired, &vip.name, alarm, false, now));
        }
        for alarm @ Alarm { kind, route, .. } in before.iter().filter(|alarm| is_new(alarm, after)) {
            info!(vip = vip.name, route = route.as_deref(), alarm = kind.label(), "alarm is over");
            hooks.tell(alarm_event(desired, &vip.name, alarm, true, now));
        }
    }
}

#[cfg(test)]
mod tests;
