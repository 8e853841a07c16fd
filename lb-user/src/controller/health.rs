//! What follows from the backends' health: who is to be checked, and who is taken out of the rings.
//!
//! An unhealthy backend keeps its place and its weight in what is desired, and is marked there; a vip without any healthy backend
//! uses all of them when it fails open. What is marked is worked out anew each time, from file, runtime changes and verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::config::{CheckConfig, Config, mode_word};
use crate::health::probe::Probe;
use crate::health::{Spec, Standings, State, Target, Via, Wanted, Way};
use crate::state::{Desired, DesiredMember, DesiredVip, OnUnhealthy, VipKey};

/// What the checks say so far.
pub(super) type Verdicts = BTreeMap<Target, Verdict>;

/// What one check says of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// The weight that the backend asks for.
    pub(super) weight: Option<u32>,
    /// Why the state is what it is.
    pub(super) reason: Option<String>,
}

pub(super) fn verdicts(standings: &Standings) -> Verdicts {
    let verdicts = standings.iter().map(|(target, standing)| {
        let reason = standing.transitions.back().and_then(|transition| transition.reason.clone());
        (target.clone(), Verdict { state: standing.state(), weight: standing.weight, reason })
    });
    verdicts.collect()
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
    let (check, found) = config.checks.get_key_value(own.or_else(of_vip)?)?;
    let port = found.port.unwrap_or(vip.port);
    let address = member.address;
    let way = Way { to: vip.address, backend: address, mode: mode_word(member.mode) };
    let way = (found.via == Via::Tunnel).then_some(way);
    Some((Target { check: check.clone(), address, port, way }, found))
}

/// Everything that is to be checked. Drained backends are, too: they may come back.
pub(super) fn wanted(config: &Config, desired: &Desired) -> Wanted {
    let mut wanted = Wanted::new();
    for (key, vip) in &desired.vips {
        for (name, member) in vip.all_members() {
            if let Some((target, check)) = target(config, *key, name, member) {
                let spec = spec(check, &target);
                wanted.entry(target).or_insert(spec);
            }
        }
    }
    wanted
}

/// How a target is checked. Whoever asks a vip's address asks in its name, too.
fn spec(check: &CheckConfig, target: &Target) -> Spec {
    let mut spec = check.spec();
    if let (Some(way), Probe::Http(probe)) = (&target.way, &mut spec.probe) {
        let vip = SocketAddr::new(way.to, target.port);
        probe.host.get_or_insert_with(|| vip.to_string());
    }
    spec
}

/// The verdict on a backend of a vip; `None` when it is not checked.
pub(super) fn verdict(
    config: &Config,
    verdicts: &Verdicts,
    vip: VipKey,
    name: &str,
    member: &DesiredMember,
) -> Option<Verdict> {
    let (target, check) = target(config, vip, name, member)?;
    let unknown = || Verdict { state: State::Initial(check.rhythm.start), weight: None, reason: None };
    Some(verdicts.get(&target).cloned().unwrap_or_else(unknown))
}

/// Marks in `desired`, fresh from file and runtime changes, who is unhealthy. `is_reachable`: whether a backend has a next hop.
pub(super) fn mind(
    desired: &mut Desired,
    config: &Config,
    verdicts: &Verdicts,
    is_reachable: impl Fn(IpAddr) -> bool,
) {
    if config.checks.is_empty() {
        return;
    }
    let of_groups = down_in_groups(desired, config, verdicts);
    for (key, vip) in &mut desired.vips {
        let Some(policy) = config.vips.get(key).map(|vip| &vip.health) else { continue };
        let of_group = vip.options.group.as_ref().and_then(|group| of_groups.get(group));
        let routes = vip.routes.iter_mut().map(|route| &mut route.members);
        for ring in routes.chain([&mut vip.members]) {
            for (name, member) in &mut *ring {
                let found = verdict(config, verdicts, *key, name, member);
                let with_group = of_group.is_some_and(|down| down.contains(&member.address));
                member.unhealthy = with_group || found.as_ref().is_some_and(|found| !found.state.is_up());
                member.checked_weight = found.and_then(|found| found.weight);
            }
            if policy.fail_open {
                fail_open(ring, &is_reachable);
            }
        }
        if policy.on_unhealthy == OnUnhealthy::Reset {
            give_up(vip);
        }
    }
}

/// Backends that fail for any vip of a group: the group sends a client to the same backend in all of its vips.
fn down_in_groups(
    desired: &Desired,
    config: &Config,
    verdicts: &Verdicts,
) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut down: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for (key, vip) in &desired.vips {
        let Some(group) = &vip.options.group else { continue };
        for (name, member) in vip.all_members() {
            let found = verdict(config, verdicts, *key, name, member);
            if found.is_some_and(|verdict| !verdict.state.is_up()) {
                down.entry(group.clone()).or_default().insert(member.address);
            }
        }
    }
    down
}

/// Uses all backends of a ring when none that could serve is healthy: the check may be what is wrong.
fn fail_open(ring: &mut BTreeMap<String, DesiredMember>, is_reachable: impl Fn(IpAddr) -> bool) {
    let could = |member: &&DesiredMember| {
        !member.drained && member.asked_weight() > 0 && is_reachable(member.address)
    };
    if ring.values().filter(could).all(|member| member.unhealthy) {
        ring.values_mut().for_each(|member| member.unhealthy = false);
    }
}

/// Lets go of the flows on backends that serve no ring of the vip for their health.
fn give_up(vip: &mut DesiredVip) {
    let rings = || vip.routes.iter().map(|route| &route.members).chain([&vip.members]);
    let of = |unhealthy: bool| -> BTreeSet<IpAddr> {
        let members = rings().flat_map(BTreeMap::values).filter(|member| member.unhealthy == unhealthy);
        members.map(|member| member.address).collect()
    };
    let gone: Vec<IpAddr> = of(true).difference(&of(false)).copied().collect();
    vip.given_up.extend(gone);
}

#[cfg(test)]
mod tests;
