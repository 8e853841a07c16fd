//! Packets that this balancer has wrapped itself, and that come back to it: what a backend address that leads back here
//! makes of them.

use lb_common::abi::Reason;
use lb_user::state::{DesiredAddress, GueVariant, Mode, UnknownPorts};
use tests::packets::{Kind, Packet};
use tests::story::Story;
use tests::world::World;

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";
const ADDRESSES: [&str; 2] = ["198.51.100.1", "2001:db8::1"];

/// Vips whose only backend is a vip's address, here behind a next hop that sends everything back.
fn circle(backend: &str) -> World {
    let circle = World::default().vip(V4, &[backend]).vip(V6, &[backend]);
    says(circle, UnknownPorts::Pass)
}

fn says(world: World, unknown_ports: UnknownPorts) -> World {
    let address = DesiredAddress { unknown_ports, ..DesiredAddress::default() };
    ADDRESSES.iter().fold(world, |world, ip| world.address(ip, address.clone()))
}

/// A packet of a client for the vip of each family.
fn clients() -> [Vec<u8>; 2] {
    [("203.0.113.9:40000", "198.51.100.1:80"), ("[2001:db8:9::9]:40000", "[2001:db8::1]:80")]
        .map(|(client, vip)| Packet::new(Kind::Ack, client, vip).frame())
}

/// The frame with another outer source.
fn from_elsewhere(mut wrapped: Vec<u8>) -> Vec<u8> {
    let last_byte = if wrapped[12..14] == [0x08, 0x00] { 29 } else { 37 };
    wrapped[last_byte] ^= 0x80;
    wrapped
}

#[test]
fn what_comes_back_wrapped_is_dropped_in_all_four_combinations() {
    for unknown_ports in [UnknownPorts::Pass, UnknownPorts::Drop, UnknownPorts::Reject] {
        for backend in ADDRESSES {
            let mut story = Story::new(&says(circle(backend), unknown_ports));
            for frame in clients() {
                let wrapped = story.forwarded(&frame);
                assert_eq!(story.dropped(&wrapped), Reason::Loop, "by {backend}, {unknown_ports:?}");
            }
        }
    }
}

#[test]
fn another_hosts_tunnel_is_no_loop() {
    for backend in ADDRESSES {
        let mut story = Story::new(&circle(backend));
        for frame in clients() {
            let wrapped = from_elsewhere(story.forwarded(&frame));
            assert_eq!(story.passed(&wrapped), Reason::OtherProtocol, "by {backend}");
        }
    }
}

#[test]
fn other_packets_from_a_tunnel_source_are_no_loop() {
    let mut story = Story::new(&circle(ADDRESSES[0]));
    let ask = |port| Packet::new(Kind::Udp, "192.0.2.10:40000", &format!("198.51.100.1:{port}")).frame();
    assert_eq!(story.passed(&ask(6081)), Reason::NoService);
    assert_eq!(story.dropped(&ask(6080)), Reason::Loop);
    story.forwarded(&Packet::new(Kind::Syn, "192.0.2.10:40000", "198.51.100.1:80").frame());
    let syn = Packet::new(Kind::Syn, "192.0.2.10:40000", "198.51.100.1:6080");
    assert_eq!(story.passed(&syn.frame()), Reason::NoService);
}

#[test]
fn what_comes_back_in_udp_is_dropped_on_the_configured_port() {
    for variant in [GueVariant::Direct, GueVariant::Header] {
        for backend in ADDRESSES {
            let mut world = circle(backend).mode(Mode::Gue);
            world.desired.tunnel.gue_variant = variant;
            world.desired.tunnel.gue_port = 666;
            let mut story = Story::new(&world);
            for frame in clients() {
                let wrapped = story.forwarded(&frame);
                assert_eq!(story.dropped(&wrapped), Reason::Loop, "by {backend}");
                assert_eq!(story.passed(&from_elsewhere(wrapped)), Reason::NoService, "by {backend}");
            }
        }
    }
}

#[test]
fn a_udp_vip_on_the_port_of_gue_takes_what_comes() {
    let world = circle(ADDRESSES[0]).mode(Mode::Gue).vip("198.51.100.1:6080/udp", &["10.0.0.1"]);
    let mut story = Story::new(&world);
    let wrapped = story.forwarded(&clients()[0]);
    story.forwarded(&wrapped);
}

#[test]
fn all_addresses_of_a_source_prefix_are_known_and_the_routes_source_is_not_used_beside_it() {
    for backend in ADDRESSES {
        let world = circle(backend).entropy("172.16.0.0", 16, "2001:db8:e::", 112);
        let mut story = Story::new(&world);
        for port in 40_000..40_040 {
            let client = format!("203.0.113.9:{port}");
            let wrapped = story.forwarded(&Packet::new(Kind::Ack, &client, "198.51.100.1:80").frame());
            assert_eq!(story.dropped(&wrapped), Reason::Loop, "by {backend}");
        }
    }
    let world = circle(ADDRESSES[0]).entropy("172.16.0.0", 16, "2001:db8:e::", 112);
    let mut story = Story::new(&world);
    let from_route = Packet::new(Kind::Udp, "192.0.2.10:40000", "198.51.100.1:6080").frame();
    assert_eq!(story.passed(&from_route), Reason::NoService);
}
