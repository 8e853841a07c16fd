//! One runtime change on top of the others: validated against what runs, then laid into the overlay.

mod groups;
pub(super) mod quic;

use std::net::IpAddr;

use lb_common::maglev;

use super::overlay::{
    Dormant, MemberOverride, Merged, Overlay, Override, WeightOverride, file_member, merge,
};
use super::{Change, ChangeMark, Desired, DesiredVip, Drain, DrainKind, VipKey};
use crate::config::{Config, DEFAULT_WEIGHT, why_no_name, why_unusable};
use crate::dataplane::Limits;

/// The largest weight.
pub const MAX_WEIGHT: u32 = 65_535;

/// Why a runtime change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("there is no vip '{vip}'{}; `ferrolev vip list` shows all", did_you_mean(.nearest))]
    UnknownVip { vip: String, nearest: Option<String> },
    #[error("{} backend '{backend}'{}; `ferrolev backend list` shows all", .vip.as_ref().map_or("no vip has".to_owned(), |vip| format!("vip {vip} has no")), did_you_mean(.nearest))]
    UnknownBackend { vip: Option<String>, backend: String, nearest: Option<String> },
    #[error(
        "vip {vip} already has backend {backend}; use `ferrolev backend weight` or `undrain` to change it"
    )]
    AlreadyThere { vip: String, backend: String },
    #[error("vip {vip} already has {address} as backend {other}; a backend can be in a vip once")]
    AddressUsed { vip: String, address: IpAddr, other: String },
    #[error("backend {backend} is {known}, not {address}; leave the address out or choose another name")]
    OtherAddress { backend: String, address: IpAddr, known: IpAddr },
    #[error("backend '{backend}' is not in the file, so it needs an address{}; add --address ADDRESS", did_you_mean(.nearest))]
    NoAddress { backend: String, nearest: Option<String> },
    #[error("the backend address {address} {why}")]
    BadAddress { address: IpAddr, why: String },
    #[error("the backend name '{name}' {why}")]
    BadName { name: String, why: String },
    #[error("weight {0} is too large; use 0 to {MAX_WEIGHT}")]
    Weight(u32),
    #[error(
        "{needed} dests would be taken (each vip and route a power of two with room for its backends twice, and one spare) and limits.dests is {capacity}; raise it in {file} and reload"
    )]
    TooManyDests { needed: u64, capacity: u32, file: String },
    #[error(
        "vip {vip} routes QUIC by server ids, and backend {backend} {why}; give it one of its own with the vip's quic_server_id_length in {file} and reload"
    )]
    ServerId { vip: String, backend: String, why: String, file: String },
    #[error("vip {0} would have more than 65534 backends, which do not fit a ring")]
    TooManyMembers(String),
}

impl ChangeError {
    /// Whether the change names something that does not exist.
    #[must_use]
    pub const fn is_unknown_object(&self) -> bool {
        matches!(self, Self::UnknownVip { .. } | Self::UnknownBackend { .. })
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

/// What a change makes of the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub overlay: Overlay,
    /// What the caller should know besides.
    pub notes: Vec<String>,
    /// Backends whose flows are given up with this change, though nothing of it is kept in the overlay.
    pub given_up: Vec<(VipKey, IpAddr)>,
}

impl Overlay {
    /// The overlay with `change` on top.
    ///
    /// # Errors
    /// When the change names something unknown, contradicts what runs or exceeds a limit.
    pub fn apply(&self, change: &Change, mark: &ChangeMark, config: &Config) -> Result<Changed, ChangeError> {
        let now = mark.time();
        let Merged { desired, dormant, .. } = merge(config, self, now);
        let mut given_up = Vec::new();
        let mut next = self.clone();
        let asked = match change {
            Change::Add { vip, backend, address, weight } => {
                let asked = vec![find_vip(&desired, vip)?];
                for key in groups::widened(config, &asked) {
                    let added = Self::added(config, &desired, key, backend, (*address, *weight), mark)?;
                    next.put(config, key, backend, added);
                }
                asked
            }
            Change::Remove { backend, vip, force } => {
                let vips = match targets(&desired, backend, vip.as_deref()) {
                    Ok(vips) => vips,
                    // What has no effect any more can at least be forgotten, and what is gone be given up.
                    Err(error) => dormant_targets(&dormant, backend, vip.as_deref())
                        .or_else(|| {
                            self.removed_targets(&desired, backend, vip.as_deref()).filter(|_| *force)
                        })
                        .ok_or(error)?,
                };
                for key in &groups::widened(config, &vips) {
                    let member = desired.vips.get(key).and_then(|vip| vip.members.get(backend)).cloned();
                    let known = || config.vips.get(key).and_then(|vip| file_member(config, vip, backend));
                    let gone = member.or_else(known).filter(|_| *force);
                    given_up.extend(gone.map(|member| (*key, member.address)));
                    let removed = Override {
                        member: Some(MemberOverride::Removed { mark: mark.clone() }),
                        ..Override::default()
                    };
                    let in_file = config.vips.get(key).is_some_and(|vip| vip.backends.contains_key(backend));
                    next.put(config, *key, backend, if in_file { removed } else { Override::default() });
                }
                vips
            }
            Change::Drain { backend, vip, timeout_seconds, force } => {
                let asked = (DrainKind::Drained, *timeout_seconds, *force);
                next.drain(config, &desired, backend, vip.as_deref(), asked, mark)?
            }
            Change::Disable { backend, vip } => {
                let asked = (DrainKind::Disabled, None, true);
                next.drain(config, &desired, backend, vip.as_deref(), asked, mark)?
            }
            Change::Maintenance { backend, vip, timeout_seconds, force } => {
                let asked = (DrainKind::Maintenance, *timeout_seconds, *force);
                next.drain(config, &desired, backend, vip.as_deref(), asked, mark)?
            }
            Change::Undrain { backend, vip } | Change::Enable { backend, vip } => {
                let vips = targets(&desired, backend, vip.as_deref())?;
                next.edit(config, &vips, backend, |change| change.drained = None);
                vips
            }
            Change::Weight { backend, vip, weight } => {
                check_weight(*weight)?;
                let vips = targets(&desired, backend, vip.as_deref())?;
                next.edit(config, &vips, backend, |change| match &mut change.weight {
                    Some(before) if before.weight == *weight => {}
                    place => {
                        let mark = mark.clone();
                        *place = Some(WeightOverride { weight: *weight, mark });
                    }
                });
                vips
            }
        };
        let after = merge(config, &next, now).desired;
        check_limits(config, &after)?;
        let vips = groups::widened(config, &asked);
        let mut notes = notes(&desired, &after, &vips, change);
        notes.extend(groups::notes(config, &asked, &vips, &after));
        if next == *self && given_up.is_empty() {
            notes.push("nothing to change: it is so already".to_owned());
        }
        Ok(Changed { overlay: next, notes, given_up })
    }

    /// Vips of the file that had `backend` and lost it at run time.
    fn removed_targets(&self, desired: &Desired, backend: &str, vip: Option<&str>) -> Option<Vec<VipKey>> {
        let only = vip.map(|vip| find_vip(desired, vip)).transpose().ok()?;
        let is_removed = |change: &Override| matches!(change.member, Some(MemberOverride::Removed { .. }));
        let found = self.iter().filter(|(_, name, change)| *name == backend && is_removed(change));
        let found: Vec<VipKey> =
            found.map(|(key, ..)| key).filter(|key| only.is_none_or(|only| only == *key)).collect();
        (!found.is_empty()).then_some(found)
    }

    fn added(
        config: &Config,
        desired: &Desired,
        key: VipKey,
        backend: &str,
        (address, weight): (Option<IpAddr>, Option<u32>),
        mark: &ChangeMark,
    ) -> Result<Override, ChangeError> {
        check_name(backend)?;
        weight.map_or(Ok(()), check_weight)?;
        let vip = &desired.vips[&key];
        if vip.members.contains_key(backend) {
            return Err(ChangeError::AlreadyThere { vip: vip.name.clone(), backend: backend.to_owned() });
        }
        let file = config.backends.get(backend);
        let known = file.map(|file| file.address).or_else(|| address_in_use(desired, backend));
        let address = match (address, known) {
            (Some(address), Some(known)) if address != known => {
                return Err(ChangeError::OtherAddress { backend: backend.to_owned(), address, known });
            }
            (Some(address), _) | (None, Some(address)) => address,
            (None, None) => {
                return Err(ChangeError::NoAddress {
                    backend: backend.to_owned(),
                    nearest: nearest(backend, config.backends.keys().map(String::as_str)),
                });
            }
        };
        check_address(config, address)?;
        if let Some((other, _)) = vip.members.iter().find(|(_, member)| member.address == address) {
            return Err(ChangeError::AddressUsed { vip: vip.name.clone(), address, other: other.clone() });
        }
        let in_file = config.vips.get(&key);
        if let Some(why) = in_file.and_then(|file| quic::why_unfit(config, file, &vip.members, backend)) {
            let file = config.path.display().to_string();
            return Err(ChangeError::ServerId {
                vip: vip.name.clone(),
                backend: backend.to_owned(),
                why,
                file,
            });
        }
        let of_vip = in_file.and_then(|vip| file_member(config, vip, backend));
        let default = of_vip.map(|member| member.weight).or(file.map(|file| file.weight));
        Ok(Override {
            member: Some(MemberOverride::Added {
                address,
                weight: weight.or(default).unwrap_or(DEFAULT_WEIGHT),
                mark: mark.clone(),
            }),
            ..Override::default()
        })
    }

    fn drain(
        &mut self,
        config: &Config,
        desired: &Desired,
        backend: &str,
        vip: Option<&str>,
        (kind, timeout_seconds, force): (DrainKind, Option<u64>, bool),
        mark: &ChangeMark,
    ) -> Result<Vec<VipKey>, ChangeError> {
        let vips = targets(desired, backend, vip)?;
        let asked = Drain { mark: mark.clone(), timeout_seconds, force, kind };
        self.edit(config, &vips, backend, |change| {
            if asked.replaces(change.drained.as_ref()) {
                change.drained = Some(asked.clone());
            }
        });
        Ok(vips)
    }

    fn edit(&mut self, config: &Config, vips: &[VipKey], backend: &str, edit: impl Fn(&mut Override)) {
        for key in &groups::widened(config, vips) {
            let mut change = self.get(*key, backend).cloned().unwrap_or_default();
            let file = config.vips.get(key).and_then(|vip| file_member(config, vip, backend));
            if file.is_some_and(|file| change.contradicts(&file)) {
                change = Override::default();
            }
            edit(&mut change);
            self.put(config, *key, backend, change);
        }
    }

    fn put(&mut self, config: &Config, key: VipKey, backend: &str, change: Override) {
        let file = config.vips.get(&key).and_then(|vip| file_member(config, vip, backend));
        let place = (key, backend.to_owned());
        match change.settled(file.as_ref()) {
            Some(change) => self.overrides.insert(place, change),
            None => self.overrides.remove(&place),
        };
    }
}

/// The vips in which `backend` is to be changed: one, or all that have it.
fn targets(desired: &Desired, backend: &str, vip: Option<&str>) -> Result<Vec<VipKey>, ChangeError> {
    let only = vip.map(|vip| find_vip(desired, vip)).transpose()?;
    let searched = || {
        let all = desired.vips.iter();
        all.filter(move |(key, _)| only.is_none_or(|only| only == **key))
    };
    let found: Vec<VipKey> =
        searched().filter(|(_, vip)| vip.members.contains_key(backend)).map(|(key, _)| *key).collect();
    if found.is_empty() {
        let names = searched().flat_map(|(_, vip)| vip.members.keys().map(String::as_str));
        return Err(ChangeError::UnknownBackend {
            vip: only.map(|key| desired.vips[&key].name.clone()),
            backend: backend.to_owned(),
            nearest: nearest(backend, names),
        });
    }
    Ok(found)
}

/// Vips in which changes of `backend` have no effect.
fn dormant_targets(dormant: &[Dormant], backend: &str, vip: Option<&str>) -> Option<Vec<VipKey>> {
    let only = vip.map(str::parse::<VipKey>).transpose().ok()?;
    let found: Vec<VipKey> = dormant
        .iter()
        .filter(|change| change.backend == backend && only.is_none_or(|only| only == change.vip))
        .map(|change| change.vip)
        .collect();
    (!found.is_empty()).then_some(found)
}

/// The vip with this name, or with this `ADDRESS:PORT/PROTOCOL`.
pub(crate) fn find_vip(desired: &Desired, text: &str) -> Result<VipKey, ChangeError> {
    let by_name = desired.vips.iter().find(|(_, vip)| vip.name == text).map(|(key, _)| *key);
    let by_key = || text.parse().ok().filter(|key| desired.vips.contains_key(key));
    by_name.or_else(by_key).ok_or_else(|| ChangeError::UnknownVip {
        vip: text.to_owned(),
        nearest: nearest(text, desired.vips.values().map(|vip| vip.name.as_str())),
    })
}

fn address_in_use(desired: &Desired, backend: &str) -> Option<IpAddr> {
    let mut vips = desired.vips.values();
    vips.find_map(|vip| vip.members.get(backend).map(|member| member.address))
}

fn check_weight(weight: u32) -> Result<(), ChangeError> {
    if weight > MAX_WEIGHT { Err(ChangeError::Weight(weight)) } else { Ok(()) }
}

/// The rules are those of the file.
fn check_name(name: &str) -> Result<(), ChangeError> {
    why_no_name(name).map_or(Ok(()), |why| Err(ChangeError::BadName { name: name.to_owned(), why }))
}

fn check_address(config: &Config, address: IpAddr) -> Result<(), ChangeError> {
    let of_vip = || {
        let vip = config.vips.iter().find(|(key, _)| key.address == address);
        vip.map(|(_, vip)| format!("is the address of vip {}; a backend must be another host", vip.name))
    };
    let why = why_unusable(address).or_else(of_vip);
    why.map_or(Ok(()), |why| Err(ChangeError::BadAddress { address, why }))
}

fn check_limits(config: &Config, after: &Desired) -> Result<(), ChangeError> {
    if let Some(vip) = after.vips.values().find(|vip| vip.members.len() >= usize::from(maglev::EMPTY)) {
        return Err(ChangeError::TooManyMembers(vip.name.clone()));
    }
    let of_routes = |vip: &DesiredVip| vip.routes.iter().map(|route| route.members.len()).collect::<Vec<_>>();
    let rings = after.vips.values().flat_map(|vip| std::iter::once(vip.members.len()).chain(of_routes(vip)));
    let needed = Limits::dests_needed(rings);
    if needed > u64::from(config.limits.dests) {
        return Err(ChangeError::TooManyDests {
            needed,
            capacity: config.limits.dests,
            file: config.path.display().to_string(),
        });
    }
    Ok(())
}

fn notes(before: &Desired, after: &Desired, vips: &[VipKey], change: &Change) -> Vec<String> {
    let serves = |vip: &DesiredVip| vip.members.values().any(|member| member.effective_weight() > 0);
    let mut notes = Vec::new();
    for (key, vip) in vips.iter().filter_map(|key| after.vips.get_key_value(key)) {
        let name = &vip.name;
        if !serves(vip) && before.vips.get(key).is_some_and(serves) {
            notes.push(format!("vip {name} has no backend left in its ring: its packets will be dropped"));
        }
        if let Change::Weight { backend, .. } = change
            && vip.members.get(backend).is_some_and(|member| member.drained)
        {
            notes.push(format!("vip {name}: {backend} is drained; the weight counts once it is undrained"));
        }
    }
    notes
}

/// The candidate that `wanted` was probably meant to be.
fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= 1 + wanted.chars().count() / 4)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests;
