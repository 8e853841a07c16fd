use std::collections::BTreeMap;

use super::*;
use crate::state::{
    Affinity, Desired, DesiredMember, DesiredVip, Forwarding, Found, MacAddress, Mode, NextHop, NextHops,
    Previous, VipKey, VipOptions,
};

const SECOND: u64 = 1_000_000_000;

fn key() -> VipKey {
    "192.0.2.1:80/tcp".parse().unwrap()
}

/// A vip with these backends: last byte of the address, and weight.
fn desired(tracking: TrackingMode, members: &[(u8, u32)]) -> Desired {
    let member = |(last, weight): &(u8, u32)| {
        (format!("web-{last}"), DesiredMember::new(IpAddr::from([10, 0, 0, *last]), *weight))
    };
    let vip = DesiredVip {
        name: "web".to_owned(),
        mode: Mode::Ipip,
        ring_size: 251,
        affinity: Affinity::FiveTuple,
        options: VipOptions { tracking, ..VipOptions::default() },
        members: members.iter().map(member).collect(),
        routes: Vec::new(),
        given_up: BTreeSet::new(),
    };
    Desired { vips: BTreeMap::from([(key(), vip)]), ..Desired::default() }
}

fn hops() -> NextHops {
    let hop = |last| NextHop {
        ifindex: 3,
        interface: "eth0".to_owned(),
        source_mac: MacAddress([2; 6]),
        destination_mac: MacAddress([last; 6]),
        gateway: None,
        vlan: None,
        preferred_source: Some(IpAddr::from([10, 0, 0, 100])),
        mtu: 1500,
    };
    (1..10).map(|last| (IpAddr::from([10, 0, 0, last]), Ok(hop(last)))).collect()
}

fn built(desired: &Desired, previous: Option<&Forwarding>, seconds: u64) -> Forwarding {
    let previous = previous.map_or(Previous::Nothing, Previous::Forwarding);
    Forwarding::build_with(desired, &hops(), previous, seconds * SECOND, |_, size, members| {
        maglev::build(size, members)
    })
}

fn vip(forwarding: &Forwarding) -> &ForwardVip {
    &forwarding.vips[&key()]
}

/// For each slot, the last bytes of owner and previous dest.
fn slots(forwarding: &Forwarding) -> Vec<(Option<u8>, Option<u8>)> {
    let past = vip(forwarding).past.as_ref().expect("a past");
    let last = |number: Option<u16>| match past.dests[usize::from(number?)].address {
        IpAddr::V4(v4) => Some(v4.octets()[3]),
        IpAddr::V6(_) => None,
    };
    past.ring.slots().iter().map(|slot| (last(slot.owner), last(slot.previous))).collect()
}

const ADAPTIVE: TrackingMode = TrackingMode::Adaptive;

#[test]
fn a_new_vip_has_no_past() {
    assert!(vip(&built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0)).past.is_none());
}

#[test]
fn a_drained_backend_keeps_the_flows_of_its_slots() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0);
    let after = built(&desired(ADAPTIVE, &[(1, 100), (2, 0)]), Some(&before), 5);
    let share = vip(&before).shares()[1] as usize;
    assert_eq!(vip(&after).in_transition(), share);
    assert_eq!(slots(&after).iter().filter(|slot| **slot == (Some(1), Some(2))).count(), share);
    assert_eq!(slots(&after).iter().filter(|slot| **slot == (Some(1), None)).count(), 251 - share);
}

#[test]
fn undraining_gives_the_same_slots_back_and_flows_begun_meanwhile_are_looked_up() {
    let all = desired(ADAPTIVE, &[(1, 100), (2, 100)]);
    let before = built(&all, None, 0);
    let drained = built(&desired(ADAPTIVE, &[(1, 100), (2, 0)]), Some(&before), 5);
    let after = built(&all, Some(&drained), 10);
    assert_eq!(vip(&after).ring, vip(&before).ring);
    assert_eq!(vip(&after).in_transition(), vip(&drained).in_transition());
    assert!(slots(&after).iter().all(|(_, previous)| previous.is_none()));
    let over = after.without_what_is_over(|_, _, _| false, 11 * SECOND).expect("an end");
    assert!(!over.has_past());
}

#[test]
fn a_removed_backend_is_reachable_until_its_flows_are_over() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0);
    let after = built(&desired(ADAPTIVE, &[(1, 100)]), Some(&before), 5);
    assert_eq!(after.past_addresses().collect::<Vec<_>>(), [IpAddr::from([10, 0, 0, 2])]);
    let has = |_, _, backend| backend == IpAddr::from([10, 0, 0, 2]);
    let later = after.without_what_is_over(has, 400 * SECOND).expect("flows without a record are over");
    assert!(slots(&later).iter().all(|(_, previous)| previous.is_none()));
    assert_eq!(vip(&later).in_transition(), vip(&after).in_transition());
    assert!(later.without_what_is_over(has, 4000 * SECOND).is_none());
    assert!(!later.without_what_is_over(|_, _, _| false, 4001 * SECOND).expect("an end").has_past());
}

#[test]
fn a_backend_that_was_given_up_or_is_out_of_reach_loses_its_flows_at_once() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0);
    let mut gone = desired(ADAPTIVE, &[(1, 100)]);
    gone.vips.get_mut(&key()).unwrap().given_up.insert(IpAddr::from([10, 0, 0, 2]));
    assert!(vip(&built(&gone, Some(&before), 5)).past.is_none());

    let mut hops = hops();
    hops.insert(IpAddr::from([10, 0, 0, 2]), Err(crate::state::Unresolved::Pending));
    let both = desired(ADAPTIVE, &[(1, 100), (2, 100)]);
    let previous = Previous::Forwarding(&before);
    let unreachable = Forwarding::build_with(&both, &hops, previous, 5 * SECOND, |_, size, members| {
        maglev::build(size, members)
    });
    assert!(vip(&unreachable).past.is_none());
}

#[test]
fn a_drain_at_its_deadline_ends_with_the_flows_given_up() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0);
    let mut draining = desired(ADAPTIVE, &[(1, 100), (2, 0)]);
    let drained = built(&draining, Some(&before), 5);
    draining.vips.get_mut(&key()).unwrap().given_up.insert(IpAddr::from([10, 0, 0, 2]));
    let over = built(&draining, Some(&drained), 6);
    assert!(slots_or_none(&over).is_none_or(|slots| slots.iter().all(|(_, previous)| previous.is_none())));
    assert_eq!(vip(&over).in_transition(), 0);
}

fn slots_or_none(forwarding: &Forwarding) -> Option<Vec<(Option<u8>, Option<u8>)>> {
    vip(forwarding).past.is_some().then(|| slots(forwarding))
}

#[test]
fn a_vip_without_tracking_has_no_past_and_one_that_tracks_all_always_has() {
    for (tracking, has_past) in [(TrackingMode::None, false), (TrackingMode::Full, true)] {
        let before = built(&desired(tracking, &[(1, 100), (2, 100)]), None, 0);
        assert_eq!(before.has_past(), has_past);
        let after = built(&desired(tracking, &[(1, 100), (2, 0)]), Some(&before), 5);
        assert_eq!(after.has_past(), has_past);
        let later = after.without_what_is_over(|_, _, _| false, 4000 * SECOND);
        assert_eq!(later.unwrap_or(after).has_past(), has_past);
    }
}

#[test]
fn another_affinity_or_seed_moves_flows_without_a_transition() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0);
    let mut other = desired(ADAPTIVE, &[(1, 100), (2, 0)]);
    other.vips.get_mut(&key()).unwrap().affinity = Affinity::Source;
    assert!(!built(&other, Some(&before), 5).has_past());
    let seed = Desired { hash_seed: 9, ..desired(ADAPTIVE, &[(1, 100), (2, 0)]) };
    assert!(!built(&seed, Some(&before), 5).has_past());
}

#[test]
fn a_restart_with_another_file_goes_on_from_the_ring_that_was_found() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100), (3, 100)]), None, 0);
    let drained = built(&desired(ADAPTIVE, &[(1, 100), (2, 0), (3, 100)]), Some(&before), 5);
    let next = desired(ADAPTIVE, &[(1, 100), (4, 100)]);
    let without = built(&next, Some(&drained), 10);
    let history = |past: &History| {
        let strip = |dest: &ForwardDest| ForwardDest {
            next_hop: Err(crate::state::Unresolved::Pending),
            ..dest.clone()
        };
        History::found(past.dests.iter().map(strip).collect(), past.ring.slots().to_vec(), 5 * SECOND, 0)
    };
    let found = Found {
        hash_seed: 0,
        rings: BTreeMap::from([((key(), 0), history(vip(&drained).past.as_ref().unwrap()))]),
    };
    let restarted =
        Forwarding::build_with(&next, &hops(), Previous::Found(&found), 10 * SECOND, |_, size, members| {
            maglev::build(size, members)
        });
    assert_eq!(slots(&restarted), slots(&without));
}

#[test]
fn datagrams_are_learnt_for_a_while_after_each_change() {
    let before = built(&desired(ADAPTIVE, &[(1, 100), (2, 100)]), None, 0);
    let after = built(&desired(ADAPTIVE, &[(1, 100), (2, 0)]), Some(&before), 5);
    assert_eq!(vip(&after).past.as_ref().unwrap().learning_until_ns, 15 * SECOND);
    let same = built(&desired(ADAPTIVE, &[(1, 100), (2, 0)]), Some(&after), 9);
    assert_eq!(vip(&same), vip(&after), "nothing changes without a change");
}
