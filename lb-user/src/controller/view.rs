//! What the API shows of the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{ABI_VERSION, Counters, Reason};
use tracing::{info, warn};

use super::access_view::policy_values;
use super::backend_state::backend_state;
use super::engine::{Engine, Refused};
use super::{clock, health};
use crate::announce::{AddressReport, PlaceReport, PlaceState};
use crate::api::types::{
    AddressPlace, AddressPlaceState, AddressStatus, BackendStats, CounterValues, DestStatus, DormantChange,
    HookStatus, InterfaceStatus, JournalEntry, NextHopStatus, ReasonStats, RouteStatus, Stats, Status,
    VipAlarm, VipChange, VipChangeKind, VipStats, VipStatus,
};
use crate::build_info::{OBJECT_SHA256, REVISION, VERSION};
use crate::config::Config;
use crate::dataplane::{Dataplane, Totals};
use crate::hooks::Report;
use crate::state::{
    Alarm, Desired, DesiredMember, Drain, ForwardVip, Forwarding, Merged, NextHop, NextHops, VipKey, VipPlan,
    VipPlanKind, find_vip,
};

impl<D: Dataplane> Engine<D> {
    pub(super) fn status(&mut self) -> Status {
        self.read_counters();
        let interfaces = self.dataplane.attachments().into_iter().map(|attached| InterfaceStatus {
            name: attached.interface,
            ifindex: attached.ifindex,
            mode: attached.mode,
            driver: attached.driver,
        });
        Status {
            version: VERSION.to_owned(),
            revision: REVISION.to_owned(),
            abi_version: ABI_VERSION,
            object_hash: OBJECT_SHA256.to_owned(),
            instance: self.setup.instance.clone(),
            pid: std::process::id(),
            started_at: clock::text(self.started_at),
            config_path: self.setup.config.path.display().to_string(),
            config_loaded_at: clock::text(self.config_loaded_at),
            config_error: self.config_error.clone(),
            dataplane_error: self.dataplane_error.clone(),
            warnings: self.warnings(),
            interfaces: interfaces.collect(),
            vips: self.desired.vips.keys().filter_map(|key| self.vip_status(*key)).collect(),
            // Filled in by the task, which knows them.
            addresses: Vec::new(),
            dormant_changes: self.dormant_changes(),
            hooks: self.setup.hooks.reports().into_iter().map(hook).collect(),
        }
    }

    pub(super) fn vip(&mut self, name: &str) -> Result<VipStatus, Refused> {
        let key = find_vip(&self.desired, name)?;
        self.read_counters();
        self.vip_status(key).ok_or(Refused::Stopped)
    }

    fn vip_status(&self, key: VipKey) -> Option<VipStatus> {
        let (desired, forward) = (self.desired.vips.get(&key)?, self.target.vips.get(&key)?);
        let routes = desired.routes.iter().zip(self.target.routes_of(key)).map(|(route, (_, forward))| {
            let backends = self.dests(key, &route.members, forward);
            RouteStatus {
                name: route.name.clone(),
                sources: route.sources.len() as u64,
                backends: backends
                    .map(|dest| DestStatus { route: Some(route.name.clone()), ..dest })
                    .collect(),
            }
        });
        Some(VipStatus {
            name: desired.name.clone(),
            address: key.address,
            port: key.port,
            protocol: key.protocol,
            mode: desired.mode,
            ring_size: desired.ring_size,
            slots_in_transition: self.slots_in_transition(key),
            affinity: desired.affinity,
            fragments: desired.options.fragments,
            group: desired.options.group.clone(),
            announce: self.desired.addresses.get(&key.address).map(|of| of.announce).unwrap_or_default(),
            ring_build_us: self.ring_build.get(&key).map_or(0, micros),
            counters: vip_counters(&self.totals, key),
            policy: policy_values(&self.totals, key),
            alarms: self.alarms(key),
            backends: self.dests(key, &desired.members, forward).collect(),
            routes: routes.collect(),
        })
    }

    /// The backends of a vip, or of one of its routes.
    fn dests<'a>(
        &'a self,
        key: VipKey,
        members: &'a BTreeMap<String, DesiredMember>,
        forward: &'a ForwardVip,
    ) -> impl Iterator<Item = DestStatus> + 'a {
        forward.dests.iter().zip(forward.shares()).filter_map(move |((name, dest), slots)| {
            let member = members.get(name)?;
            let change = self.overlay.get(key, name);
            let flows = self.remembered(key, dest.address);
            let may_have_flows = self.may_have_flows(key, dest.address);
            let verdict = health::verdict(&self.setup.config, &self.verdicts, key, name, member);
            let (state, reason) = backend_state(member, dest, may_have_flows, verdict.as_ref());
            let drain = change.and_then(|change| change.drained.as_ref());
            let kind = drain.and_then(|drain| drain.kind.note()).map(str::to_owned);
            let reason = kind.into_iter().chain(reason).reduce(|kind, reason| format!("{kind}; {reason}"));
            Some(DestStatus {
                vip: self.vip_name(key),
                route: None,
                name: name.clone(),
                address: dest.address,
                weight: member.weight,
                state,
                reason,
                slots,
                share: f64::from(slots) / f64::from(forward.ring_size),
                next_hop: dest.next_hop.as_ref().ok().map(next_hop),
                counters: dest_counters(&self.totals, key, dest.address),
                flows,
                drain_deadline: drain.and_then(Drain::deadline).map(clock::text),
                drain_force: drain.is_some_and(|drain| drain.force),
                slow_start_percent: member.slow_percent(),
                suspicion: self.silence.of(&(key, dest.address)),
                suspicions: self.silence.raised(&(key, dest.address)),
                changed: change.and_then(|change| change.mark()).cloned(),
            })
        })
    }

    fn alarms(&self, key: VipKey) -> Vec<VipAlarm> {
        let alarms = self.pools.alarms(key).iter().cloned();
        alarms.map(|Alarm { kind, route, text }| VipAlarm { kind, route, text }).collect()
    }

    fn dormant_changes(&self) -> Vec<DormantChange> {
        let shown = self.dormant.iter().filter_map(|dormant| {
            let change = self.overlay.get(dormant.vip, &dormant.backend)?;
            Some(DormantChange {
                vip: dormant.vip.to_string(),
                backend: dormant.backend.clone(),
                what: change.to_string(),
                reason: dormant.reason.to_string(),
                changed: change.mark()?.clone(),
            })
        });
        shown.collect()
    }

    pub(super) fn stats(&mut self) -> Result<Stats, Refused> {
        self.totals = self.dataplane.counters().map_err(Refused::Read)?;
        let vips = self.desired.vips.iter().map(|(key, vip)| VipStats {
            name: vip.name.clone(),
            counters: vip_counters(&self.totals, *key),
            policy: policy_values(&self.totals, *key),
            backends: vip
                .all_members()
                .into_iter()
                .map(|(name, member)| BackendStats {
                    name: name.to_owned(),
                    counters: dest_counters(&self.totals, *key, member.address),
                })
                .collect(),
        });
        let reasons = Reason::ALL.iter().map(|reason| ReasonStats {
            kind: reason.kind().to_owned(),
            reason: reason.label().to_owned(),
            meaning: reason.meaning().to_owned(),
            packets: self.totals.reasons.get(&(*reason as u32)).copied().unwrap_or(0),
        });
        Ok(Stats { at: clock::now_text(), vips: vips.collect(), reasons: reasons.collect() })
    }

    pub(super) fn journal(&self) -> Result<Vec<JournalEntry>, Refused> {
        Ok(self.setup.store.journal()?)
    }

    /// Keeps the last counters when they cannot be read.
    pub(super) fn read_counters(&mut self) {
        match self.dataplane.counters() {
            Ok(totals) => self.totals = totals,
            Err(unreadable) => warn!(error = %unreadable, "cannot read the counters"),
        }
    }
}

/// Where the vips' addresses are announced.
pub(super) fn addresses(reports: &[AddressReport]) -> Vec<AddressStatus> {
    let place = |place: &PlaceReport| {
        let (state, other_mac, reason) = match &place.state {
            PlaceState::Owned => {
                (AddressPlaceState::Owned, place.claimed_by.map(|mac| mac.to_string()), None)
            }
            PlaceState::Probing => (AddressPlaceState::Probing, None, None),
            PlaceState::Conflict { mac } => {
                (AddressPlaceState::Conflict, mac.map(|mac| mac.to_string()), None)
            }
            PlaceState::Waiting { reason } => (AddressPlaceState::Waiting, None, Some(reason.clone())),
        };
        AddressPlace {
            interface: place.interface.clone(),
            state,
            reason,
            other_mac,
            last_announced: place.last_announced.map(clock::text),
            announcements: place.announcements,
            conflicts: place.conflicts,
        }
    };
    let shown = reports.iter().map(|report| AddressStatus {
        address: report.address,
        announce: report.mode,
        interfaces: report.places.iter().map(place).collect(),
    });
    shown.collect()
}

fn hook(report: Report) -> HookStatus {
    let (last_failed, last_error) = report.last_failure.unzip();
    HookStatus {
        name: report.name,
        kind: report.kind.to_owned(),
        sent: report.sent,
        failed: report.failed,
        tries_failed: report.tries_failed,
        limited: report.limited,
        dropped: report.dropped,
        waiting: report.waiting,
        is_failing: last_failed.is_some_and(|failed| report.last_sent.is_none_or(|sent| sent < failed)),
        last_sent: report.last_sent.map(clock::text),
        last_failed: last_failed.map(clock::text),
        last_error,
    }
}

fn next_hop(hop: &NextHop) -> NextHopStatus {
    NextHopStatus {
        interface: hop.interface.clone(),
        mac: hop.destination_mac.to_string(),
        gateway: hop.gateway,
        vlan: hop.vlan,
    }
}

pub(super) fn dest_counters(totals: &Totals, vip: VipKey, backend: IpAddr) -> CounterValues {
    values(&dest_totals(totals, vip, backend))
}

pub(super) fn dest_totals(totals: &Totals, vip: VipKey, backend: IpAddr) -> Counters {
    totals.dests.get(&(vip, backend)).copied().unwrap_or_default()
}

/// The sum over all backends that the vip ever had.
pub(super) fn vip_counters(totals: &Totals, vip: VipKey) -> CounterValues {
    let of_vip = totals.dests.iter().filter(|((key, _), _)| *key == vip);
    of_vip.fold(CounterValues::default(), |sum, (_, counters)| CounterValues {
        packets: sum.packets + counters.packets,
        bytes: sum.bytes + counters.bytes,
        new_flows: sum.new_flows + counters.new_flows,
    })
}

const fn values(counters: &Counters) -> CounterValues {
    CounterValues { packets: counters.packets, bytes: counters.bytes, new_flows: counters.new_flows }
}

/// A plan with the vips by name.
pub(super) fn plan(plans: &[VipPlan], before: &Desired, after: &Desired) -> Vec<VipChange> {
    let name = |key| {
        let vip = after.vips.get(&key).or_else(|| before.vips.get(&key));
        vip.map_or_else(|| key.to_string(), |vip| vip.name.clone())
    };
    let shown = plans.iter().map(|plan| VipChange {
        vip: name(plan.key),
        kind: match plan.kind {
            VipPlanKind::Added => VipChangeKind::Added,
            VipPlanKind::Removed => VipChangeKind::Removed,
            VipPlanKind::Changed => VipChangeKind::Changed,
        },
        ring_size: plan.ring_size,
        slots_moved: plan.slots_moved,
        ..VipChange::default()
    });
    shown.collect()
}

/// Backends that come in without a next hop.
pub(super) fn unresolved_notes(before: &Desired, after: &Desired, target: &Forwarding) -> Vec<String> {
    let mut notes = Vec::new();
    for (key, vip) in &after.vips {
        for name in vip.members.keys() {
            let known = before.vips.get(key).is_some_and(|vip| vip.members.contains_key(name));
            let dest = target.vips.get(key).and_then(|vip| vip.dests.get(name));
            if let Some(Err(reason)) = dest.filter(|_| !known).map(|dest| &dest.next_hop) {
                notes.push(format!(
                    "vip {}: {name} gets no slots until it has a next hop: {reason}",
                    vip.name
                ));
            }
        }
    }
    notes
}

/// What a reload cannot do, or what it does beside the vips.
pub(super) fn reload_notes(before: &Config, after: &Config, merged: &Merged) -> Vec<String> {
    let mut notes = Vec::new();
    if before.metrics_listen != after.metrics_listen {
        notes.push("metrics_listen has changed; it counts from the next start of the daemon".to_owned());
    }
    if before.hash_seed != after.hash_seed {
        notes.push("hash_seed has changed: nearly all flows get another backend".to_owned());
    }
    let loads = (&before.interfaces, before.xdp_mode, before.limits)
        != (&after.interfaces, after.xdp_mode, after.limits);
    if loads {
        notes.push("interfaces, xdp_mode or limits have changed: the program is loaded anew".to_owned());
    }
    notes.extend(merged.dormant.iter().map(|change| {
        format!("runtime change of {} in {} has no effect: {}", change.backend, change.vip, change.reason)
    }));
    notes
}

/// Says what has become of the next hops that are in use.
pub(super) fn log_hops(desired: &Desired, before: &NextHops, after: &NextHops) {
    for (vip, name, member) in desired
        .vips
        .values()
        .flat_map(|vip| vip.all_members().into_iter().map(|(name, member)| (&vip.name, name, member)))
    {
        match (before.get(&member.address), after.get(&member.address)) {
            (before, Some(Err(reason))) if before != after.get(&member.address) && !reason.is_open() => {
                warn!(vip, backend = name, address = %member.address, %reason, "backend has no next hop");
            }
            (before, Some(Ok(hop))) if before != Some(&Ok(hop.clone())) => {
                info!(vip, backend = name, address = %member.address, interface = hop.interface, mac = %hop.destination_mac, "next hop");
            }
            _ => {}
        }
    }
}

fn micros(duration: &Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
