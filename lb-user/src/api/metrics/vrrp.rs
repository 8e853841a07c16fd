//! The metrics of virtual routers. Their counts begin anew when one is new, and with the daemon.

use std::sync::atomic::AtomicU64;

use lb_vrrp::wire::Reject;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Gauges, Labels, SetValue, flag};
use crate::api::types::{VrrpRole, VrrpRouter, VrrpStatus};

const ROLES: [(VrrpRole, &str); 4] = [
    (VrrpRole::Init, "init"),
    (VrrpRole::Backup, "backup"),
    (VrrpRole::Master, "master"),
    (VrrpRole::Fault, "fault"),
];

pub(super) fn write(registry: &mut Registry, status: &VrrpStatus) {
    let gauge = |registry: &mut Registry, name: &str, help: &str| {
        let family = Gauges::default();
        registry.register(name, help, family.clone());
        family
    };
    let fit = Gauge::<f64, AtomicU64>::default();
    fit.set(flag(status.fitness.fit));
    registry.register("vrrp_fit", "1 while this host can forward, as far as a master has to", fit);
    let roles = gauge(registry, "vrrp_role", "1 for what this host is for a virtual router, else 0");
    let priorities =
        gauge(registry, "vrrp_priority", "Priority of a virtual router that counts, after tracking");
    let maintenance =
        gauge(registry, "vrrp_maintenance", "1 while a virtual router is not to be master by order");
    let leases = Gauges::default();
    registry.register_with_unit(
        "vrrp_lease_left",
        "Until the kernel ends its answers for a master's addresses, unless renewed",
        Unit::Seconds,
        leases.clone(),
    );
    for router in &status.routers {
        for (known, label) in ROLES {
            roles.set_value(of(router, &[("role", label)]), flag(router.role == known));
        }
        priorities.set_value(of(router, &[]), f64::from(router.priority));
        maintenance.set_value(of(router, &[]), flag(router.maintenance));
        if let Some(left) = router.lease_left_ms {
            leases.set_value(of(router, &[]), left as f64 / 1000.0);
        }
    }
    counts(registry, status);
    let owned = gauge(
        registry,
        "vrrp_external_owned",
        "1 while addresses of another program's election are this host's",
    );
    for external in &status.external {
        owned.set_value(vec![("external", external.name.clone())], flag(external.owned));
    }
}

fn counts(registry: &mut Registry, status: &VrrpStatus) {
    let mut counter = |name: &str, help: &str| {
        let family = Counters::default();
        registry.register(name, help, family.clone());
        family
    };
    let transitions = counter("vrrp_transitions", "Changes of the role of a virtual router");
    let masters = counter("vrrp_became_master", "Times that this host became master of a virtual router");
    let sent = counter("vrrp_adverts_sent", "Adverts sent for a virtual router, by kind");
    let received = counter("vrrp_adverts_received", "Adverts heeded for a virtual router, by kind");
    let rejects = counter("vrrp_adverts_rejected", "Adverts not heeded for a virtual router, by reason");
    let strays = counter("vrrp_adverts_stray", "Adverts for no virtual router here, by reason");
    let duals = counter("vrrp_dual_masters", "Times that another master was heard beside this one");
    let claims = counter("vrrp_claims", "Claims of a master's addresses by hosts that are no VRRP routers");
    for router in &status.routers {
        let counters = &router.counters;
        transitions.set_value(of(router, &[]), counters.transitions);
        masters.set_value(of(router, &[]), counters.became_master);
        let kinds = [
            (
                "advert",
                counters.adverts_sent,
                counters.adverts_received.saturating_sub(counters.farewells_received),
            ),
            ("farewell", counters.farewells_sent, counters.farewells_received),
        ];
        for (kind, sent_count, received_count) in kinds {
            sent.set_value(of(router, &[("kind", kind)]), sent_count);
            received.set_value(of(router, &[("kind", kind)]), received_count);
        }
        for reason in Reject::REASONS {
            let count = router.rejects.get(reason).copied().unwrap_or(0);
            rejects.set_value(of(router, &[("reason", reason)]), count);
        }
        duals.set_value(of(router, &[]), counters.dual_masters);
        claims.set_value(of(router, &[]), counters.claims);
    }
    for (reason, count) in &status.strays {
        strays.set_value(vec![("reason", reason.clone())], *count);
    }
    let beside = Family::<Labels, Counter<f64, AtomicU64>>::default();
    registry.register_with_unit(
        "vrrp_dual_master",
        "How long another master was heard beside this one",
        Unit::Seconds,
        beside.clone(),
    );
    for router in &status.routers {
        beside.get_or_create(&of(router, &[])).inc_by(router.counters.dual_master_seconds);
    }
}

fn of(router: &VrrpRouter, more: &[(&'static str, &str)]) -> Labels {
    let more = more.iter().map(|(label, value)| (*label, (*value).to_owned()));
    std::iter::once(("router", router.name.clone())).chain(more).collect()
}
