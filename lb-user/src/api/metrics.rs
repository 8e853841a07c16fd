//! `/metrics`: a snapshot as OpenMetrics text. The names are documented in docs/METRICS.md.

mod health;
mod hooks;
mod peers;
mod vrrp;

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::types::{AddressPlaceState, BackendState};
use crate::controller::MetricsSnapshot;
use crate::state::AlarmKind;

/// The content type of what [`render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter<u64, AtomicU64>>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// The text of a scrape. Built from the snapshot alone, so no series outlives its object.
///
/// # Errors
/// Never in practice: writing into a string does not fail.
pub fn render(snapshot: &MetricsSnapshot) -> Result<String, fmt::Error> {
    let mut page = Page { registry: Registry::with_prefix("ferrolev") };
    page.process(snapshot);
    page.traffic(snapshot);
    page.state(snapshot);
    page.addresses(snapshot);
    health::write(&mut page.registry, &snapshot.checks, &snapshot.check_delays);
    hooks::write(&mut page.registry, &snapshot.hooks);
    if let Some(status) = &snapshot.vrrp {
        vrrp::write(&mut page.registry, status);
    }
    peers::write(&mut page.registry, &snapshot.peers);
    page.sizes(snapshot);
    page.control(snapshot);
    let mut text = String::new();
    encode(&mut text, &page.registry)?;
    Ok(sorted(&text))
}

struct Page {
    registry: Registry,
}

impl Page {
    fn process(&mut self, snapshot: &MetricsSnapshot) {
        let build: Labels = vec![
            ("version", snapshot.version.clone()),
            ("revision", snapshot.revision.clone()),
            ("abi_version", snapshot.abi_version.to_string()),
            ("object_hash", snapshot.object_hash.clone()),
        ];
        self.registry.register("build", "What the daemon was built from", Info::new(build));
        self.number(
            "start_time",
            "When the daemon started, since the epoch",
            Some(Unit::Seconds),
            snapshot.started_at,
        );
    }

    fn traffic(&mut self, snapshot: &MetricsSnapshot) {
        let packets = self.counter("vip_packets", "Packets forwarded for a vip");
        let bytes =
            self.counter("vip_bytes", "Bytes of IP packets forwarded for a vip, before encapsulation");
        let flows = self.counter("vip_new_flows", "TCP connection attempts forwarded for a vip");
        for vip in &snapshot.vips {
            let labels = || vec![("vip", vip.name.clone())];
            packets.set_value(labels(), vip.counters.packets);
            bytes.set_value(labels(), vip.counters.bytes);
            flows.set_value(labels(), vip.counters.new_flows);
        }
        self.policies(snapshot);
        let packets = self.counter("backend_packets", "Packets forwarded to a backend of a vip");
        let bytes = self.counter(
            "backend_bytes",
            "Bytes of IP packets forwarded to a backend of a vip, before encapsulation",
        );
        let flows =
            self.counter("backend_new_flows", "TCP connection attempts forwarded to a backend of a vip");
        for (vip, backend) in snapshot.backends() {
            packets.set_value(of(vip, backend), backend.counters.packets);
            bytes.set_value(of(vip, backend), backend.counters.bytes);
            flows.set_value(of(vip, backend), backend.counters.new_flows);
        }
        let reasons = self.counter("packets", "Packets passed to the kernel, dropped or answered, by reason");
        for (reason, count) in &snapshot.reasons {
            let labels = vec![("kind", reason.kind().to_owned()), ("reason", reason.label().to_owned())];
            reasons.set_value(labels, *count);
        }
    }

    fn policies(&mut self, snapshot: &MetricsSnapshot) {
        let flows = self.counter(
            "vip_flow_attempts",
            "Flows that wanted to begin at a vip with access lists, limits or routes: TCP SYN and QUIC Initial packets that its lists let through",
        );
        let denied = self.counter("vip_access_denied", "Packets for a vip that an access list denied");
        let limited = self.counter("vip_flows_limited", "New flows dropped beyond a limit, by the limit");
        for vip in &snapshot.vips {
            let labels = || vec![("vip", vip.name.clone())];
            flows.set_value(labels(), vip.policy.new_flows);
            denied.set_value(labels(), vip.policy.denied);
            for (limit, count) in [("vip", vip.policy.vip_limited), ("source", vip.policy.source_limited)] {
                limited.set_value([labels(), vec![("limit", limit.to_owned())]].concat(), count);
            }
        }
    }

    fn state(&mut self, snapshot: &MetricsSnapshot) {
        let states =
            self.gauge("backend_state", "1 for the state that a backend of a vip is in, else 0", None);
        let slots = self.gauge("backend_slots", "Slots of a vip's ring that a backend owns", None);
        let weights = self.gauge("backend_weight", "Weight that was asked for", None);
        let suspicions = self.counter(
            "backend_suspicions",
            "Times that a backend of a vip came to be suspected of answering nobody",
        );
        let suspected = self.gauge(
            "backend_suspected",
            "1 while a backend of a vip is suspected of answering nobody",
            None,
        );
        let flows = self.gauge("backend_flows", "Remembered flows of a vip that go on with a backend", None);
        for (vip, backend) in snapshot.backends() {
            flows.set_value(of(vip, backend), backend.flows as f64);
            for (state, label) in STATES {
                let mut labels = of(vip, backend);
                labels.push(("state", label.to_owned()));
                states.set_value(labels, if backend.state == state { 1.0 } else { 0.0 });
            }
            slots.set_value(of(vip, backend), f64::from(backend.slots));
            weights.set_value(of(vip, backend), f64::from(backend.weight));
            suspicions.set_value(of(vip, backend), backend.suspicions);
            suspected.set_value(of(vip, backend), if backend.suspicion.is_some() { 1.0 } else { 0.0 });
        }
        let alarms =
            self.gauge("vip_alarm", "1 for what is out of the ordinary with a vip's backends, else 0", None);
        for vip in &snapshot.vips {
            for kind in AlarmKind::ALL {
                let labels = vec![("vip", vip.name.clone()), ("alarm", kind.label().to_owned())];
                alarms.set_value(labels, if vip.alarms.contains(&kind) { 1.0 } else { 0.0 });
            }
        }
        let rings = self.gauge("vip_ring_slots", "Slots of a vip's ring", None);
        let transitions = self.gauge(
            "vip_slots_in_transition",
            "Slots of a vip's ring that have changed hands while older flows go on with the backend before",
            None,
        );
        let builds =
            self.gauge("vip_ring_build", "How long the last build of a vip's ring took", Some(Unit::Seconds));
        for vip in &snapshot.vips {
            rings.set_value(vec![("vip", vip.name.clone())], f64::from(vip.ring_slots));
            transitions.set_value(vec![("vip", vip.name.clone())], f64::from(vip.slots_in_transition));
            builds.set_value(vec![("vip", vip.name.clone())], vip.ring_build_seconds);
        }
        let attached =
            self.gauge("interface_attached", "1 for each interface with the program attached", None);
        for interface in &snapshot.interfaces {
            let mode = format!("{:?}", interface.mode).to_lowercase();
            let labels = vec![
                ("interface", interface.name.clone()),
                ("mode", mode),
                ("driver", interface.driver.clone()),
            ];
            attached.set_value(labels, 1.0);
        }
    }

    fn addresses(&mut self, snapshot: &MetricsSnapshot) {
        let states = self.gauge(
            "address_state",
            "1 for the state that a vip's address is in on an interface, else 0",
            None,
        );
        let sent = self.counter("announcements", "Times that a vip's address was announced on an interface");
        let conflicts =
            self.counter("address_conflicts", "Times that another host was found to have a vip's address");
        for address in &snapshot.addresses {
            for place in &address.interfaces {
                let labels =
                    || vec![("address", address.address.to_string()), ("interface", place.interface.clone())];
                for (state, label) in ADDRESS_STATES {
                    let mut labels = labels();
                    labels.push(("state", label.to_owned()));
                    states.set_value(labels, if place.state == state { 1.0 } else { 0.0 });
                }
                sent.set_value(labels(), place.announcements);
                conflicts.set_value(labels(), place.conflicts);
            }
        }
    }

    fn sizes(&mut self, snapshot: &MetricsSnapshot) {
        let family = |name: &str| vec![("family", name.to_owned())];
        let vips = self.gauge("vips", "Vips, by address family", None);
        vips.set_value(family("ipv4"), snapshot.vips_v4 as f64);
        vips.set_value(family("ipv6"), snapshot.vips_v6 as f64);
        let capacity = self.gauge("vips_capacity", "Vips that fit, by address family", None);
        capacity.set_value(family("ipv4"), snapshot.vips_capacity as f64);
        capacity.set_value(family("ipv6"), snapshot.vips_capacity as f64);
        self.number(
            "dests",
            "Dests taken: for each vip a power of two with room for its backends twice, and one spare",
            None,
            snapshot.dests as f64,
        );
        self.number("dests_capacity", "Dests that fit (limits.dests)", None, snapshot.dests_capacity as f64);
        let bytes = || Some(Unit::Bytes);
        self.number(
            "ring_memory",
            "Memory of the rings that vips have; those with the same backends share theirs",
            bytes(),
            snapshot.ring_memory.used as f64,
        );
        self.number(
            "ring_memory_allocated",
            "Memory that is taken for rings, with room for changes; more is taken when it does not suffice",
            bytes(),
            snapshot.ring_memory.allocated as f64,
        );
        self.number(
            "ring_memory_capacity",
            "Memory that may be taken for rings (limits.ring_memory)",
            bytes(),
            snapshot.ring_memory_limit as f64,
        );
    }

    fn control(&mut self, snapshot: &MetricsSnapshot) {
        let overrides =
            self.gauge("overrides", "Runtime changes that are kept, by whether they have an effect", None);
        for (effect, count) in
            [("active", snapshot.overrides_active), ("dormant", snapshot.overrides_dormant)]
        {
            overrides.set_value(vec![("effect", effect.to_owned())], count as f64);
        }
        let reloads = self.counter("reloads", "Reloads of the configuration file, by result");
        for (result, count) in [("success", snapshot.reloads_done), ("failure", snapshot.reloads_refused)] {
            reloads.set_value(vec![("result", result.to_owned())], count);
        }
        self.number(
            "last_reload_successful",
            "1 unless the last reload was refused",
            None,
            flag(snapshot.config_current),
        );
        self.number(
            "last_reload_success_timestamp",
            "When the running configuration was read, since the epoch",
            Some(Unit::Seconds),
            snapshot.config_loaded_at,
        );
        let errors = Counter::<u64, AtomicU64>::default();
        errors.inc_by(snapshot.apply_errors);
        self.registry.register("apply_errors", "Times that the dataplane refused what it was told", errors);
        self.number(
            "dataplane_in_sync",
            "1 while the kernel forwards as it should",
            None,
            flag(snapshot.dataplane_in_sync),
        );
    }

    fn counter(&mut self, name: &str, help: &str) -> Counters {
        let family = Counters::default();
        self.registry.register(name, help, family.clone());
        family
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>) -> Gauges {
        let family = Gauges::default();
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, family.clone()),
            None => self.registry.register(name, help, family.clone()),
        }
        family
    }

    fn number(&mut self, name: &str, help: &str, unit: Option<Unit>, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, gauge),
            None => self.registry.register(name, help, gauge),
        }
    }
}

/// The samples of each metric in order, since they come out of hash maps.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for samples in lines.chunk_by_mut(|before, after| !before.starts_with('#') && !after.starts_with('#')) {
        match samples.iter().any(|sample| sample.contains("le=\"")) {
            // The buckets of one histogram stay in their order.
            true => samples.sort_by_key(|sample| health::labels(sample)),
            false => samples.sort_unstable(),
        }
    }
    lines.join("\n") + "\n"
}

const STATES: [(BackendState, &str); 8] = [
    (BackendState::Initial, "initial"),
    (BackendState::Healthy, "healthy"),
    (BackendState::Unhealthy, "unhealthy"),
    (BackendState::Standby, "standby"),
    (BackendState::Draining, "draining"),
    (BackendState::Drained, "drained"),
    (BackendState::Unused, "unused"),
    (BackendState::Unresolved, "unresolved"),
];

const ADDRESS_STATES: [(AddressPlaceState, &str); 4] = [
    (AddressPlaceState::Owned, "owned"),
    (AddressPlaceState::Probing, "probing"),
    (AddressPlaceState::Conflict, "conflict"),
    (AddressPlaceState::Waiting, "waiting"),
];

const fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

fn of(vip: &str, backend: &crate::controller::BackendSample) -> Labels {
    vec![("vip", vip.to_owned()), ("backend", backend.name.clone())]
}

trait SetValue<V> {
    fn set_value(&self, labels: Labels, value: V);
}

impl SetValue<u64> for Counters {
    fn set_value(&self, labels: Labels, value: u64) {
        self.get_or_create(&labels).inc_by(value);
    }
}

impl SetValue<f64> for Gauges {
    fn set_value(&self, labels: Labels, value: f64) {
        self.get_or_create(&labels).set(value);
    }
}
