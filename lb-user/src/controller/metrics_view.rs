//! The numbers that `/metrics` shows, taken from the engine in one go.

use std::time::SystemTime;

use lb_common::abi::Reason;

use super::engine::Engine;
use super::health_view::CheckSample;
use super::view::vip_counters;
use crate::api::types::{
    AddressStatus, CounterValues, DestStatus, HookStatus, InterfaceStatus, PeersReport, PolicyValues,
    RouteStatus, VrrpStatus,
};
use crate::dataplane::{Dataplane, Limits, MAX_VIPS, RingMemory};
use crate::health::LateTally;
use crate::state::AlarmKind;

/// Every value of `/metrics`.
#[derive(Clone, Debug)]
pub struct MetricsSnapshot {
    pub version: String,
    pub revision: String,
    pub abi_version: u32,
    pub object_hash: String,
    /// Seconds since the epoch.
    pub started_at: f64,
    pub vips: Vec<VipSample>,
    /// By reason; all reasons are there.
    pub reasons: Vec<(Reason, u64)>,
    pub interfaces: Vec<InterfaceStatus>,
    /// Filled in by the task, which knows them.
    pub addresses: Vec<AddressStatus>,
    /// Filled in by the task, which knows them.
    pub checks: Vec<CheckSample>,
    pub hooks: Vec<HookStatus>,
    /// How late probes began.
    pub check_delays: LateTally,
    /// Filled in by the task, which knows it.
    pub vrrp: Option<VrrpStatus>,
    pub peers: PeersReport,
    pub vips_v4: u64,
    pub vips_v6: u64,
    /// Vips of one address family that fit.
    pub vips_capacity: u64,
    /// As [`Limits::dests_needed`] counts.
    pub dests: u64,
    pub dests_capacity: u64,
    pub ring_memory: RingMemory,
    pub ring_memory_limit: u64,
    pub overrides_active: u64,
    pub overrides_dormant: u64,
    pub reloads_done: u64,
    pub reloads_refused: u64,
    /// Whether the running configuration is the file that was read last.
    pub config_current: bool,
    /// When the running configuration was read, in seconds since the epoch.
    pub config_loaded_at: f64,
    pub apply_errors: u64,
    /// Whether the kernel forwards as it should.
    pub dataplane_in_sync: bool,
}

/// A vip's part of the metrics.
#[derive(Clone, Debug)]
pub struct VipSample {
    pub name: String,
    pub counters: CounterValues,
    pub policy: PolicyValues,
    pub ring_slots: u32,
    pub slots_in_transition: u32,
    pub alarms: Vec<AlarmKind>,
    pub ring_build_seconds: f64,
    pub backends: Vec<BackendSample>,
}

/// A backend of a vip.
pub type BackendSample = DestStatus;

impl<D: Dataplane> Engine<D> {
    pub(super) fn metrics(&mut self) -> MetricsSnapshot {
        let status = self.status();
        let limits = self.setup.config.limits;
        let v4 = self.desired.vips.keys().filter(|key| key.address.is_ipv4()).count() as u64;
        // Each route has dests of its own.
        let of_routes =
            status.vips.iter().flat_map(|vip| vip.routes.iter().map(|route| route.backends.len()));
        let blocks = status.vips.iter().map(|vip| vip.backends.len()).chain(of_routes);
        let dormant = self.dormant.len() as u64;
        MetricsSnapshot {
            vips_v4: v4,
            vips_v6: self.desired.vips.len() as u64 - v4,
            vips_capacity: MAX_VIPS as u64,
            dests: Limits::dests_needed(blocks),
            dests_capacity: u64::from(limits.dests),
            ring_memory: self.dataplane.ring_memory(),
            ring_memory_limit: limits.ring_memory,
            overrides_active: self.overlay.iter().count() as u64 - dormant,
            overrides_dormant: dormant,
            reloads_done: self.tallies.reloads_done,
            reloads_refused: self.tallies.reloads_refused,
            config_current: self.config_error.is_none(),
            config_loaded_at: epoch_seconds(self.config_loaded_at),
            apply_errors: self.tallies.apply_errors,
            dataplane_in_sync: self.dataplane_error.is_none(),
            started_at: epoch_seconds(self.started_at),
            reasons: Reason::ALL
                .iter()
                .map(|reason| (*reason, self.totals.reasons.get(&(*reason as u32)).copied().unwrap_or(0)))
                .collect(),
            vips: self
                .desired
                .vips
                .keys()
                .zip(status.vips)
                .map(|(key, vip)| VipSample {
                    counters: vip_counters(&self.totals, *key),
                    policy: vip.policy,
                    name: vip.name,
                    ring_slots: vip.ring_size,
                    slots_in_transition: vip.slots_in_transition,
                    alarms: vip.alarms.iter().map(|alarm| alarm.kind).collect(),
                    ring_build_seconds: self
                        .ring_build
                        .get(key)
                        .map_or(0.0, std::time::Duration::as_secs_f64),
                    backends: with_routes(vip.backends, vip.routes),
                })
                .collect(),
            version: status.version,
            revision: status.revision,
            abi_version: status.abi_version,
            object_hash: status.object_hash,
            interfaces: status.interfaces,
            hooks: status.hooks,
            addresses: Vec::new(),
            checks: Vec::new(),
            check_delays: LateTally::default(),
            vrrp: None,
            peers: PeersReport::default(),
        }
    }
}

/// The backends of a vip, and those that only its routes have.
fn with_routes(mut backends: Vec<BackendSample>, routes: Vec<RouteStatus>) -> Vec<BackendSample> {
    for dest in routes.into_iter().flat_map(|route| route.backends) {
        if !backends.iter().any(|known| known.name == dest.name) {
            backends.push(dest);
        }
    }
    backends
}

impl MetricsSnapshot {
    /// All backends with their vips' names.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &BackendSample)> {
        let vips = self.vips.iter();
        vips.flat_map(|vip| vip.backends.iter().map(|backend| (vip.name.as_str(), backend)))
    }
}

fn epoch_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
