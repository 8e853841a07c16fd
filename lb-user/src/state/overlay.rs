//! Runtime changes, laid over the configuration file.
//!
//! An [`Overlay`] holds, for each vip and backend, only what differs from the file: a backend added or removed, drained,
//! or given another weight, each with who did it and when. [`merge`] lays it over a [`Config`]; [`Overlay::apply`] (in
//! `apply`) is the only way to change it. An override whose vip or backend has left the file, or which the file now
//! contradicts, is kept and reported as dormant: it counts again when the file allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::apply::quic::why_unfit;
use super::{
    ChangeMark, Desired, DesiredAddress, DesiredMember, DesiredRoute, DesiredVip, Drain, DrainKind,
    UnknownPorts, VipKey,
};
use crate::config::{Config, VipConfig};
use crate::vrrp::Router;

/// All runtime changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    pub(super) overrides: BTreeMap<(VipKey, String), Override>,
}

/// What differs from the file for one backend of one vip; at least one part is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    pub member: Option<MemberOverride>,
    pub weight: Option<WeightOverride>,
    /// Set while drained.
    pub drained: Option<Drain>,
}

/// A backend that the vip has, or lacks, only at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum MemberOverride {
    Added { address: IpAddr, weight: u32, mark: ChangeMark },
    Removed { mark: ChangeMark },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightOverride {
    pub weight: u32,
    pub mark: ChangeMark,
}

/// An override that has no effect with the present file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dormant {
    pub vip: VipKey,
    pub backend: String,
    pub reason: DormantReason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DormantReason {
    #[error("the file has no such vip any more; `ferrolev backend remove` forgets the change")]
    NoVip,
    #[error(
        "the file does not list the backend in this vip any more; `ferrolev backend remove` forgets the change"
    )]
    NoBackend,
    #[error("the file now gives the backend the address {0}, and the file wins")]
    OtherAddress(IpAddr),
    #[error(
        "backend {other} of this vip now has the address {address}; `ferrolev backend remove` forgets the change"
    )]
    AddressUsed { other: String, address: IpAddr },
    #[error(
        "the vip now routes QUIC by server ids, and the backend {0}; give it one of its own in the file, or `ferrolev backend remove` forgets the change"
    )]
    ServerId(String),
}

/// The file with the runtime changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub desired: Desired,
    pub dormant: Vec<Dormant>,
    /// When it will be another with the same file and the same changes: flows of a drained backend are given up.
    pub next_deadline: Option<SystemTime>,
}

/// Lays `overlay` over `config`, as it is at the time `now`.
#[must_use]
pub fn merge(config: &Config, overlay: &Overlay, now: SystemTime) -> Merged {
    let mut dormant = Vec::new();
    let mut vips: BTreeMap<_, _> = config
        .vips
        .iter()
        .map(|(key, vip)| (*key, merge_vip(config, *key, vip, overlay, &mut dormant)))
        .collect();
    let mut next_deadline = None;
    for (key, vip) in &mut vips {
        for (at, address) in forced_drains(vip, overlay.of_vip(*key)) {
            if at <= now {
                vip.given_up.insert(address);
            } else {
                next_deadline = Some(next_deadline.map_or(at, |next: SystemTime| next.min(at)));
            }
        }
    }
    let gone = overlay.iter().filter(|(key, _, _)| !config.vips.contains_key(key));
    dormant.extend(gone.map(|(key, backend, _)| Dormant {
        vip: key,
        backend: backend.to_owned(),
        reason: DormantReason::NoVip,
    }));
    let desired = Desired {
        hash_seed: config.hash_seed,
        tunnel: config.tunnel.clone(),
        answers: config.answers,
        flows: config.flows,
        access: config.access.clone(),
        addresses: addresses(config),
        elected: config.vrrp.leased(),
        vips,
    };
    Merged { desired, dormant, next_deadline }
}

/// Those of vips, and those of virtual routers that take no packets for them.
fn addresses(config: &Config) -> BTreeMap<IpAddr, DesiredAddress> {
    let closed = DesiredAddress { unknown_ports: UnknownPorts::Drop, ..DesiredAddress::default() };
    let routers = config.vrrp.routers.values().flat_map(Router::closed);
    let closed = routers.map(|address| (address, closed.clone()));
    config.addresses.clone().into_iter().chain(closed).collect()
}

/// The backends of a vip whose flows are given up, and when.
fn forced_drains<'a>(
    vip: &DesiredVip,
    changes: impl Iterator<Item = (&'a str, &'a Override)>,
) -> Vec<(SystemTime, IpAddr)> {
    let forced = changes.filter_map(|(backend, change)| {
        let member = vip.members.get(backend).filter(|member| member.drained)?;
        Some((change.drained.as_ref()?.gives_up_at()?, member.address))
    });
    forced.collect()
}

fn merge_vip(
    config: &Config,
    key: VipKey,
    vip: &VipConfig,
    overlay: &Overlay,
    dormant: &mut Vec<Dormant>,
) -> DesiredVip {
    let mut members: BTreeMap<String, DesiredMember> = file_members(config, vip).collect();
    let mut sleep = |backend: &str, reason| {
        dormant.push(Dormant { vip: key, backend: backend.to_owned(), reason });
    };
    // The file's backends first: what they leave free decides which added ones fit.
    for (backend, change) in overlay.of_vip(key) {
        let Some(member) = members.get_mut(backend) else {
            continue;
        };
        match change.member {
            Some(MemberOverride::Removed { .. }) => {
                members.remove(backend);
            }
            Some(MemberOverride::Added { address, .. }) if address != member.address => {
                sleep(backend, DormantReason::OtherAddress(member.address));
            }
            Some(MemberOverride::Added { weight, .. }) => *member = change.over(member, weight),
            None => *member = change.over(member, member.weight),
        }
    }
    for (backend, change) in overlay.of_vip(key) {
        if vip.backends.contains_key(backend) {
            continue;
        }
        let Some(MemberOverride::Added { address, weight, .. }) = change.member else {
            sleep(backend, DormantReason::NoBackend);
            continue;
        };
        if let Some((other, _)) = members.iter().find(|(_, member)| member.address == address) {
            sleep(backend, DormantReason::AddressUsed { other: other.clone(), address });
        } else if let Some(why) = why_unfit(config, vip, &members, backend) {
            sleep(backend, DormantReason::ServerId(why));
        } else {
            let known = config.backends.get(backend);
            let member = DesiredMember {
                mode: known.and_then(|known| known.mode).unwrap_or(vip.mode),
                server_id: known.and_then(|known| known.server_id),
                slow_start: known.and_then(|known| known.slow_start).unwrap_or(vip.slow_start),
                ..DesiredMember::new(address, weight)
            };
            members.insert(backend.to_owned(), change.over(&member, weight));
        }
    }
    DesiredVip {
        name: vip.name.clone(),
        mode: vip.mode,
        ring_size: vip.ring_size,
        affinity: vip.affinity,
        options: vip.options.clone(),
        routes: routes(config, vip, &members),
        given_up: BTreeSet::new(),
        members,
    }
}

/// A route's backends are as the vip has them where the vip has them too.
fn routes(config: &Config, vip: &VipConfig, members: &BTreeMap<String, DesiredMember>) -> Vec<DesiredRoute> {
    let route = |route: &crate::config::RouteConfig| DesiredRoute {
        name: route.name.clone(),
        sources: route.sources.clone(),
        members: route
            .backends
            .iter()
            .filter_map(|(name, weight)| {
                let file = known_member(config, vip, name, *weight)?;
                let of_vip = members.get(name);
                let drained = of_vip.map_or(vip.backends.contains_key(name), |member| member.drained);
                let silent = of_vip.is_some_and(|member| member.silent);
                Some((name.clone(), DesiredMember { drained, silent, ..file }))
            })
            .collect(),
    };
    vip.routes.iter().map(route).collect()
}

fn file_members<'a>(
    config: &'a Config,
    vip: &'a VipConfig,
) -> impl Iterator<Item = (String, DesiredMember)> + 'a {
    vip.backends.keys().filter_map(|name| {
        let member = file_member(config, vip, name)?;
        Some((name.clone(), member))
    })
}

/// What the file says of a backend of a vip.
pub(super) fn file_member(config: &Config, vip: &VipConfig, backend: &str) -> Option<DesiredMember> {
    let weight = vip.backends.get(backend)?;
    known_member(config, vip, backend, *weight)
}

fn known_member(
    config: &Config,
    vip: &VipConfig,
    backend: &str,
    weight: Option<u32>,
) -> Option<DesiredMember> {
    let known = config.backends.get(backend)?;
    Some(DesiredMember {
        mode: known.mode.unwrap_or(vip.mode),
        server_id: known.server_id,
        slow_start: known.slow_start.unwrap_or(vip.slow_start),
        ..DesiredMember::new(known.address, weight.unwrap_or(known.weight))
    })
}

impl Overlay {
    /// An overlay from stored parts.
    #[must_use]
    pub fn from_parts(parts: impl IntoIterator<Item = (VipKey, String, Override)>) -> Self {
        let overrides = parts.into_iter().map(|(vip, backend, change)| ((vip, backend), change)).collect();
        Self { overrides }
    }

    /// All overrides, by vip and backend.
    pub fn iter(&self) -> impl Iterator<Item = (VipKey, &str, &Override)> {
        self.overrides.iter().map(|((vip, backend), change)| (*vip, backend.as_str(), change))
    }

    #[must_use]
    pub fn get(&self, vip: VipKey, backend: &str) -> Option<&Override> {
        self.overrides.get(&(vip, backend.to_owned()))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overrides.is_empty()
    }

    fn of_vip(&self, vip: VipKey) -> impl Iterator<Item = (&str, &Override)> {
        self.overrides
            .range((vip, String::new())..)
            .take_while(move |((key, _), _)| *key == vip)
            .map(|((_, backend), change)| (backend.as_str(), change))
    }

    /// The overlay without what `config` says by itself: a weight that the file has caught up with, a backend that the
    /// file now lists. Vips of a group get the same.
    #[must_use]
    pub fn settled(&self, config: &Config) -> Self {
        let overrides = self
            .alike_in_groups(config)
            .overrides
            .iter()
            .filter_map(|((key, backend), change)| {
                let file = config.vips.get(key).and_then(|vip| file_member(config, vip, backend));
                let change = change.clone().settled(file.as_ref())?;
                Some(((*key, backend.clone()), change))
            })
            .collect();
        Self { overrides }
    }
}

impl Override {
    /// The newest of the marks.
    #[must_use]
    pub fn mark(&self) -> Option<&ChangeMark> {
        let member = self.member.as_ref().map(MemberOverride::mark);
        let weight = self.weight.as_ref().map(|weight| &weight.mark);
        let drained = self.drained.as_ref().map(|drain| &drain.mark);
        // RFC 3339 in UTC sorts as text.
        [member, weight, drained].into_iter().flatten().max_by(|a, b| a.at.cmp(&b.at))
    }

    /// Whether it adds a backend that the file knows by another address.
    pub(super) fn contradicts(&self, file: &DesiredMember) -> bool {
        matches!(self.member, Some(MemberOverride::Added { address, .. }) if address != file.address)
    }

    /// `member` with this change, and with `weight` where it does not give one.
    fn over(&self, member: &DesiredMember, weight: u32) -> DesiredMember {
        DesiredMember {
            weight: self.weight.as_ref().map_or(weight, |change| change.weight),
            drained: self.drained.is_some(),
            silent: self.drained.as_ref().is_some_and(|drain| drain.kind == DrainKind::Maintenance),
            ..member.clone()
        }
    }

    /// Without the parts that change nothing; `None` when no part is left.
    pub(super) fn settled(mut self, file: Option<&DesiredMember>) -> Option<Self> {
        if let (Some(MemberOverride::Added { address, weight, mark }), Some(file)) = (&self.member, file)
            && *address == file.address
        {
            let (weight, mark) = (*weight, mark.clone());
            self.weight.get_or_insert(WeightOverride { weight, mark });
            self.member = None;
        }
        let base_weight = match &self.member {
            Some(MemberOverride::Removed { .. }) => {
                self.weight = None;
                self.drained = None;
                None
            }
            Some(MemberOverride::Added { weight, .. }) => Some(*weight),
            None => file.map(|member| member.weight),
        };
        if self.weight.as_ref().map(|change| change.weight) == base_weight {
            self.weight = None;
        }
        (self != Self::default()).then_some(self)
    }
}

impl fmt::Display for Override {
    /// What was changed, such as `added 10.0.0.9 with weight 100, drained`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member.as_ref().map(|member| match member {
            MemberOverride::Added { address, weight, .. } => format!("added {address} with weight {weight}"),
            MemberOverride::Removed { .. } => "removed".to_owned(),
        });
        let weight = self.weight.as_ref().map(|change| format!("weight {}", change.weight));
        let drained = self.drained.as_ref().map(Drain::to_string);
        let parts: Vec<String> = [member, weight, drained].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

impl MemberOverride {
    #[must_use]
    pub const fn mark(&self) -> &ChangeMark {
        match self {
            Self::Added { mark, .. } | Self::Removed { mark } => mark,
        }
    }
}
