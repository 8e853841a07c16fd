//! Backends on the segment: the frame as it came, but for addresses, tag and one hop, on the host and in the kernel.

use lb_common::abi::Reason;
use lb_user::state::Mode;
use tests::fixture::{End, Seen};
use tests::fuzz::Pair;
use tests::host::HostTables;
use tests::kernel::is_root;
use tests::packets::{Kind, Packet};
use tests::tunnel::inner;
use tests::world::{BALANCER, CAPACITY, NEXT_HOP, World};

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";

fn clients() -> [Packet; 2] {
    [
        Packet::new(Kind::Ack, "203.0.113.9:40000", "198.51.100.1:80"),
        Packet::new(Kind::Syn, "[2001:db8:9::9]:40000", "[2001:db8::1]:80"),
    ]
}

/// Both vips, to a backend that may have an address of the other family: only its MAC address counts.
fn world(backend: &str) -> World {
    World::default().vip(V4, &[backend]).vip(V6, &[backend]).mode(Mode::L2)
}

fn run(world: &World, frame: &[u8]) -> Seen {
    if is_root() {
        let mut pair = Pair::open(world).expect("a kernel that takes the program");
        return pair.run_and_see(frame).unwrap_or_else(|difference| panic!("{difference}"));
    }
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let (verdict, output) = tables.run(frame);
    Seen::new(&verdict, frame, output)
}

#[test]
fn only_addresses_tag_and_one_hop_change() {
    for packet in clients() {
        for tags in [vec![], vec![5], vec![5, 6]] {
            let packet = Packet { tags, tos: 0xb9, ..packet.clone() };
            let frame = packet.frame();
            for backend in ["10.0.0.1", "2001:db8:b::1"] {
                for vlan in [None, Some(100)] {
                    let mut world = world(backend);
                    if let Some(id) = vlan {
                        world = world.vlan(backend, id);
                    }
                    let seen = run(&world, &frame);
                    assert_eq!(seen.end, End::Forward);
                    let tag: &[u8] = if vlan.is_some() { &[0x81, 0x00, 0, 100] } else { &[] };
                    let ether_type: [u8; 2] =
                        if packet.destination.is_ipv6() { [0x86, 0xdd] } else { [0x08, 0x00] };
                    let expected = [&NEXT_HOP.0[..], &BALANCER.0, tag, &ether_type, &inner(&frame)].concat();
                    assert_eq!(seen.frame, Some(expected), "{packet:?} to {backend}, {vlan:?}");
                }
            }
        }
    }
}

#[test]
fn a_packet_that_goes_round_in_circles_ends() {
    for packet in clients() {
        let frame = Packet { ttl: 1, ..packet.clone() }.frame();
        assert_eq!(run(&world("10.0.0.1"), &frame).end, End::Stopped(Reason::TtlExpired));
        for sender in [BALANCER, NEXT_HOP] {
            let mut frame = packet.frame();
            frame[6..12].copy_from_slice(&sender.0);
            assert_eq!(run(&world("10.0.0.1"), &frame).end, End::Stopped(Reason::Loop), "{sender}");
        }
    }
}

#[test]
fn other_modes_do_not_ask_who_sent_the_frame() {
    for packet in clients() {
        for mode in [Mode::Ipip, Mode::Gue] {
            let mut frame = packet.frame();
            frame[6..12].copy_from_slice(&NEXT_HOP.0);
            assert_eq!(run(&world("10.0.0.1").mode(mode), &frame).end, End::Forward);
        }
    }
}

#[test]
fn a_packet_of_the_whole_mtu_fits_and_of_a_larger_one_the_sender_is_told() {
    for (packet, header) in clients().into_iter().zip([40, 60]) {
        for tags in [vec![], vec![5, 6]] {
            let packet = Packet { tags, payload: vec![7; 1500 - header], ..packet.clone() };
            assert_eq!(run(&world("10.0.0.1"), &packet.frame()).end, End::Forward);
            let larger = Packet { payload: vec![7; 1501 - header], ..packet };
            assert_eq!(run(&world("10.0.0.1"), &larger.frame()).end, End::Stopped(Reason::TooBigReply));
        }
    }
}
