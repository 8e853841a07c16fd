use std::collections::BTreeSet;

use super::*;
use crate::state::{DesiredMember, DesiredVip, MacAddress, Mode};

const KEY: &str = "192.0.2.1:80/tcp";

fn desired(members: &[(&str, &str, u32)]) -> Desired {
    let members = members.iter().map(|(name, address, weight)| {
        let member = DesiredMember::new(address.parse().unwrap(), *weight);
        ((*name).to_owned(), member)
    });
    let vip = DesiredVip {
        name: "web".to_owned(),
        mode: Mode::Ipip,
        ring_size: 4093,
        affinity: Affinity::FiveTuple,
        options: VipOptions::default(),
        members: members.collect(),
        routes: Vec::new(),
        given_up: BTreeSet::new(),
    };
    Desired { hash_seed: 1, vips: BTreeMap::from([(KEY.parse().unwrap(), vip)]), ..Desired::default() }
}

fn hops(addresses: &[&str]) -> NextHops {
    let hop = |address: &str| NextHop {
        ifindex: 3,
        interface: "eth0".to_owned(),
        source_mac: MacAddress([2; 6]),
        destination_mac: MacAddress([4; 6]),
        gateway: None,
        vlan: None,
        preferred_source: Some(if address.contains(':') { "fd00::1" } else { "10.0.0.100" }.parse().unwrap()),
        mtu: 1500,
    };
    addresses.iter().map(|address| (address.parse().unwrap(), Ok(hop(address)))).collect()
}

const THREE: [(&str, &str, u32); 3] = [("a", "10.0.0.1", 100), ("b", "10.0.0.2", 100), ("c", "fd00::3", 100)];
const ALL: [&str; 3] = ["10.0.0.1", "10.0.0.2", "fd00::3"];

fn only(forwarding: &Forwarding) -> &ForwardVip {
    &forwarding.vips[&KEY.parse().unwrap()]
}

#[test]
fn slots_follow_weights_and_every_slot_has_an_owner() {
    let built =
        Forwarding::build(&desired(&[("a", "10.0.0.1", 300), ("b", "10.0.0.2", 100)]), &hops(&ALL), None);
    let shares = only(&built).shares();
    assert_eq!(shares.iter().sum::<u32>(), 4093);
    assert!(shares[0].abs_diff(3 * shares[1]) <= 8, "{shares:?}");
    assert!((0..4093).all(|slot| only(&built).owner(slot).is_some()));
    assert_eq!(only(&built).owner(4093), None);
}

#[test]
fn a_backend_without_a_next_hop_gets_no_slots_and_keeps_its_reason() {
    let mut known = hops(&["10.0.0.1"]);
    let down = Unresolved::LinkDown("eth9".to_owned());
    known.insert("10.0.0.2".parse().unwrap(), Err(down.clone()));
    let built = Forwarding::build(&desired(&THREE), &known, None);
    let vip = only(&built);
    assert_eq!(vip.shares(), [4093, 0, 0]);
    assert_eq!(vip.dests["b"].next_hop, Err(down));
    assert_eq!(vip.dests["c"].next_hop, Err(Unresolved::Pending));
}

#[test]
fn a_vip_without_any_backend_has_an_empty_ring() {
    let built = Forwarding::build(&desired(&[]), &hops(&[]), None);
    assert!(only(&built).ring.iter().all(|slot| *slot == maglev::EMPTY));
    assert_eq!(only(&built).owner(0), None);
}

#[test]
fn a_ring_is_built_anew_only_when_its_members_change() {
    let before = Forwarding::build(&desired(&THREE), &hops(&ALL), None);
    let built = |next: &Desired, hops: &NextHops| {
        let mut count = 0;
        let forwarding =
            Forwarding::build_with(next, hops, Previous::Forwarding(&before), 0, |_, size, members| {
                count += 1;
                maglev::build(size, members)
            });
        let anew = Forwarding::build(next, hops, None);
        assert!(only(&forwarding).ring == only(&anew).ring, "the past must not matter");
        count
    };
    assert_eq!(built(&desired(&THREE), &hops(&ALL)), 0);
    let mut moved = hops(&ALL);
    for hop in moved.values_mut().flatten() {
        hop.destination_mac = MacAddress([9; 6]);
    }
    assert_eq!(built(&desired(&THREE), &moved), 0);
    assert_eq!(built(&desired(&THREE[..2]), &hops(&ALL)), 1);
    assert_eq!(built(&desired(&THREE), &hops(&ALL[..2])), 1);
}

#[test]
fn names_play_no_part_in_who_owns_a_slot() {
    let before = Forwarding::build(&desired(&THREE), &hops(&ALL), None);
    let renamed = [("z", "10.0.0.1", 100), ("b", "10.0.0.2", 100), ("a", "fd00::3", 100)];
    let after = Forwarding::build(&desired(&renamed), &hops(&ALL), Some(&before));
    let plan = before.plan(&after);
    assert_eq!((plan.len(), plan[0].slots_moved), (1, 0));
    for slot in 0..4093 {
        let address = |forwarding| only(forwarding).owner(slot).map(|(_, dest)| dest.address);
        assert_eq!(address(&before), address(&after));
    }
}

#[test]
fn a_plan_counts_the_slots_that_get_another_backend() {
    let before = Forwarding::build(&desired(&THREE), &hops(&ALL), None);
    assert!(before.plan(&before).is_empty());
    let after = Forwarding::build(&desired(&THREE[..2]), &hops(&ALL), Some(&before));
    let plan = before.plan(&after);
    assert_eq!(plan[0].kind, VipPlanKind::Changed);
    let owner = |forwarding: &Forwarding, slot| only(forwarding).owner(slot).map(|(_, dest)| dest.address);
    let moved = (0..4093).filter(|slot| owner(&before, *slot) != owner(&after, *slot)).count();
    assert_eq!(plan[0].slots_moved as usize, moved);
    let owned = only(&before).shares()[2] as usize;
    assert!(moved >= owned && moved < owned + 4093 / 20, "{moved} of {owned}");

    let mut other_seed = desired(&THREE);
    other_seed.hash_seed = 2;
    let other_seed = Forwarding::build(&other_seed, &hops(&ALL), Some(&before));
    assert_eq!(before.plan(&other_seed)[0].slots_moved, 4093);

    let mut none = desired(&THREE);
    none.vips.clear();
    let none = Forwarding::build(&none, &hops(&ALL), Some(&before));
    let kinds = [&before.plan(&none)[0], &none.plan(&before)[0]].map(|plan| (plan.kind, plan.slots_moved));
    assert_eq!(kinds, [(VipPlanKind::Removed, 4093), (VipPlanKind::Added, 4093)]);
}

#[test]
fn identities_of_different_addresses_differ() {
    let addresses = ["10.0.0.1", "10.0.0.2", "::10.0.0.1", "2001:db8::1"];
    let identities: BTreeSet<_> = addresses.iter().map(|text| identity(text.parse().unwrap())).collect();
    assert_eq!(identities.len(), addresses.len());
    let v4 = identity("10.0.0.1".parse().unwrap());
    assert_eq!(v4, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
}

#[test]
fn vips_with_the_same_members_share_one_ring_and_one_past() {
    let keys: Vec<VipKey> = (1..=3).map(|n| format!("192.0.2.{n}:80/tcp").parse().unwrap()).collect();
    let of_all = |members| {
        let mut desired = desired(members);
        let vip = desired.vips.remove(&KEY.parse().unwrap()).unwrap();
        desired.vips = keys.iter().map(|key| (*key, vip.clone())).collect();
        desired
    };
    let mut count = 0;
    let mut build = |desired: &Desired, previous: Previous<'_>| {
        Forwarding::build_with(desired, &hops(&ALL), previous, 1, |_, size, members| {
            count += 1;
            maglev::build(size, members)
        })
    };
    let shared = |forwarding: &Forwarding| {
        let vips: Vec<&Arc<ForwardVip>> = keys.iter().map(|key| &forwarding.vips[key]).collect();
        vips.windows(2).filter(|two| Arc::ptr_eq(&two[0].ring, &two[1].ring)).count()
    };
    let before = build(&of_all(&THREE), Previous::Nothing);
    assert_eq!(shared(&before), 2);
    let mut parted = of_all(&THREE);
    *parted.vips.get_mut(&keys[1]).unwrap() =
        desired(&THREE[..2]).vips.remove(&KEY.parse().unwrap()).unwrap();
    let parted = build(&parted, Previous::Forwarding(&before));
    assert_eq!(shared(&parted), 0);
    assert!(Arc::ptr_eq(&parted.vips[&keys[0]], &before.vips[&keys[0]]), "what stays is the same memory");
    let drained = build(&of_all(&THREE[..2]), Previous::Forwarding(&before));
    assert_eq!(shared(&drained), 2);
    let pasts: Vec<_> = keys.iter().filter_map(|key| drained.vips[key].past.as_ref()).collect();
    assert!(pasts.len() == 3 && pasts.windows(2).all(|two| Arc::ptr_eq(two[0], two[1])));
    let joined = build(&of_all(&THREE), Previous::Forwarding(&parted));
    assert_eq!(shared(&joined), 2, "a ring that another vip has is taken from there");
    assert_eq!(count, 3);
}
