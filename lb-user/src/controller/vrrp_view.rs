//! What the API and the metrics show of virtual routers: what is wanted of them, and what has become of it.

use std::time::Duration;

use lb_vrrp::gate::Pass;
use lb_vrrp::machine::Role;
use lb_vrrp::wire::Ipv4Sum;

use super::clock;
use crate::api::types::{
    Fitness, VrrpAddress, VrrpCounters, VrrpDone, VrrpExternal, VrrpGate, VrrpOrder, VrrpPart, VrrpPeer,
    VrrpRole, VrrpRouter, VrrpStatus, VrrpSubject, VrrpTransition,
};
use crate::vrrp::{Address, External, ExternalStatus, Order, Router, RouterStatus, Status, Wanted};

pub(super) fn status(wanted: &Wanted, status: &Status, fitness: Fitness) -> VrrpStatus {
    let group = |name: &String| {
        let mut groups = wanted.groups.iter();
        groups.find(|(_, members)| members.contains(name)).map(|(group, _)| group.clone())
    };
    let routers = wanted.routers.iter().map(|(name, router)| {
        let shown = of_router(name, router, status.routers.get(name));
        VrrpRouter { group: group(name), ..shown }
    });
    let external =
        wanted.external.iter().map(|(name, external)| of_external(name, external, status.external.get(name)));
    VrrpStatus {
        fitness,
        gate: match status.gate {
            Pass::Closed => VrrpGate::Closed,
            Pass::NoPreempt => VrrpGate::NoPreempt,
            Pass::Open => VrrpGate::Open,
        },
        routers: routers.collect(),
        external: external.collect(),
        strays: status.strays.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
    }
}

/// Leaves what is called `name`: a router, the members of a group, or an external; nothing when there is none.
pub(super) fn only(mut status: VrrpStatus, name: &str) -> Option<VrrpStatus> {
    status.routers.retain(|router| router.name == name || router.group.as_deref() == Some(name));
    status.external.retain(|external| external.name == name);
    (!status.routers.is_empty() || !status.external.is_empty()).then_some(status)
}

/// What is to be known of an order that is carried out.
pub(super) fn done(wanted: &Wanted, order: &Order) -> VrrpDone {
    let mut notes = Vec::new();
    if let Order::Own(name, _) = order
        && let Some(follows) = wanted.external.get(name).and_then(|external| external.follows)
    {
        notes.push(format!(
            "{name} follows {follows}: it is this host's while it has that address, whatever is said"
        ));
    }
    VrrpDone { notes }
}

pub(super) fn order(order: VrrpOrder) -> Order {
    match order {
        VrrpOrder::Failover { name } => Order::HandOver(name),
        VrrpOrder::Maintenance { name, on } => Order::Maintenance(name, on),
        VrrpOrder::Own { name } => Order::Own(name, true),
        VrrpOrder::Release { name } => Order::Own(name, false),
    }
}

/// One that the thread does not know yet is shown as configured.
fn of_router(name: &str, router: &Router, status: Option<&RouterStatus>) -> VrrpRouter {
    let seen = status.map(|status| status.seen.clone()).unwrap_or_default();
    let evaluation = status.map(|status| &status.evaluation);
    let advertised = router.addresses.iter().map(|address| of_address(address, true));
    let more = router.more_addresses.iter().map(|address| of_address(address, false));
    VrrpRouter {
        name: name.to_owned(),
        group: None,
        interface: router.interface.clone(),
        router_id: router.vrid,
        version: router.version.number(),
        addresses: advertised.chain(more).collect(),
        role: status.map_or(VrrpRole::Init, |status| role(status.role)),
        since: status.map(|status| clock::text(status.since)),
        priority: evaluation.map_or(router.priority, |evaluation| evaluation.priority),
        configured_priority: router.priority,
        parts: evaluation
            .into_iter()
            .flat_map(|evaluation| &evaluation.parts)
            .map(|(kind, name, adds)| VrrpPart {
                kind: kind.word().to_owned(),
                name: name.clone(),
                adds: *adds,
            })
            .collect(),
        faults: evaluation
            .into_iter()
            .flat_map(|evaluation| &evaluation.faults)
            .map(|(kind, name)| VrrpSubject { kind: kind.word().to_owned(), name: name.clone() })
            .collect(),
        maintenance: status.is_some_and(|status| status.maintenance),
        handing_over: status.is_some_and(|status| status.handing_over),
        source: status.and_then(|status| status.source),
        trouble: status.and_then(|status| status.trouble.clone()),
        master: status.and_then(|status| status.master),
        interval_ms: millis(status.map_or(router.interval, |status| status.interval).duration()),
        due_in_ms: status.and_then(|status| status.due_in).map(millis),
        lease_left_ms: status.and_then(|status| status.lease_left).map(millis),
        counters: VrrpCounters {
            transitions: seen.role_changes,
            became_master: seen.became_master,
            adverts_sent: seen.adverts_sent,
            adverts_received: seen.adverts_received,
            farewells_sent: seen.farewells_sent,
            farewells_received: seen.farewells_received,
            dual_masters: seen.dual_masters,
            dual_master_seconds: seen.dual_master_time.as_secs_f64(),
            claims: seen.claims,
        },
        rejects: seen
            .rejects
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
        peers: seen
            .peers
            .iter()
            .map(|(address, peer)| VrrpPeer {
                address: *address,
                version: peer.version.number(),
                priority: peer.priority,
                checksum: checksum(peer.sum).to_owned(),
                heard_ago_ms: status.and_then(|status| status.heard_ago.get(address)).copied().map(millis),
                heeded: peer.heeded,
                rejected: peer.rejected,
                last_reject: peer.last_reject.map(|(reject, _)| reject.to_string()),
            })
            .collect(),
        transitions: status
            .into_iter()
            .flat_map(|status| &status.transitions)
            .map(|transition| VrrpTransition {
                at: clock::text(transition.at),
                from: role(transition.from),
                to: role(transition.to),
                why: transition.why.clone(),
            })
            .collect(),
    }
}

fn of_external(name: &str, external: &External, status: Option<&ExternalStatus>) -> VrrpExternal {
    VrrpExternal {
        name: name.to_owned(),
        addresses: external.addresses.iter().map(|address| of_address(address, false)).collect(),
        follows: external.follows,
        lease_ms: u64::try_from(external.lease.as_millis()).unwrap_or(u64::MAX),
        owned: status.is_some_and(|status| status.owned),
        since: status.map(|status| clock::text(status.since)),
        why: status.map_or_else(|| "nobody has said anything yet".to_owned(), |status| status.why.clone()),
    }
}

fn of_address(address: &Address, advertised: bool) -> VrrpAddress {
    VrrpAddress { address: address.address, announce: address.announce, advertised }
}

const fn role(role: Role) -> VrrpRole {
    match role {
        Role::Init => VrrpRole::Init,
        Role::Backup => VrrpRole::Backup,
        Role::Master => VrrpRole::Master,
        Role::Fault => VrrpRole::Fault,
    }
}

const fn checksum(sum: Ipv4Sum) -> &'static str {
    match sum {
        Ipv4Sum::Pseudo => "pseudo-header",
        Ipv4Sum::Plain => "rfc9568",
        Ipv4Sum::GroupPseudo => "old-unicast",
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
