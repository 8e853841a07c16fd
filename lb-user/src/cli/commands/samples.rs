//! Replies of the API for tests of tables.

use std::net::IpAddr;

use crate::api::types::{
    AddressPlace, AddressPlaceState, AddressStatus, BackendState, ChangeMark, CounterValues, DestStatus,
    DormantChange, InterfaceStatus, NextHopStatus, Status, VipStatus,
};
use crate::dataplane::XdpMode;
use crate::state::{Affinity, Announce, Fragments, Mode, Protocol};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

pub(super) const BUSY: CounterValues = CounterValues { packets: 12_345, bytes: 3_400_000, new_flows: 456 };

pub(super) fn mark() -> ChangeMark {
    ChangeMark { by: "root".to_owned(), pid: Some(99), at: "2026-01-02T03:04:07Z".to_owned() }
}

pub(super) fn dormant() -> DormantChange {
    DormantChange {
        vip: "192.0.2.9:80/tcp".to_owned(),
        backend: "web-1".to_owned(),
        what: "drained".to_owned(),
        reason: "the vip is not in the file".to_owned(),
        changed: mark(),
    }
}

/// Owned on one interface, and another host's on the other.
pub(super) fn contested_address() -> AddressStatus {
    let owned = AddressPlace {
        interface: "eth1".to_owned(),
        state: AddressPlaceState::Owned,
        reason: None,
        other_mac: None,
        last_announced: Some("2026-01-02T03:04:05Z".to_owned()),
        announcements: 17,
        conflicts: 0,
    };
    let conflict = AddressPlace {
        interface: "eth0".to_owned(),
        state: AddressPlaceState::Conflict,
        other_mac: Some("02:00:00:00:00:09".to_owned()),
        last_announced: None,
        announcements: 0,
        conflicts: 1,
        ..owned.clone()
    };
    AddressStatus { address: ip("192.0.2.1"), announce: Announce::Arp, interfaces: vec![conflict, owned] }
}

fn dest(name: &str, address: &str, state: BackendState) -> DestStatus {
    DestStatus {
        vip: "web".to_owned(),
        route: None,
        name: name.to_owned(),
        address: ip(address),
        weight: 100,
        state,
        reason: None,
        slots: 0,
        share: 0.0,
        next_hop: None,
        counters: CounterValues::default(),
        flows: 0,
        drain_deadline: None,
        drain_force: false,
        slow_start_percent: None,
        suspicion: None,
        suspicions: 0,
        changed: None,
    }
}

fn hop(mac: &str) -> NextHopStatus {
    NextHopStatus { interface: "eth0".to_owned(), mac: mac.to_owned(), gateway: None, vlan: None }
}

/// A vip with a healthy, a draining and an unresolved backend.
pub(super) fn vip() -> VipStatus {
    let active = DestStatus {
        slots: 65_537,
        share: 1.0,
        next_hop: Some(NextHopStatus {
            gateway: Some(ip("192.0.2.254")),
            vlan: Some(42),
            ..hop("02:00:00:00:00:01")
        }),
        counters: BUSY,
        ..dest("web-1", "10.0.0.11", BackendState::Healthy)
    };
    let draining = DestStatus {
        weight: 50,
        next_hop: Some(hop("02:00:00:00:00:02")),
        counters: CounterValues { packets: 7, bytes: 700, new_flows: 1 },
        flows: 12,
        drain_deadline: Some("2026-01-02T03:09:07Z".to_owned()),
        changed: Some(mark()),
        ..dest("web-2", "10.0.0.12", BackendState::Draining)
    };
    let unresolved = DestStatus {
        reason: Some("no route to 10.0.0.13; add a route".to_owned()),
        ..dest("web-3", "10.0.0.13", BackendState::Unresolved)
    };
    VipStatus {
        name: "web".to_owned(),
        address: ip("192.0.2.1"),
        port: 80,
        protocol: Protocol::Tcp,
        mode: Mode::Ipip,
        ring_size: 65_537,
        slots_in_transition: 21_900,
        affinity: Affinity::FiveTuple,
        fragments: Fragments::Track,
        group: None,
        announce: Announce::None,
        ring_build_us: 850,
        counters: BUSY,
        policy: Default::default(),
        alarms: Vec::new(),
        backends: vec![active, draining, unresolved],
        routes: Vec::new(),
    }
}

pub(super) fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        revision: "abc1234".to_owned(),
        abi_version: lb_common::abi::ABI_VERSION,
        object_hash: "00".repeat(32),
        instance: "default".to_owned(),
        pid: 77,
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        config_path: "/etc/ferrolev/ferrolev.toml".to_owned(),
        config_loaded_at: "2026-01-02T03:04:06Z".to_owned(),
        config_error: None,
        dataplane_error: None,
        warnings: Vec::new(),
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            ifindex: 2,
            mode: XdpMode::Native,
            driver: "veth".to_owned(),
        }],
        vips: vec![vip()],
        addresses: Vec::new(),
        dormant_changes: Vec::new(),
        hooks: Vec::new(),
    }
}
