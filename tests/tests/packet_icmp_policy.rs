//! ICMP errors about flows of vips with routes, access lists and limits: the source prefix of the quoted flow's client
//! decides, never that of the router which reports.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_common::abi::Reason;
use lb_user::state::{Affinity, FlowLimits, VipKey};
use tests::control::{ethernet, icmp, icmpv6, ipv4, ipv6};
use tests::host::HostTables;
use tests::packets::{Kind, Packet};
use tests::story::{Story, dropped, forwarded};
use tests::tunnel::outer;
use tests::world::{CAPACITY, World, rules};

const V4: &str = "198.51.100.1:80/tcp";
const ALL4: &str = "198.51.100.1:0/udp";
const V6: &str = "[2001:db8::1]:80/tcp";
const ALL6: &str = "[2001:db8::1]:0/udp";
const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Routers, inside of a prefix that a route is for.
const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0x99, 0, 0, 0, 1);
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Backends of no route, of one route, and of a more specific one.
const GROUPS: [[&str; 3]; 3] = [
    ["10.0.0.1", "10.0.0.2", "2001:db8:b::1"],
    ["10.0.1.1", "10.0.1.2", "2001:db8:b:1::1"],
    ["10.0.2.1", "10.0.2.2", "2001:db8:b:2::1"],
];
/// Clients of each of [`GROUPS`].
const CLIENTS4: [&str; 3] = ["203.0.113.9", "10.8.0.9", "10.9.3.9"];
const CLIENTS6: [&str; 3] = ["2001:db8:7::9", "2001:db8:9:1::9", "2001:db8:9:99::9"];

fn world() -> World {
    let world = [V4, ALL4, V6, ALL6].iter().fold(World::default(), |world, vip| world.vip(vip, &GROUPS[0]));
    let world = [V4, ALL4].iter().fold(world, |world, vip| {
        world.route(vip, &["10.0.0.0/8"], &GROUPS[1]).route(vip, &["10.9.0.0/16"], &GROUPS[2])
    });
    [V6, ALL6].iter().fold(world, |world, vip| {
        world.route(vip, &["2001:db8:9::/48"], &GROUPS[1]).route(vip, &["2001:db8:9:99::/64"], &GROUPS[2])
    })
}

/// What the vip has sent to the client: ports, then four bytes of whatever, as RFC 792 asks.
fn sent(vip_port: u16, client_port: u16) -> Vec<u8> {
    [&vip_port.to_be_bytes()[..], &client_port.to_be_bytes(), &[0x55; 4]].concat()
}

/// "Fragmentation needed" about a packet to an IPv4 client.
fn error4(client: &str, protocol: u8, vip_port: u16, client_port: u16) -> Vec<u8> {
    let client = client.parse().expect("an IPv4 address");
    let quoted = ipv4(VIP4, client, protocol, &[], &sent(vip_port, client_port));
    ethernet(&[], &ipv4(ROUTER4, VIP4, 1, &[], &icmp(3, 4, [0, 0, 0x05, 0x14], &quoted)))
}

/// "Packet too big" about a packet to an IPv6 client.
fn error6(client: &str, protocol: u8, vip_port: u16, client_port: u16) -> Vec<u8> {
    let client = client.parse().expect("an IPv6 address");
    let quoted = ipv6(VIP6, client, protocol, 61, &sent(vip_port, client_port));
    let message = icmpv6((ROUTER6, VIP6), 2, 0, [0, 0, 0x05, 0], &quoted);
    ethernet(&[], &ipv6(ROUTER6, VIP6, 58, 61, &message))
}

fn backend(frame: &[u8]) -> Vec<u8> {
    outer(frame).destination
}

fn octets(backend: &str) -> Vec<u8> {
    match backend.parse().expect("an address") {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Sends an error about flows of many ports of `client`, and demands the backends that the flows have.
fn follows_the_flow(
    story: &mut Story,
    client: &str,
    vip: &str,
    protocol: u8,
    group: &[&str],
    error: impl Fn(u16) -> Vec<u8>,
) {
    let kind = if protocol == TCP { Kind::Ack } else { Kind::Udp };
    let mut seen = Vec::new();
    for port in 40_000..40_020 {
        let flow = story.forwarded(&Packet::new(kind, &format!("{client}:{port}"), vip).frame());
        let reached = backend(&story.forwarded(&error(port)));
        assert_eq!(reached, backend(&flow), "{client} port {port}, {vip}");
        seen.push(reached);
    }
    for of_group in group {
        assert!(seen.contains(&octets(of_group)), "{client} never came to {of_group}");
    }
    let of_group: Vec<_> = group.iter().map(|backend| octets(backend)).collect();
    assert!(seen.iter().all(|backend| of_group.contains(backend)), "{client} left its group");
}

#[test]
fn an_error_goes_to_the_backends_that_its_clients_prefix_is_routed_to() {
    let mut story = Story::new(&world());
    for (group, client) in GROUPS.iter().zip(CLIENTS4) {
        follows_the_flow(&mut story, client, "198.51.100.1:80", TCP, group, |port| {
            error4(client, TCP, 80, port)
        });
        follows_the_flow(&mut story, client, "198.51.100.1:5353", UDP, group, |port| {
            error4(client, UDP, 5353, port)
        });
    }
    for (group, client) in GROUPS.iter().zip(CLIENTS6) {
        let bracketed = format!("[{client}]");
        follows_the_flow(&mut story, &bracketed, "[2001:db8::1]:80", TCP, group, |port| {
            error6(client, TCP, 80, port)
        });
        follows_the_flow(&mut story, &bracketed, "[2001:db8::1]:5353", UDP, group, |port| {
            error6(client, UDP, 5353, port)
        });
    }
}

#[test]
fn affinity_counts_for_routes_as_for_the_vip() {
    for affinity in [Affinity::Source, Affinity::SourceAndPort] {
        let world = world().with(V4, |vip| vip.affinity = affinity).with(V6, |vip| vip.affinity = affinity);
        let mut story = Story::new(&world);
        let mut seen = std::collections::BTreeSet::new();
        for host in 1..30 {
            let client = format!("10.9.0.{host}");
            let flow = Packet::new(Kind::Ack, &format!("{client}:1"), "198.51.100.1:80");
            let expected = backend(&story.forwarded(&flow.frame()));
            assert_eq!(backend(&story.forwarded(&error4(&client, TCP, 80, 50_000))), expected, "{client}");
            seen.insert(expected);
        }
        assert_eq!(seen.len(), GROUPS[2].len(), "{affinity:?}");
    }
}

#[test]
fn an_error_about_a_flow_of_a_route_without_backends_is_dropped() {
    let world = World::default()
        .vip(V4, &GROUPS[0])
        .route(V4, &["10.9.0.0/16"], &[])
        .vip(V6, &GROUPS[0])
        .route(V6, &["2001:db8:9:99::/64"], &[]);
    for (client, vip) in [(CLIENTS4[2], 4), (CLIENTS6[2], 6)] {
        let error = if vip == 4 { error4(client, TCP, 80, 1) } else { error6(client, TCP, 80, 1) };
        assert_eq!(dropped(&world, &error), Reason::NoBackend, "{client}");
    }
    let _ = forwarded(&world, &error4(CLIENTS4[0], TCP, 80, 1));
    let _ = forwarded(&world, &error6(CLIENTS6[0], TCP, 80, 1));
}

/// The flow was let in when it began; the router that reports is no client at all.
#[test]
fn access_lists_and_limits_are_not_asked_about_errors() {
    let limits = FlowLimits { vip_per_second: Some(1), source_per_second: Some(1), ..FlowLimits::default() };
    let mut world = world();
    world.desired.access = rules(&[], &["10.9.0.1", "2001:db8:9:99::1"]);
    for vip in [V4, V6] {
        world = world.with(vip, |vip| {
            vip.options.access = rules(&["192.0.2.0/24", "2001:db8:77::/48"], &[]);
            vip.options.limits = limits;
        });
    }
    let mut story = Story::new(&world);
    for port in 40_000..40_010 {
        for (group, (v4, v6)) in GROUPS.iter().zip(CLIENTS4.iter().zip(CLIENTS6)) {
            let group: Vec<_> = group.iter().map(|backend| octets(backend)).collect();
            assert!(group.contains(&backend(&story.forwarded(&error4(v4, TCP, 80, port)))), "{v4}");
            assert!(group.contains(&backend(&story.forwarded(&error6(v6, TCP, 80, port)))), "{v6}");
        }
    }
    let (tables, layout) = HostTables::filled(CAPACITY, &world.forwarding());
    let _ = tables.run(&error4(CLIENTS4[1], TCP, 80, 1)).0.expect("an error about a flow is forwarded");
    let vip: VipKey = V4.parse().expect("a vip");
    let (number, _) = layout.numbers().find(|(_, key)| *key == vip).expect("the vip");
    let counted = tables.policy_counters(number);
    assert_eq!((counted.new_flows, counted.denied), (0, 0), "{counted:?}");
}
