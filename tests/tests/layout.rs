//! Changes as packets see them: between any two steps of any change, every packet finds a whole, valid way.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::Reason;
use lb_user::dataplane::layout::{Capacity, Layout, Write};
use lb_user::state::{DesiredVip, Forwarding, Previous, TrackingMode, VipKey, route_of};
use proptest::prelude::*;
use tests::host::HostTables;
use tests::packets::{Kind, Packet};
use tests::world::{World, rules};

const VIPS: [&str; 4] =
    ["198.51.100.1:80/tcp", "198.51.100.1:443/tcp", "198.51.100.2:0/tcp", "[2001:db8::1]:80/tcp"];
const DESTINATIONS: [&str; 4] = ["198.51.100.1:80", "198.51.100.1:443", "198.51.100.2:9", "[2001:db8::1]:80"];
/// Room for one ring of 251 slots more than there are, and few dests, so that entries are reused all the time.
const TIGHT: Capacity = Capacity { ring_pages: 8, dests: 96, flow_buckets: 8 };
/// Lists that let some of [`SOURCES`] in.
const LISTS: [(&[&str], &[&str]); 5] = [
    (&[], &[]),
    (&["203.0.113.0/24", "2001:db8:9::/48"], &[]),
    (&["192.0.2.0/24"], &["2001:db8:9::9"]),
    (&[], &["203.0.113.9"]),
    (&["0.0.0.0/0"], &["203.0.113.0/24"]),
];
const SOURCES: [[&str; 2]; 2] = [["203.0.113.9", "2001:db8:9::9"], ["192.0.2.77", "2001:db8:8::8"]];

#[derive(Clone, Debug)]
enum Step {
    Weight {
        vip: usize,
        backend: u8,
        weight: u32,
    },
    Remove {
        vip: usize,
        backend: u8,
    },
    RemoveVip {
        vip: usize,
    },
    Reroute {
        backend: u8,
        mac: u8,
    },
    Seed(u64),
    Access {
        vip: usize,
        list: usize,
    },
    Global {
        list: usize,
    },
    /// Routes of the first vip: the n-th takes the sources of a list, to backend n.
    Routes(Vec<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..4usize, 1..6u8, 0..4u32).prop_map(|(vip, backend, weight)| Step::Weight { vip, backend, weight }),
        3 => (0..4usize, 1..6u8).prop_map(|(vip, backend)| Step::Remove { vip, backend }),
        1 => (0..4usize).prop_map(|vip| Step::RemoveVip { vip }),
        2 => (1..6u8, any::<u8>()).prop_map(|(backend, mac)| Step::Reroute { backend, mac }),
        1 => any::<u64>().prop_map(Step::Seed),
        3 => (0..4usize, 0..5usize).prop_map(|(vip, list)| Step::Access { vip, list }),
        1 => (0..5usize).prop_map(|list| Step::Global { list }),
        2 => prop::collection::vec(1..4usize, 0..3).prop_map(Step::Routes),
    ];
    prop::collection::vec(step, 1..40)
}

fn take(world: &mut World, step: &Step) {
    let key = |vip: usize| -> VipKey { VIPS[vip].parse().expect("a vip") };
    match step {
        Step::Weight { vip, backend, weight } => {
            if !world.desired.vips.contains_key(&key(*vip)) {
                *world = world.clone().vip(VIPS[*vip], &[]).with(VIPS[*vip], |vip| vip.ring_size = 251);
            }
            let routes = world.hops.clone();
            world.add(key(*vip), &format!("10.0.0.{backend}"), *weight);
            world.hops.extend(routes);
        }
        Step::Remove { vip, backend } => {
            if let Some(vip) = world.desired.vips.get_mut(&key(*vip)) {
                vip.members.remove(&format!("10.0.0.{backend}"));
            }
        }
        Step::RemoveVip { vip } => drop(world.desired.vips.remove(&key(*vip))),
        Step::Reroute { backend, mac } => {
            if let Some(Ok(hop)) = world.hops.get_mut(&IpAddr::from([10, 0, 0, *backend])) {
                hop.destination_mac.0[5] = *mac;
            }
        }
        Step::Seed(seed) => world.desired.hash_seed = *seed,
        Step::Access { vip, list } => {
            if let Some(vip) = world.desired.vips.get_mut(&key(*vip)) {
                vip.options.access = rules(LISTS[*list].0, LISTS[*list].1);
            }
        }
        Step::Global { list } => world.desired.access = rules(LISTS[*list].0, LISTS[*list].1),
        Step::Routes(lists) => {
            let Some(vip) = world.desired.vips.get_mut(&key(0)) else { return };
            vip.routes.clear();
            let routes = world.hops.clone();
            for (number, list) in (1..).zip(lists) {
                // No prefix is in two routes.
                let sources: &[&str] = if number == 1 { LISTS[*list].0 } else { &["203.0.113.9"] };
                *world = world.clone().route(VIPS[0], sources, &[&format!("10.0.0.{number}")]);
            }
            world.hops.extend(routes);
        }
    }
}

/// What may come out for a vip.
#[derive(Debug, PartialEq)]
enum Expected {
    NoVip,
    Denied,
    /// A backend by a certain next hop; none: no backend.
    Ways(BTreeMap<[u8; 4], [u8; 6]>),
}

fn expected(forwarding: &Forwarding, vip: usize, source: IpAddr) -> Expected {
    let key: VipKey = VIPS[vip].parse().expect("a vip");
    let Some(vip) = forwarding.vips.get(&key) else { return Expected::NoVip };
    if !(forwarding.access.decide(source).allows && vip.options.access.decide(source).allows) {
        return Expected::Denied;
    }
    let route = route_of(&vip.routes, source).map(|(position, _)| position as u8 + 1);
    let vip = route.map_or(vip, |number| &forwarding.routes[&(key, number)]);
    let way = |dest: &lb_user::state::ForwardDest| {
        let IpAddr::V4(address) = dest.address else { panic!("an IPv6 backend") };
        Some((address.octets(), dest.next_hop.as_ref().ok()?.destination_mac.0))
    };
    Expected::Ways(vip.dests.values().filter(|dest| dest.weight > 0).filter_map(way).collect())
}

/// Sends packets to all vips and demands that each goes a way that the old or the new state knows.
fn check(tables: &HostTables, before: &Forwarding, after: &Forwarding) {
    for (vip, destination) in DESTINATIONS.iter().enumerate() {
        for (source, port) in
            SOURCES.iter().flat_map(|source| [1, 77, 4000, 65_000u16].map(|port| (source, port)))
        {
            let source: IpAddr =
                source[usize::from(destination.starts_with('['))].parse().expect("an address");
            let known = [expected(before, vip, source), expected(after, vip, source)];
            let source = std::net::SocketAddr::new(source, port).to_string();
            let (verdict, output) = tables.run(&Packet::new(Kind::Ack, &source, destination).frame());
            let fits = |expected: &Expected| match (&verdict, expected) {
                (Ok(_), Expected::Ways(ways)) => {
                    ways.iter().any(|(address, mac)| output[30..34] == *address && output[..6] == *mac)
                }
                (Err(Reason::NotVip | Reason::NoService), Expected::NoVip)
                | (Err(Reason::AccessDenied), Expected::Denied) => true,
                (Err(Reason::NoBackend), Expected::Ways(ways)) => ways.is_empty(),
                _ => false,
            };
            assert!(known.iter().any(fits), "{source} to {destination}: {verdict:?}, known {known:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_sees_half_a_change(steps in steps()) {
        let mut world = World::default();
        let mut forwarding = world.forwarding();
        let (mut tables, mut layout) = HostTables::filled(TIGHT, &forwarding);
        for step in steps {
            take(&mut world, &step);
            let next = world.forwarding();
            let (after, writes) = layout.stage(&next).expect("room: what a change leaves behind is reused");
            for write in &writes {
                tables.write(write);
                check(&tables, &forwarding, &next);
            }
            check(&tables, &next, &next);
            (layout, forwarding) = (after, next);
        }
    }
}

#[test]
fn the_same_again_writes_nothing() {
    let world = World::default().vip(VIPS[0], &["10.0.0.1", "10.0.0.2"]).vip(VIPS[3], &["10.0.0.1"]);
    let (_, layout) = HostTables::filled(tests::world::CAPACITY, &world.forwarding());
    let (_, writes) = layout.stage(&world.forwarding()).expect("room");
    assert!(writes.is_empty(), "{writes:?}");
}

#[test]
fn a_weight_writes_one_ring_and_moves_one_vip() {
    let world = World::default().vip(VIPS[0], &["10.0.0.1", "10.0.0.2"]).vip(VIPS[3], &["10.0.0.1"]);
    let (_, layout) = HostTables::filled(tests::world::CAPACITY, &world.forwarding());
    let mut changed = world;
    changed.add(VIPS[0].parse().expect("a vip"), "10.0.0.1", 50);
    let (_, writes) = layout.stage(&changed.forwarding()).expect("room");
    assert!(matches!(writes.as_slice(), [Write::Ring { .. }, Write::Place { .. }]), "{writes:?}");
}

#[test]
fn rings_take_turns_where_there_is_no_room_for_all_of_them_twice() {
    let mut world = VIPS.iter().fold(World::default(), |world, vip| world.vip(vip, &["10.0.0.1"]));
    for (vip, weight) in VIPS.iter().zip(100..) {
        world.add(vip.parse().expect("a vip"), "10.0.0.2", weight);
    }
    // A ring of 4093 slots takes four pages.
    let capacity = Capacity { ring_pages: 4 * (VIPS.len() as u32 + 1), dests: 64, flow_buckets: 8 };
    let (mut tables, layout) = HostTables::filled(capacity, &world.forwarding());
    let changed = VIPS.iter().fold(world.clone(), |mut changed, vip| {
        changed.add(vip.parse().expect("a vip"), "10.0.0.1", 50);
        changed
    });
    let (before, after) = (world.forwarding(), changed.forwarding());
    let (_, writes) = layout.stage(&after).expect("room for one ring more");
    for write in &writes {
        tables.write(write);
        check(&tables, &before, &after);
    }
    check(&tables, &after, &after);
    let places = writes.iter().filter(|write| matches!(write, Write::Place { .. })).count();
    assert_eq!(places, VIPS.len(), "{writes:?}");
    assert!(!writes.iter().any(|write| matches!(write, Write::Switch { .. })), "{writes:?}");
}

#[test]
fn vips_with_the_same_backends_read_the_same_ring() {
    let world = VIPS.iter().fold(World::default(), |world, vip| {
        let untracked = |vip: &mut DesiredVip| vip.options.tracking = TrackingMode::None;
        world.vip(vip, &["10.0.0.1", "10.0.0.2"]).with(vip, untracked)
    });
    let same = world.forwarding();
    // Of four pages each: one that all have, and one for a change.
    let (mut tables, mut layout) =
        HostTables::filled(Capacity { ring_pages: 8, dests: 64, flow_buckets: 8 }, &same);
    let mut change = |before: &Forwarding, after: &Forwarding| {
        let (next, writes) = layout.stage(after).expect("room");
        for write in &writes {
            tables.write(write);
            check(&tables, before, after);
        }
        check(&tables, after, after);
        layout = next;
        (rings(&writes), layout.ring_pages_used())
    };
    let mut parted = world.clone();
    parted.add(VIPS[1].parse().expect("a vip"), "10.0.0.1", 50);
    let parted = parted.after(Previous::Forwarding(&same), 0);
    assert_eq!(change(&same, &parted), (1, 8), "the others go on with theirs");
    assert_eq!(
        change(&parted, &world.after(Previous::Forwarding(&parted), 0)),
        (0, 4),
        "it has theirs again"
    );
}

#[test]
fn a_drain_writes_one_ring_and_one_past_for_all_vips_with_the_same_backends() {
    let world = VIPS.iter().fold(World::default(), |world, vip| world.vip(vip, &["10.0.0.1", "10.0.0.2"]));
    let before = world.forwarding();
    let (_, layout) = HostTables::filled(tests::world::CAPACITY, &before);
    let mut drained = world;
    for vip in VIPS {
        drained.add(vip.parse().expect("a vip"), "10.0.0.1", 0);
    }
    let (after, writes) = layout.stage(&drained.after(Previous::Forwarding(&before), 1)).expect("room");
    assert_eq!((rings(&writes), after.ring_pages_used()), (2, 9), "four pages, and five of the past");
}

fn rings(writes: &[Write]) -> usize {
    writes.iter().filter(|write| matches!(write, Write::Ring { .. })).count()
}

#[test]
fn too_little_room_is_said_before_anything_is_written() {
    let world = World::default().vip(VIPS[0], &["10.0.0.1"]);
    let layout = Layout::new(Capacity { ring_pages: 3, dests: 64, flow_buckets: 8 });
    let error = layout.stage(&world.forwarding()).expect_err("a ring of 4093 slots takes four pages");
    assert_eq!(
        error.to_string(),
        "RINGS is full: 8192 entries needed, 6144 there; raise limits.ring_memory in the configuration and restart"
    );
}

#[test]
fn a_backend_that_comes_back_has_its_interface_written_again() {
    let world = World::default().vip(VIPS[0], &["10.0.0.1", "10.0.0.2"]);
    let (_, layout) = HostTables::filled(tests::world::CAPACITY, &world.forwarding());
    let mut gone = world.clone();
    gone.hops.values_mut().for_each(|hop| *hop = Err(lb_user::state::Unresolved::LinkDown("eth0".into())));
    let (layout, _) = layout.stage(&gone.forwarding()).expect("room");
    // The kernel has cleared the entry when the interface went away.
    let (_, writes) = layout.stage(&world.forwarding()).expect("room");
    assert!(writes.iter().any(|write| matches!(write, Write::Device { .. })), "{writes:?}");
}
