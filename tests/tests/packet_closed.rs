//! Packets for a vip's address that are for no vip: passed, dropped or rejected.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{SlicedPacket, TransportSlice};
use lb_common::abi::Reason;
use lb_user::state::{DesiredAddress, UnknownPorts};
use tests::control::{ethernet, ipv4, ipv6};
use tests::packets::{CLIENT_SIDE, Kind, Packet};
use tests::story::{Story, passed};
use tests::world::World;

const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);

fn world(unknown_ports: UnknownPorts) -> World {
    let address = DesiredAddress { unknown_ports, ..DesiredAddress::default() };
    World::default()
        .vip("198.51.100.1:80/tcp", &["10.0.0.1"])
        .vip("[2001:db8::1]:80/tcp", &["10.0.0.1"])
        .address("198.51.100.1", address.clone())
        .address("2001:db8::1", address)
}

fn reject() -> World {
    world(UnknownPorts::Reject)
}

/// One packet of each kind to a port without a vip, for each family.
fn knocks() -> Vec<Vec<u8>> {
    let from = ["203.0.113.9:40000", "[2001:db8:9::9]:40000"];
    let to = ["198.51.100.1:81", "[2001:db8::1]:81"];
    let kinds = [Kind::Syn, Kind::Ack, Kind::Udp];
    let frames = |(from, to): (&str, &str)| kinds.map(|kind| Packet::new(kind, from, to).frame());
    from.into_iter().zip(to).flat_map(frames).collect()
}

fn other(protocol: u8, payload: &[u8]) -> [Vec<u8>; 2] {
    [
        ethernet(&[], &ipv4(CLIENT4, VIP4, protocol, &[], payload)),
        ethernet(&[], &ipv6(CLIENT6, VIP6, protocol, 61, payload)),
    ]
}

#[test]
fn an_address_decides_what_becomes_of_unknown_ports() {
    let mut story = Story::new(&reject());
    let (mut pass, mut drop) =
        (Story::new(&world(UnknownPorts::Pass)), Story::new(&world(UnknownPorts::Drop)));
    for knock in knocks() {
        assert_eq!(pass.passed(&knock), Reason::NoService);
        assert_eq!(drop.dropped(&knock), Reason::ClosedPort);
        let (reason, _) = story.answered(&knock);
        assert_eq!(reason, Reason::RejectReply);
    }
    for frame in other(50, &[7; 40]) {
        assert_eq!(pass.passed(&frame), Reason::OtherProtocol);
        assert_eq!(drop.dropped(&frame), Reason::ClosedPort);
    }
}

/// A segment to a closed port, with these flags and so much data.
fn segment(flags: u8, sequence: u32, acknowledgement: u32, len: usize) -> Vec<u8> {
    let mut frame =
        Packet { payload: vec![7; len], ..Packet::new(Kind::Ack, "203.0.113.9:40000", "198.51.100.1:81") }
            .frame();
    frame[38..42].copy_from_slice(&sequence.to_be_bytes());
    frame[42..46].copy_from_slice(&acknowledgement.to_be_bytes());
    frame[47] = flags;
    frame
}

#[test]
fn a_reset_has_the_numbers_that_its_segment_calls_for() {
    let mut story = Story::new(&reject());
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const PUSH: u8 = 8;
    const ACK: u8 = 16;
    // Flags, sequence, acknowledgement, bytes of data; what the reset says: sequence, and what it acknowledges.
    let cases = [
        (SYN, 1000, 0, 0, 0, Some(1001)),
        (SYN, u32::MAX, 0, 0, 0, Some(0)),
        (SYN, 1000, 0, 5, 0, Some(1006)),
        (FIN, 1000, 0, 3, 0, Some(1004)),
        (SYN | FIN, 1000, 0, 0, 0, Some(1002)),
        (0, 1000, 99, 7, 0, Some(1007)),
        (ACK, 1000, 77, 5, 77, None),
        (ACK | PUSH | FIN, 1000, 0xdead_beef, 500, 0xdead_beef, None),
        (SYN | ACK, 1000, 4, 0, 4, None),
    ];
    for (flags, sequence, acknowledgement, len, expected, acknowledged) in cases {
        let (_, reply) = story.answered(&segment(flags, sequence, acknowledgement, len));
        let sliced = SlicedPacket::from_ethernet(&reply).expect("a packet");
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
        assert!(tcp.rst() && !tcp.syn() && !tcp.fin());
        assert_eq!((tcp.source_port(), tcp.destination_port()), (81, 40_000));
        assert_eq!(tcp.sequence_number(), expected, "flags {flags:#x}");
        assert_eq!(tcp.ack().then(|| tcp.acknowledgment_number()), acknowledged, "flags {flags:#x}");
        assert_eq!(reply[..12], [CLIENT_SIDE[0], CLIENT_SIDE[1]].concat());
        assert_eq!((&reply[26..30], &reply[30..34]), (&VIP4.octets()[..], &CLIENT4.octets()[..]));
        assert_eq!(reply.len(), 60, "as long as Ethernet wants it");
    }
    assert_eq!(story.dropped(&segment(RST, 1000, 0, 0)), Reason::ClosedPort, "never a reset for a reset");
    assert_eq!(story.dropped(&segment(RST | ACK, 1000, 9, 0)), Reason::ClosedPort);
    let mut short = segment(ACK, 1, 2, 0);
    short[46] = 0xf0;
    assert_eq!(story.dropped(&short), Reason::Truncated);
}

#[test]
fn a_reset_keeps_the_tags_and_works_over_ipv6() {
    let mut story = Story::new(&reject());
    for tags in [vec![], vec![5], vec![5, 6]] {
        for (from, to) in
            [("203.0.113.9:40000", "198.51.100.1:81"), ("[2001:db8:9::9]:40000", "[2001:db8::1]:81")]
        {
            let frame = Packet { tags: tags.clone(), ..Packet::new(Kind::Syn, from, to) }.frame();
            let (_, reply) = story.answered(&frame);
            let at = 14 + tags.len() * 4;
            assert_eq!(reply[12..at], frame[12..at]);
        }
    }
}

#[test]
fn a_datagram_is_answered_by_port_unreachable() {
    let mut story = Story::new(&reject());
    for len in [0, 1, 3, 500, 600, 1400] {
        let packet = Packet::new(Kind::Udp, "203.0.113.9:40000", "198.51.100.1:81");
        let frame = Packet { payload: vec![7; len], ..packet }.frame();
        let (_, reply) = story.answered(&frame);
        assert_eq!((reply[34], reply[35]), (3, 3));
        assert_eq!(reply[36..42].iter().skip(2).copied().collect::<Vec<_>>(), [0; 4]);
        let quoted = (frame.len() - 14).min(548) & !3;
        assert_eq!(reply[42..], frame[14..14 + quoted], "{len} bytes");

        let packet = Packet::new(Kind::Udp, "[2001:db8:9::9]:40000", "[2001:db8::1]:81");
        let frame = Packet { payload: vec![7; len], ..packet }.frame();
        let (_, reply) = story.answered(&frame);
        assert_eq!((reply[54], reply[55]), (1, 4));
        let quoted = (frame.len() - 14).min(1232) & !3;
        assert_eq!(reply[62..], frame[14..14 + quoted], "{len} bytes");
    }
}

#[test]
fn other_protocols_are_answered_as_such() {
    let mut story = Story::new(&reject());
    let [v4, v6] = other(50, &[7; 40]);
    let (_, reply) = story.answered(&v4);
    assert_eq!((reply[34], reply[35]), (3, 2), "protocol unreachable");
    let (_, reply) = story.answered(&v6);
    assert_eq!(
        (reply[54], reply[55], &reply[58..62]),
        (4, 1, &[0, 0, 0, 6][..]),
        "at the next header's byte"
    );
    let packet = ipv6(CLIENT6, VIP6, 60, 61, &[&[50, 0, 1, 4, 0, 0, 0, 0][..], &[7; 16]].concat());
    let (_, reply) = story.answered(&ethernet(&[], &packet));
    assert_eq!((reply[54], reply[55], &reply[58..62]), (4, 1, &[0, 0, 0, 40][..]), "in the extension header");
    let [_, nothing] = other(59, &[]);
    assert_eq!(story.dropped(&nothing), Reason::ClosedPort, "nothing to reject");
}

#[test]
fn nobody_is_rejected_who_is_no_host() {
    let mut story = Story::new(&reject());
    for source in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        for kind in [Kind::Syn, Kind::Udp] {
            let frame = Packet::new(kind, &format!("{source}:1"), "198.51.100.1:81").frame();
            assert_eq!(story.dropped(&frame), Reason::BadSource, "{source}");
        }
    }
    for source in ["::", "::1", "ff02::1"] {
        let frame = Packet::new(Kind::Udp, &format!("[{source}]:1"), "[2001:db8::1]:81").frame();
        assert_eq!(story.dropped(&frame), Reason::BadSource, "{source}");
    }
    let own = Packet::new(Kind::Udp, "198.51.100.1:1", "198.51.100.1:81").frame();
    assert_eq!(story.dropped(&own), Reason::Loop);
    let mut broadcast = Packet::new(Kind::Udp, "203.0.113.9:1", "198.51.100.1:81").frame();
    broadcast[..6].fill(0xff);
    assert_eq!(story.dropped(&broadcast), Reason::BadSource);
}

#[test]
fn fragments_are_not_rejected() {
    for offset in [0x2000u16, 0x0001] {
        let mut frame = Packet::new(Kind::Udp, "203.0.113.9:1", "198.51.100.1:81").frame();
        frame[20..22].copy_from_slice(&offset.to_be_bytes());
        let (verdict, _) = Story::new(&reject()).tables.run(&frame);
        assert_ne!(verdict, Err(Reason::RejectReply));
    }
}

#[test]
fn rejects_are_limited() {
    let mut world = reject();
    world.desired.answers.replies_per_second = 10;
    let mut story = Story::new(&world);
    let frame = Packet::new(Kind::Udp, "203.0.113.9:1", "198.51.100.1:81").frame();
    for _ in 0..11 {
        assert_eq!(story.answered(&frame).0, Reason::RejectReply);
    }
    assert_eq!(story.dropped(&frame), Reason::AnswerLimit);
    story.set_clock(60_000_000_000);
    assert_eq!(story.answered(&frame).0, Reason::RejectReply);
}

#[test]
fn an_address_without_an_entry_passes() {
    let world = World::default().vip("198.51.100.1:80/tcp", &["10.0.0.1"]);
    let frame = Packet::new(Kind::Udp, "203.0.113.9:1", "198.51.100.1:81").frame();
    assert_eq!(passed(&world, &frame), Reason::NoService);
}
