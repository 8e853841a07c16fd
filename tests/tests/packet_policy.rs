//! Access lists, routes and limits, packet by packet, on the host and in the kernel.

use std::net::IpAddr;

use lb_common::abi::Reason;
use lb_user::state::{AccessRules, FlowLimits, Prefix};
use proptest::prelude::*;
use tests::host::HostTables;
use tests::kernel::Action;
use tests::packets::{Kind, Packet};
use tests::story::Story;
use tests::tunnel::outer;
use tests::world::{CAPACITY, World, prefixes, rules};

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";
const QUIC: &str = "198.51.100.1:443/udp";
const SECOND: u64 = 1_000_000_000;

fn from(kind: Kind, source: &str) -> Vec<u8> {
    let (source, destination) = if source.contains(':') {
        (format!("[{source}]:40000"), "[2001:db8::1]:80")
    } else {
        (format!("{source}:40000"), "198.51.100.1:80")
    };
    Packet::new(kind, &source, destination).frame()
}

fn world() -> World {
    World::default().vip(V4, &["10.0.0.1"]).vip(V6, &["10.0.0.1"])
}

fn access(world: World, rules: &AccessRules) -> World {
    world
        .with(V4, |vip| vip.options.access = rules.clone())
        .with(V6, |vip| vip.options.access = rules.clone())
}

#[test]
fn a_list_with_allowed_sources_denies_all_others() {
    let world = access(world(), &rules(&["203.0.113.0/24", "2001:db8:9::/48"], &["203.0.113.8/31"]));
    let mut story = Story::new(&world);
    for kind in [Kind::Syn, Kind::Ack] {
        for allowed in ["203.0.113.7", "203.0.113.10", "2001:db8:9:ffff::1"] {
            story.forwarded(&from(kind, allowed));
        }
        for denied in ["203.0.113.8", "203.0.113.9", "203.0.112.255", "2001:db8:a::1"] {
            assert_eq!(story.dropped(&from(kind, denied)), Reason::AccessDenied, "{denied}");
        }
    }
}

#[test]
fn a_list_that_only_denies_lets_all_others_in() {
    let world = access(world(), &rules(&[], &["203.0.113.0/24", "2001:db8:9::9"]));
    let mut story = Story::new(&world);
    for allowed in ["192.0.2.1", "2001:db8:9::8"] {
        story.forwarded(&from(Kind::Ack, allowed));
    }
    for denied in ["203.0.113.0", "203.0.113.255", "2001:db8:9::9"] {
        assert_eq!(story.dropped(&from(Kind::Ack, denied)), Reason::AccessDenied, "{denied}");
    }
}

#[test]
fn prefixes_of_one_family_say_nothing_of_the_other() {
    let mut story = Story::new(&access(world(), &rules(&["::/0"], &[])));
    story.forwarded(&from(Kind::Ack, "2001:db8::9"));
    assert_eq!(story.dropped(&from(Kind::Ack, "203.0.113.9")), Reason::AccessDenied);
    let mut story = Story::new(&access(world(), &rules(&["0.0.0.0/0"], &[])));
    story.forwarded(&from(Kind::Ack, "203.0.113.9"));
    assert_eq!(story.dropped(&from(Kind::Ack, "2001:db8::9")), Reason::AccessDenied);
}

#[test]
fn both_lists_must_let_a_source_in() {
    let mut world = access(world(), &rules(&["203.0.113.0/24"], &[]));
    world.desired.access = rules(&[], &["203.0.113.9", "192.0.2.0/24"]);
    let mut story = Story::new(&world);
    story.forwarded(&from(Kind::Ack, "203.0.113.8"));
    for denied in ["203.0.113.9", "192.0.2.1", "198.18.0.1"] {
        assert_eq!(story.dropped(&from(Kind::Ack, denied)), Reason::AccessDenied, "{denied}");
    }
    world.desired.access = rules(&["192.0.2.0/24"], &[]);
    let mut story = Story::new(&world);
    assert_eq!(story.dropped(&from(Kind::Ack, "203.0.113.8")), Reason::AccessDenied);
}

#[test]
fn the_list_for_all_vips_holds_for_vips_without_a_list() {
    let mut world = world();
    world.desired.access = rules(&[], &["203.0.113.9"]);
    let mut story = Story::new(&world);
    assert_eq!(story.dropped(&from(Kind::Ack, "203.0.113.9")), Reason::AccessDenied);
    story.forwarded(&from(Kind::Ack, "203.0.113.8"));
}

#[test]
fn routes_send_sources_to_backends_of_their_own() {
    let world = world()
        .route(V4, &["10.0.0.0/8", "192.0.2.0/24"], &["10.0.1.1"])
        .route(V4, &["10.9.0.0/16"], &["10.0.1.2"])
        .route(V6, &["2001:db8:9::/48"], &["10.0.1.3"]);
    let mut story = Story::new(&world);
    for (source, backend) in [
        ("203.0.113.9", [10, 0, 0, 1]),
        ("10.8.0.1", [10, 0, 1, 1]),
        ("192.0.2.77", [10, 0, 1, 1]),
        ("10.9.255.255", [10, 0, 1, 2]),
        ("2001:db8:9::1", [10, 0, 1, 3]),
        ("2001:db8:8::1", [10, 0, 0, 1]),
    ] {
        let output = story.forwarded(&from(Kind::Ack, source));
        assert_eq!(outer(&output).destination, backend, "{source}");
    }
}

#[test]
fn a_route_of_an_all_ports_vip_takes_every_port() {
    const ALL: &str = "198.51.100.1:0/tcp";
    let world = World::default()
        .vip(ALL, &["10.0.0.1"])
        .route(ALL, &["10.0.0.0/8"], &["10.0.1.1"])
        .vip(V4, &["10.0.0.2"]);
    let mut story = Story::new(&world);
    let mut backend = |source: &str, port: u16| {
        let packet = Packet::new(Kind::Ack, &format!("{source}:40000"), &format!("198.51.100.1:{port}"));
        outer(&story.forwarded(&packet.frame())).destination
    };
    assert_eq!(backend("10.8.0.1", 81), [10, 0, 1, 1]);
    assert_eq!(backend("11.8.0.1", 81), [10, 0, 0, 1]);
    assert_eq!(backend("10.8.0.1", 80), [10, 0, 0, 2], "the vip of this port has no routes");
}

#[test]
fn a_route_without_backends_drops_and_does_not_fall_back() {
    let world = world().route(V4, &["10.0.0.0/8"], &[]);
    let mut story = Story::new(&world);
    assert_eq!(story.dropped(&from(Kind::Ack, "10.8.0.1")), Reason::NoBackend);
    story.forwarded(&from(Kind::Ack, "203.0.113.9"));
}

fn limits(vip: Option<u32>, source: Option<u32>) -> FlowLimits {
    FlowLimits { vip_per_second: vip, source_per_second: source, ..FlowLimits::default() }
}

#[test]
fn new_flows_beyond_the_vips_limit_are_dropped_and_established_ones_go_on() {
    let world = world().with(V4, |vip| vip.options.limits = limits(Some(10), None));
    let mut story = Story::new(&world);
    let sent = |story: &mut Story| {
        (0..20).filter(|_| story.run(&from(Kind::Syn, "203.0.113.9")).0 == Action::Transmit).count()
    };
    assert_eq!(sent(&mut story), 11);
    assert_eq!(story.dropped(&from(Kind::Syn, "192.0.2.1")), Reason::VipLimit, "whatever the source");
    for _ in 0..50 {
        story.forwarded(&from(Kind::Ack, "203.0.113.9"));
    }
    story.set_clock(SECOND / 2);
    assert_eq!(sent(&mut story), 5);
    story.set_clock(60 * SECOND);
    assert_eq!(sent(&mut story), 11, "a pause allows no longer burst");
}

#[test]
fn a_source_over_its_limit_leaves_the_vips_to_others() {
    let world = world().with(V4, |vip| vip.options.limits = limits(Some(10), Some(2)));
    let mut story = Story::new(&world);
    let greedy = from(Kind::Syn, "203.0.113.9");
    (0..3).for_each(|_| drop(story.forwarded(&greedy)));
    for _ in 0..100 {
        assert_eq!(story.dropped(&greedy), Reason::SourceLimit);
    }
    for host in 1..=8 {
        story.forwarded(&from(Kind::Syn, &format!("192.0.2.{host}")));
    }
    assert_eq!(story.dropped(&from(Kind::Syn, "192.0.2.9")), Reason::VipLimit);
}

#[test]
fn sources_of_one_prefix_share_a_limit() {
    let world = world()
        .with(V4, |vip| {
            vip.options.limits = FlowLimits { source_prefix4: 24, ..limits(None, Some(1)) };
        })
        .with(V6, |vip| {
            vip.options.limits = FlowLimits { source_prefix6: 56, ..limits(None, Some(1)) };
        });
    let mut story = Story::new(&world);
    for (first, second, third, other) in [
        ("203.0.113.1", "203.0.113.200", "203.0.113.77", "203.0.112.1"),
        ("2001:db8:9:100::1", "2001:db8:9:1ff::1", "2001:db8:9:177::7", "2001:db8:9:200::1"),
    ] {
        story.forwarded(&from(Kind::Syn, first));
        story.forwarded(&from(Kind::Syn, second));
        assert_eq!(story.dropped(&from(Kind::Syn, third)), Reason::SourceLimit);
        story.forwarded(&from(Kind::Syn, other));
    }
}

#[test]
fn what_is_denied_counts_for_no_limit() {
    let world = access(world(), &rules(&[], &["203.0.113.9"]))
        .with(V4, |vip| vip.options.limits = limits(Some(1), Some(1)));
    let mut story = Story::new(&world);
    for _ in 0..10 {
        assert_eq!(story.dropped(&from(Kind::Syn, "203.0.113.9")), Reason::AccessDenied);
    }
    story.forwarded(&from(Kind::Syn, "192.0.2.1"));
    story.forwarded(&from(Kind::Syn, "192.0.2.1"));
    assert_eq!(story.dropped(&from(Kind::Syn, "192.0.2.1")), Reason::VipLimit);
}

#[test]
fn initial_packets_of_quic_open_flows_and_others_do_not() {
    let world = World::default()
        .vip(QUIC, &["10.0.0.1"])
        .with(QUIC, |vip| vip.options.limits = limits(Some(1), None));
    let mut story = Story::new(&world);
    let datagram = |payload: &[u8]| {
        let packet = Packet::new(Kind::Udp, "203.0.113.9:40000", "198.51.100.1:443");
        Packet { payload: payload.to_vec(), ..packet }.frame()
    };
    let initial = datagram(&[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    story.forwarded(&initial);
    story.forwarded(&initial);
    assert_eq!(story.dropped(&initial), Reason::VipLimit);
    assert_eq!(story.dropped(&datagram(&[0xd0, 0x6b, 0x33, 0x43, 0xcf, 8, 1, 2])), Reason::VipLimit);
    for other in [&[0xe3, 0, 0, 0, 1, 8, 1, 2][..], &[0x43, 1, 2, 3, 4, 5, 6], &[0xc3, 0, 0], &[]] {
        story.forwarded(&datagram(other));
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    // Few different bits, so that prefixes nest and sources meet them.
    let byte = || prop_oneof![Just(0u8), Just(1), Just(0x80), Just(0xff), any::<u8>()];
    prop_oneof![
        prop::array::uniform4(byte()).prop_map(IpAddr::from),
        prop::array::uniform16(byte()).prop_map(IpAddr::from),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (address(), 0..=128u8).prop_map(|(address, len)| {
        let len = if address.is_ipv4() { len % 33 } else { len };
        Prefix::of(address, len)
    })
}

/// Whether a source may come in, as one would ask without any table.
fn naive(rules: &[(Prefix, bool)], source: IpAddr) -> bool {
    let holding = rules.iter().filter(|(prefix, _)| prefix.holds(source));
    let decided = holding.max_by_key(|(prefix, _)| prefix.len).map(|(_, allows)| *allows);
    decided.unwrap_or(!rules.iter().any(|(_, allows)| *allows))
}

type List = std::collections::BTreeMap<Prefix, bool>;

fn lists() -> impl Strategy<Value = (List, Vec<IpAddr>)> {
    let list = prop::collection::btree_map(prefix(), any::<bool>(), 1..40);
    (list, prop::collection::vec(address(), 40))
}

/// Runs packets of `sources`, and of the edges of the prefixes, and compares with the naive search.
fn compare(list: List, sources: Vec<IpAddr>, mut run: impl FnMut(&World, &[u8]) -> Action) {
    let of = |allows: bool| -> Vec<Prefix> {
        list.iter().filter(|(_, of)| **of == allows).map(|(prefix, _)| *prefix).collect()
    };
    let world = access(world(), &AccessRules { allow: of(true).into(), deny: of(false).into() });
    let list: Vec<_> = list.into_iter().collect();
    for source in sources.into_iter().chain(list.iter().map(|(prefix, _)| prefix.address)) {
        let expected =
            if naive(&list, source) { Action::Transmit } else { Action::Stopped(Reason::AccessDenied) };
        assert_eq!(run(&world, &from(Kind::Ack, &source.to_string())), expected, "{source}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_lists_decide_as_a_search_of_all_prefixes_does((list, sources) in lists()) {
        let mut tables = None;
        compare(list, sources, |world, frame| {
            let tables = tables.get_or_insert_with(|| HostTables::filled(CAPACITY, &world.forwarding()).0);
            match tables.run(frame).0 {
                Ok(_) => Action::Transmit,
                Err(reason) => Action::Stopped(reason),
            }
        });
    }
}

proptest! {
    // A kernel each.
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_lists_decide_alike_in_the_kernel((list, sources) in lists()) {
        let mut story = None;
        compare(list, sources, |world, frame| {
            story.get_or_insert_with(|| Story::new(world)).run(frame).0
        });
    }
}

#[test]
fn vips_with_the_same_rules_share_one_list() {
    use lb_user::dataplane::layout::{Layout, Write};
    let world = access(world(), &rules(&["203.0.113.0/24"], &[]));
    let lists = |writes: &[Write]| writes.iter().filter(|write| matches!(write, Write::List(_))).count();
    let (layout, writes) = Layout::new(CAPACITY).stage(&world.forwarding()).expect("room");
    assert_eq!(lists(&writes), 1);
    let other = world.clone().with(V6, |vip| vip.options.access.deny = prefixes(&["203.0.113.9"]));
    let (layout, writes) = layout.stage(&other.forwarding()).expect("room");
    assert_eq!(lists(&writes), 1, "the other vip's list stays");
    let (_, writes) = layout.stage(&world.forwarding()).expect("room");
    assert_eq!(lists(&writes), 0, "what is loaded for one vip serves the other");
    assert!(matches!(writes.last(), Some(Write::Settle(retired)) if retired.lists.len() == 1), "{writes:?}");
}

#[test]
fn counts_belong_to_the_vip() {
    let world = access(world(), &rules(&[], &["203.0.113.9"]))
        .with(V4, |vip| vip.options.limits = limits(Some(1), Some(3)));
    let (tables, layout) = HostTables::filled(CAPACITY, &world.forwarding());
    for source in ["203.0.113.9", "192.0.2.1", "192.0.2.1", "192.0.2.1"] {
        tables.run(&from(Kind::Syn, source)).0.ok();
    }
    let vip = V4.parse().expect("a vip");
    let (number, _) = layout.numbers().find(|(_, key)| *key == vip).expect("the vip");
    let counted = tables.policy_counters(number);
    assert_eq!(
        (counted.new_flows, counted.denied, counted.vip_limited, counted.source_limited),
        (3, 1, 1, 0)
    );
}
