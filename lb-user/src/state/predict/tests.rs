use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lb_common::maglev;

use super::*;
use crate::state::{Mode, Unresolved, VipOptions};

fn vip(affinity: Affinity, backends: &[&str]) -> Arc<ForwardVip> {
    let dests: BTreeMap<String, ForwardDest> = backends
        .iter()
        .map(|address| {
            let address = address.parse().unwrap();
            let dest = ForwardDest {
                address,
                weight: 1,
                mode: Mode::Ipip,
                server_id: None,
                next_hop: Err(Unresolved::Pending),
            };
            (format!("b-{address}"), dest)
        })
        .collect();
    let members: Vec<_> = dests
        .values()
        .map(|dest| maglev::Member { identity: crate::state::identity(dest.address), weight: 1 })
        .collect();
    let ring = maglev::build(251, &members);
    Arc::new(ForwardVip {
        ring_size: 251,
        affinity,
        options: VipOptions::default(),
        routes: Vec::new(),
        dests,
        ring: ring.into(),
        past: None,
    })
}

fn forwarding(vips: &[(&str, Arc<ForwardVip>)]) -> Forwarding {
    Forwarding {
        hash_seed: 7,
        vips: vips.iter().map(|(key, vip)| (key.parse().unwrap(), Arc::clone(vip))).collect(),
        ..Forwarding::default()
    }
}

fn go<'a>(forwarding: &'a Forwarding, source: &str, destination: &str) -> Option<Prediction<'a>> {
    predict(forwarding, source.parse().unwrap(), destination.parse().unwrap(), Protocol::Tcp)
}

#[test]
fn the_exact_port_wins_over_all_ports() {
    let forwarding = forwarding(&[
        ("192.0.2.1:80/tcp", vip(Affinity::FiveTuple, &["10.0.0.1"])),
        ("192.0.2.1:0/tcp", vip(Affinity::FiveTuple, &["10.0.0.2"])),
        ("192.0.2.1:53/udp", vip(Affinity::FiveTuple, &["10.0.0.3"])),
    ]);
    let backend =
        |destination| go(&forwarding, "198.51.100.1:1000", destination).map(|p| p.backend.unwrap().0);
    assert_eq!(backend("192.0.2.1:80"), Some("b-10.0.0.1"));
    assert_eq!(backend("192.0.2.1:81"), Some("b-10.0.0.2"));
    assert_eq!(backend("192.0.2.1:53"), Some("b-10.0.0.2"));
    assert_eq!(backend("192.0.2.2:80"), None);
}

#[test]
fn slots_are_those_of_the_shared_hash() {
    for (key, source, destination, expected) in [
        ("192.0.2.9:80/tcp", "192.0.2.1:40000", "192.0.2.9:80", {
            let ports = hash::ports_word(40_000u16.to_be_bytes(), 80u16.to_be_bytes());
            hash::flow_hash_v4(u32::from_le_bytes([192, 0, 2, 1]), ports, 7)
        }),
        ("[2001:db8::9]:80/tcp", "[2001:db8::1]:40000", "[2001:db8::9]:80", {
            let ports = hash::ports_word(40_000u16.to_be_bytes(), 80u16.to_be_bytes());
            let words = [0x0000_0000_b80d_0120, 0x0100_0000_0000_0000];
            hash::flow_hash_v6(words, ports, 7)
        }),
    ] {
        let forwarding = forwarding(&[(key, vip(Affinity::FiveTuple, &["10.0.0.1", "10.0.0.2"]))]);
        let found = go(&forwarding, source, destination).unwrap();
        let slot = hash::ring_slot(expected, 251);
        assert_eq!(found.slot, Some(slot));
        assert_eq!(found.backend, forwarding.vips[&key.parse().unwrap()].owner(slot));
    }
}

#[test]
fn source_affinity_looks_at_no_port_and_five_tuple_at_both() {
    let backends = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let slots = |affinity| {
        let forwarding = forwarding(&[("192.0.2.1:0/tcp", vip(affinity, &backends))]);
        let found = (0..200u16).map(|n| {
            let (source, destination) =
                (format!("198.51.100.1:{}", 1000 + n), format!("192.0.2.1:{}", 80 + n % 3));
            go(&forwarding, &source, &destination).unwrap().slot.unwrap()
        });
        found.collect::<BTreeSet<_>>()
    };
    assert_eq!(slots(Affinity::Source).len(), 1);
    assert!(slots(Affinity::FiveTuple).len() > 100);
}

#[test]
fn a_vip_without_backends_has_no_slot() {
    let forwarding = forwarding(&[("192.0.2.1:80/tcp", vip(Affinity::FiveTuple, &[]))]);
    let found = go(&forwarding, "198.51.100.1:1", "192.0.2.1:80").unwrap();
    assert_eq!((found.slot, found.backend), (None, None));
}
