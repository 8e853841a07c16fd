use std::collections::BTreeMap;

use super::*;
use crate::api::types::{
    Fitness, VrrpAddress, VrrpCounters, VrrpGate, VrrpPart, VrrpPeer, VrrpSubject, VrrpTransition,
};
use crate::state::Announce;

const AT: &str = "2026-01-02T03:04:05Z";

fn router(name: &str, role: VrrpRole) -> VrrpRouter {
    VrrpRouter {
        name: name.to_owned(),
        group: Some("edge".to_owned()),
        interface: "eth0".to_owned(),
        router_id: 51,
        version: 3,
        addresses: vec![VrrpAddress {
            address: "192.0.2.80".parse().expect("address"),
            announce: Announce::Arp,
            advertised: true,
        }],
        role,
        since: Some(AT.to_owned()),
        priority: 110,
        configured_priority: 110,
        parts: Vec::new(),
        faults: Vec::new(),
        maintenance: false,
        handing_over: false,
        source: "192.0.2.2".parse().ok(),
        trouble: None,
        master: None,
        interval_ms: 100,
        due_in_ms: Some(43),
        lease_left_ms: None,
        counters: VrrpCounters {
            transitions: 2,
            became_master: 1,
            adverts_sent: 9,
            ..VrrpCounters::default()
        },
        rejects: BTreeMap::new(),
        peers: Vec::new(),
        transitions: Vec::new(),
    }
}

fn tracked(name: &str) -> VrrpRouter {
    let part = |kind: &str, name: &str, adds| VrrpPart { kind: kind.to_owned(), name: name.to_owned(), adds };
    VrrpRouter {
        priority: 95,
        parts: vec![part("interface", "eth1", -20), part("script", "uplink", 5)],
        master: "192.0.2.3".parse().ok(),
        ..router(name, VrrpRole::Backup)
    }
}

fn status(routers: Vec<VrrpRouter>, external: Vec<VrrpExternal>) -> VrrpStatus {
    let fitness = Fitness { fit: true, reasons: Vec::new() };
    VrrpStatus { fitness, gate: VrrpGate::Open, routers, external, strays: BTreeMap::new() }
}

fn external(owned: bool) -> VrrpExternal {
    VrrpExternal {
        name: "kd".to_owned(),
        addresses: router("", VrrpRole::Init).addresses,
        follows: None,
        lease_ms: 3000,
        owned,
        since: Some(AT.to_owned()),
        why: "a command said so".to_owned(),
    }
}

#[test]
fn each_virtual_router_has_a_line_with_what_is_out_of_the_ordinary() {
    let fault = VrrpSubject { kind: "fitness".to_owned(), name: "fitness".to_owned() };
    let fault = VrrpRouter { group: None, faults: vec![fault], ..router("edge9", VrrpRole::Fault) };
    let rest = VrrpRouter { maintenance: true, handing_over: true, ..router("edge8", VrrpRole::Master) };
    let mut status =
        status(vec![router("edge4", VrrpRole::Master), tracked("edge6"), rest, fault], Vec::new());
    status.strays.insert("unknown_vrid".to_owned(), 3);
    status.fitness = Fitness { fit: false, reasons: vec!["interface eth0 is gone".to_owned()] };
    assert_eq!(
        list(&status, Style::PLAIN),
        "\
ROUTER  GROUP  INTERFACE  ID  ROLE    SINCE                 PRIORITY  MASTER     NOTE
edge4   edge   eth0       51  master  2026-01-02T03:04:05Z       110  this host
edge6   edge   eth0       51  backup  2026-01-02T03:04:05Z        95  192.0.2.3  110 configured, -20 interface eth1, +5 script uplink
edge8   edge   eth0       51  master  2026-01-02T03:04:05Z       110  this host  in maintenance; hands over
edge9   -      eth0       51  fault   2026-01-02T03:04:05Z       110  -          fitness is in fault

adverts for no virtual router here: unknown_vrid 3

this host is not fit to be master: interface eth0 is gone
"
    );
}

#[test]
fn addresses_of_other_programs_elections_say_who_has_decided() {
    assert_eq!(
        list(&status(Vec::new(), vec![external(true)]), Style::PLAIN),
        "\
EXTERNAL  ADDRESSES   STATE  SINCE                 WHY
kd        192.0.2.80  owned  2026-01-02T03:04:05Z  a command said so
"
    );
    let nothing = list(&status(Vec::new(), Vec::new()), Style::PLAIN);
    assert!(nothing.starts_with("no virtual routers are configured"), "{nothing}");
}

#[test]
fn one_virtual_router_is_shown_with_peers_counters_and_last_changes() {
    let peer = VrrpPeer {
        address: "192.0.2.3".parse().expect("address"),
        version: 3,
        priority: 100,
        checksum: "pseudo-header".to_owned(),
        heard_ago_ms: Some(81),
        heeded: 7,
        rejected: 2,
        last_reject: Some("the checksum is wrong".to_owned()),
    };
    let transition = VrrpTransition {
        at: AT.to_owned(),
        from: VrrpRole::Backup,
        to: VrrpRole::Master,
        why: "no master was heard for the master-down time".to_owned(),
    };
    let mut shown = VrrpRouter {
        lease_left_ms: Some(250),
        rejects: [("checksum".to_owned(), 2)].into(),
        peers: vec![peer],
        transitions: vec![transition],
        ..router("edge4", VrrpRole::Master)
    };
    (shown.counters.dual_masters, shown.counters.dual_master_seconds) = (1, 0.25);
    assert_eq!(
        show::all(&status(vec![shown], Vec::new()), Style::PLAIN),
        "\
virtual router edge4 (id 51, version 3) on eth0, group edge
  role       master since 2026-01-02T03:04:05Z
  master     this host
  priority   110: 110 configured
  adverts    every 100 ms from 192.0.2.2; next step in 43 ms
  lease      ends in 250 ms unless renewed
  addresses  192.0.2.80 (arp)
  counted    9 adverts sent, 0 received; 0 farewells sent, 0 received; 2 changes of the role, 1 times master; 1 times beside another master, 0.250 s
  rejected   checksum 2

PEER       VERSION  PRIORITY      HEARD  HEEDED  REJECTED  LAST REJECT
192.0.2.3        3       100  81 ms ago       7         2  the checksum is wrong

CHANGED               FROM    TO      WHY
2026-01-02T03:04:05Z  backup  master  no master was heard for the master-down time
"
    );
}

#[test]
fn an_order_is_confirmed_unless_something_else_counts() {
    assert_eq!(told("kd: said", &VrrpDone { notes: Vec::new() }), "kd: said\n");
    let notes = vec!["kd follows 192.0.2.9".to_owned()];
    assert_eq!(told("kd: said", &VrrpDone { notes }), "kd follows 192.0.2.9\n");
}
