//! ICMP for vips: errors find the backend of the flow they are about, echo requests are answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::Reason;
use lb_user::state::{Affinity, Announce, DesiredAddress, UnknownPorts};
use tests::control::{echo_request, ethernet, icmp, icmpv6, ipv4, ipv6};
use tests::host::HostTables;
use tests::packets::{CLIENT_SIDE, Kind, Packet};
use tests::story::{Story, dropped, passed};
use tests::tunnel::{inner, outer};
use tests::world::{CAPACITY, World};

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";
const BACKENDS: [&str; 4] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8:b::1"];
const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
const TCP: u8 = 6;
const UDP: u8 = 17;

fn world() -> World {
    World::default()
        .vip(V4, &BACKENDS)
        .vip("198.51.100.1:0/udp", &BACKENDS)
        .vip(V6, &BACKENDS)
        .vip("[2001:db8::1]:0/udp", &BACKENDS)
}

fn pinged() -> DesiredAddress {
    DesiredAddress { ping: true, ..DesiredAddress::default() }
}

fn announced() -> DesiredAddress {
    DesiredAddress { announce: Announce::Arp, ..DesiredAddress::default() }
}

/// What the vip has sent to the client: ports, then 16 bytes of whatever.
fn sent(vip_port: u16, client_port: u16) -> Vec<u8> {
    [&vip_port.to_be_bytes(), &client_port.to_be_bytes(), &[0x55; 16][..]].concat()
}

/// A router's message to the vip about `packet`.
fn error4(kind: u8, code: u8, packet: &[u8]) -> Vec<u8> {
    ethernet(&[], &ipv4(ROUTER4, VIP4, 1, &[], &icmp(kind, code, [0, 0, 0x05, 0x14], packet)))
}

fn error6(kind: u8, code: u8, packet: &[u8]) -> Vec<u8> {
    let message = icmpv6((ROUTER6, VIP6), kind, code, [0, 0, 0x05, 0], packet);
    ethernet(&[], &ipv6(ROUTER6, VIP6, 58, 61, &message))
}

fn backend(frame: &[u8]) -> Vec<u8> {
    outer(frame).destination
}

/// Where the client's own packet goes.
fn flows_backend(world: &World, kind: Kind, client: &str, vip: &str) -> Vec<u8> {
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let (verdict, output) = tables.run(&Packet::new(kind, client, vip).frame());
    let _ = verdict.expect("the client's packet is forwarded");
    backend(&output)
}

#[test]
fn every_kind_of_error_goes_where_its_flow_goes() {
    let world = world();
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let mut seen = std::collections::BTreeSet::new();
    for client_port in 40_000..40_050 {
        let client = format!("203.0.113.9:{client_port}");
        let expected = flows_backend(&world, Kind::Ack, &client, "198.51.100.1:80");
        let quoted = ipv4(VIP4, CLIENT4, TCP, &[], &sent(80, client_port));
        for (kind, code) in [(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)] {
            let (verdict, output) = tables.run(&error4(kind, code, &quoted));
            let _ = verdict.expect("an error about a flow is forwarded");
            assert_eq!(backend(&output), expected, "{kind}/{code} for port {client_port}");
        }
        let client = format!("[{CLIENT6}]:{client_port}");
        let expected6 = flows_backend(&world, Kind::Udp, &client, "[2001:db8::1]:53");
        let quoted = ipv6(VIP6, CLIENT6, UDP, 61, &sent(53, client_port));
        for (kind, code) in [(1, 0), (1, 4), (2, 0), (3, 0), (4, 1)] {
            let (verdict, output) = tables.run(&error6(kind, code, &quoted));
            let _ = verdict.expect("an error about a flow is forwarded");
            assert_eq!(backend(&output), expected6, "{kind}/{code} for port {client_port}");
        }
        seen.insert(expected);
        seen.insert(expected6);
    }
    assert_eq!(seen.len(), BACKENDS.len(), "the flows are spread over all backends");
}

#[test]
fn an_error_arrives_as_it_was_sent_but_for_one_hop() {
    let mut story = Story::new(&world());
    for tags in [vec![], vec![5], vec![5, 6]] {
        let quoted = ipv4(VIP4, CLIENT4, TCP, &[], &sent(80, 40_000));
        let packet = ipv4(ROUTER4, VIP4, 1, &[], &icmp(3, 4, [0, 0, 5, 20], &quoted));
        let frame = ethernet(&tags, &packet);
        assert_eq!(outer(&story.forwarded(&frame)).payload, inner(&frame));

        let quoted = ipv6(VIP6, CLIENT6, TCP, 61, &sent(80, 40_000));
        let message = icmpv6((ROUTER6, VIP6), 2, 0, [0, 0, 5, 0], &quoted);
        let frame = ethernet(&tags, &ipv6(ROUTER6, VIP6, 58, 61, &message));
        assert_eq!(outer(&story.forwarded(&frame)).payload, inner(&frame));
    }
}

#[test]
fn eight_bytes_behind_the_quoted_header_are_enough_and_fewer_than_the_ports_are_not() {
    let world = world();
    let mut story = Story::new(&world);
    let expected = flows_backend(&world, Kind::Ack, "203.0.113.9:40000", "198.51.100.1:80");
    let quoted = ipv4(VIP4, CLIENT4, TCP, &[], &sent(80, 40_000));
    assert_eq!(backend(&story.forwarded(&error4(3, 4, &quoted[..28]))), expected, "RFC 792");
    for cut in [0, 10, 19, 20, 23] {
        assert_eq!(story.dropped(&error4(3, 4, &quoted[..cut])), Reason::IcmpMalformed, "{cut} bytes");
    }
    let quoted = ipv6(VIP6, CLIENT6, TCP, 61, &sent(80, 40_000));
    for cut in [0, 39, 40, 43] {
        assert_eq!(story.dropped(&error6(2, 0, &quoted[..cut])), Reason::IcmpMalformed, "{cut} bytes");
    }
    let cut = ipv4(ROUTER4, VIP4, 1, &[], &icmp(3, 4, [0; 4], &[])[..7]);
    assert_eq!(story.dropped(&ethernet(&[], &cut)), Reason::IcmpMalformed, "no whole ICMP header");
}

#[test]
fn options_of_both_headers_are_skipped() {
    let world = world();
    let mut story = Story::new(&world);
    let expected = flows_backend(&world, Kind::Ack, "203.0.113.9:40000", "198.51.100.1:80");
    for options in [4, 12, 40] {
        let quoted = ipv4(VIP4, CLIENT4, TCP, &vec![1; options], &sent(80, 40_000)[..8]);
        for outer_options in [0, 8, 40] {
            let message = icmp(11, 0, [0; 4], &quoted);
            let frame = ethernet(&[], &ipv4(ROUTER4, VIP4, 1, &vec![1; outer_options], &message));
            assert_eq!(backend(&story.forwarded(&frame)), expected, "{options} and {outer_options} bytes");
        }
    }
}

/// An extension header of eight bytes; `offset` is a fragment's, in the header's own units.
fn extension(next: u8, kind: u8, offset: u16) -> Vec<u8> {
    let [a, b] = offset.to_be_bytes();
    if kind == 44 { vec![next, 0, a, b, 0, 0, 0, 7] } else { vec![next, 0, 1, 4, 0, 0, 0, 0] }
}

#[test]
fn extension_headers_of_both_headers_are_walked() {
    let world = world();
    let mut story = Story::new(&world);
    let expected = flows_backend(&world, Kind::Ack, &format!("[{CLIENT6}]:40000"), "[2001:db8::1]:80");
    let quoted = [extension(44, 60, 0), extension(TCP, 44, 1), sent(80, 40_000)].concat();
    let quoted = ipv6(VIP6, CLIENT6, 60, 61, &quoted);
    let message = icmpv6((ROUTER6, VIP6), 2, 0, [0, 0, 5, 0], &quoted);
    let packet = ipv6(ROUTER6, VIP6, 0, 61, &[extension(58, 0, 0), message].concat());
    assert_eq!(backend(&story.forwarded(&ethernet(&[], &packet))), expected);
    let long: Vec<u8> = (0..5).flat_map(|_| extension(60, 60, 0)).collect();
    let quoted = ipv6(VIP6, CLIENT6, 60, 61, &[long, extension(TCP, 60, 0), sent(80, 40_000)].concat());
    assert_eq!(story.passed(&error6(2, 0, &quoted)), Reason::Icmp, "a chain that is too long");
}

#[test]
fn only_the_first_fragment_of_a_quoted_datagram_names_its_flow() {
    let world = world().address("198.51.100.1", announced()).address("2001:db8::1", announced());
    let mut story = Story::new(&world);
    let mut first = ipv4(VIP4, CLIENT4, UDP, &[], &sent(53, 40_000));
    first[6] = 0x20;
    let expected = flows_backend(&world, Kind::Udp, "203.0.113.9:40000", "198.51.100.1:53");
    assert_eq!(backend(&story.forwarded(&error4(11, 1, &first))), expected);
    first[7] = 1;
    assert_eq!(story.dropped(&error4(11, 1, &first)), Reason::IcmpStray);
    let later = [extension(UDP, 44, 8 | 1), sent(53, 40_000)].concat();
    let later = ipv6(VIP6, CLIENT6, 44, 61, &later);
    assert_eq!(story.dropped(&error6(3, 1, &later)), Reason::IcmpStray);
}

#[test]
fn affinity_decides_which_ports_count() {
    for affinity in [Affinity::Source, Affinity::SourceAndPort] {
        let world = world().with(V4, |vip| vip.affinity = affinity).with(V6, |vip| vip.affinity = affinity);
        for host in 1..20 {
            let client = Ipv4Addr::new(203, 0, 113, host);
            let expected = flows_backend(&world, Kind::Ack, &format!("{client}:1"), "198.51.100.1:80");
            let quoted = ipv4(VIP4, client, TCP, &[], &sent(80, 50_000));
            let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
            assert_eq!(backend(&tables.run(&error4(3, 4, &quoted)).1), expected, "{affinity:?}");
        }
    }
}

#[test]
fn errors_about_no_flow_are_the_kernels_unless_the_program_owns_the_address() {
    let mut story = Story::new(&world());
    let strays4 = [
        ipv4(ROUTER4, CLIENT4, TCP, &[], &sent(80, 40_000)),
        ipv4(VIP4, CLIENT4, TCP, &[], &sent(81, 40_000)),
        ipv4(VIP4, CLIENT4, 1, &[], &icmp(0, 0, [0; 4], &[])),
        ipv4(CLIENT4, VIP4, TCP, &[], &sent(40_000, 80)),
    ];
    for quoted in strays4 {
        let frame = error4(3, 1, &quoted);
        assert_eq!(story.passed(&frame), Reason::Icmp);
        assert_eq!(passed(&world().address("198.51.100.1", pinged()), &frame), Reason::Icmp);
        assert_eq!(dropped(&world().address("198.51.100.1", announced()), &frame), Reason::IcmpStray);
    }
    let stray = error6(1, 0, &ipv6(VIP6, CLIENT6, TCP, 61, &sent(81, 40_000)));
    assert_eq!(story.passed(&stray), Reason::Icmp);
    assert_eq!(dropped(&world().address("2001:db8::1", announced()), &stray), Reason::IcmpStray);
}

#[test]
fn an_error_about_a_flow_without_backend_is_dropped() {
    let world = World::default().vip(V4, &[]);
    let quoted = ipv4(VIP4, CLIENT4, TCP, &[], &sent(80, 40_000));
    assert_eq!(dropped(&world, &error4(3, 4, &quoted)), Reason::NoBackend);
}

#[test]
fn other_icmp_is_the_kernels() {
    let world = world().address("198.51.100.1", announced()).address("2001:db8::1", announced());
    let mut story = Story::new(&world);
    for kind in [0, 4, 5, 8, 13, 17] {
        let frame = ethernet(&[], &ipv4(ROUTER4, VIP4, 1, &[], &icmp(kind, 0, [0; 4], &[0; 40])));
        assert_eq!(story.passed(&frame), Reason::Icmp, "type {kind}");
    }
    for kind in [0, 100, 128, 129, 130, 133, 134, 136, 137, 143] {
        let message = icmpv6((ROUTER6, VIP6), kind, 0, [0; 4], &[0; 40]);
        let frame = ethernet(&[], &ipv6(ROUTER6, VIP6, 58, 255, &message));
        assert_eq!(story.passed(&frame), Reason::Icmp, "type {kind}");
    }
    let frame = ethernet(&[], &ipv4(ROUTER4, VIP4, 58, &[], &[128, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(story.passed(&frame), Reason::Icmp, "ICMPv6 in IPv4");
}

#[test]
fn an_address_that_takes_nothing_else_takes_no_echo_request_and_all_other_icmp() {
    let closed = DesiredAddress { unknown_ports: UnknownPorts::Drop, ..DesiredAddress::default() };
    let world = world().address("198.51.100.1", closed.clone()).address("2001:db8::1", closed);
    let mut story = Story::new(&world);
    for (client, vip) in [(IpAddr::V4(CLIENT4), IpAddr::V4(VIP4)), (CLIENT6.into(), VIP6.into())] {
        assert_eq!(story.dropped(&echo_request(client, vip, [0, 1, 0, 1], b"ping")), Reason::ClosedPort);
    }
    let frame = ethernet(&[], &ipv4(ROUTER4, VIP4, 1, &[], &icmp(13, 0, [0; 4], &[0; 40])));
    assert_eq!(story.passed(&frame), Reason::Icmp);
    let message = icmpv6((ROUTER6, VIP6), 135, 0, [0; 4], &VIP6.octets());
    assert_eq!(story.passed(&ethernet(&[], &ipv6(ROUTER6, VIP6, 58, 255, &message))), Reason::Icmp);
}

fn answering() -> World {
    world().address("198.51.100.1", pinged()).address("2001:db8::1", pinged())
}

#[test]
fn an_echo_request_becomes_its_reply() {
    let mut story = Story::new(&answering());
    for (client, vip) in [(IpAddr::V4(CLIENT4), IpAddr::V4(VIP4)), (CLIENT6.into(), VIP6.into())] {
        for len in [0, 1, 7, 56, 1000] {
            let data: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let request = echo_request(client, vip, [0x12, 0x34, 0, 9], &data);
            let (reason, reply) = story.answered(&request);
            assert_eq!(reason, Reason::EchoReply);
            let mut expected = echo_request(vip, client, [0x12, 0x34, 0, 9], &data);
            let [source, destination] = CLIENT_SIDE;
            expected[..12].copy_from_slice(&[source, destination].concat());
            let (kind_at, kind, ttl_at) = if vip.is_ipv4() { (34, 0, 22) } else { (54, 129, 21) };
            assert_eq!((reply[kind_at], reply[ttl_at]), (kind, 64));
            let mask = |frame: &[u8]| {
                let sums = if vip.is_ipv4() { vec![24, 25, 22, 34, 36, 37] } else { vec![21, 54, 56, 57] };
                let mut frame = frame.to_vec();
                sums.into_iter().for_each(|at| frame[at] = 0);
                frame
            };
            assert_eq!(mask(&reply), mask(&expected), "all but kind, time to live and sums");
        }
    }
}

#[test]
fn a_reply_keeps_dscp_options_and_tags_and_clears_ecn() {
    let mut story = Story::new(&answering());
    let message = icmp(8, 0, [0, 1, 0, 2], b"data");
    let mut packet = ipv4(CLIENT4, VIP4, 1, &[7, 7, 4, 0, 0, 0, 0, 1], &message);
    packet[1] = 0xbb;
    let header = etherparse::Ipv4Header::from_slice(&packet).expect("a header").0;
    packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    for tags in [vec![], vec![5], vec![0, 6]] {
        let (_, reply) = story.answered(&ethernet(&tags, &packet));
        let at = 14 + tags.len() * 4;
        assert_eq!(reply[12..at], ethernet(&tags, &packet)[12..at]);
        assert_eq!(reply[at + 1], 0xb8);
        assert_eq!(reply[at + 4..at + 6], [0x12, 0x34], "the identification");
        assert_eq!(reply[at + 20..at + 28], [7, 7, 4, 0, 0, 0, 0, 1]);
    }
    let message = icmpv6((CLIENT6, VIP6), 128, 0, [0, 1, 0, 2], b"data");
    let mut packet = ipv6(CLIENT6, VIP6, 58, 61, &message);
    packet[..4].copy_from_slice(&[0x6b, 0xb7, 0x12, 0x34]);
    let (_, reply) = story.answered(&ethernet(&[], &packet));
    assert_eq!(reply[14..18], [0x6b, 0x87, 0x12, 0x34]);
}

#[test]
fn a_source_route_is_not_followed_back() {
    let mut story = Story::new(&answering());
    let message = icmp(8, 0, [0, 1, 0, 2], b"data");
    let frame = |options: &[u8]| ethernet(&[], &ipv4(CLIENT4, VIP4, 1, options, &message));
    for kind in [131, 137] {
        assert_eq!(story.dropped(&frame(&[kind, 7, 4, 1, 2, 3, 4, 0])), Reason::SourceRoute);
        let behind = [&[1, 7, 7, 4, 0, 0, 0, 0][..], &[kind, 7, 4, 1, 2, 3, 4, 0]].concat();
        assert_eq!(story.dropped(&frame(&behind)), Reason::SourceRoute, "behind others");
    }
    let _ = story.answered(&frame(&[0, 131, 7, 4]));
    let _ = story.answered(&frame(&[1; 40]));
    assert_eq!(story.dropped(&frame(&[7, 1, 4, 0])), Reason::IcmpMalformed, "an option of length 1");
}

#[test]
fn nobody_is_answered_who_is_no_host_or_answers_himself() {
    let world = answering().vip("198.51.100.2:80/tcp", &["10.0.0.1"]).address("198.51.100.2", pinged());
    let mut story = Story::new(&world);
    let from =
        |source: &str, vip: IpAddr| echo_request(source.parse().expect("an address"), vip, [0; 4], b"");
    let (v4, v6) = (IpAddr::V4(VIP4), IpAddr::V6(VIP6));
    for source in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"]
    {
        assert_eq!(story.dropped(&from(source, v4)), Reason::BadSource, "{source}");
    }
    for source in ["::", "::1", "ff02::1", "ff0e::7"] {
        assert_eq!(story.dropped(&from(source, v6)), Reason::BadSource, "{source}");
    }
    for (source, vip) in [("198.51.100.1", v4), ("198.51.100.2", v4), ("2001:db8::1", v6)] {
        assert_eq!(story.dropped(&from(source, vip)), Reason::Loop, "{source}");
    }
    for at in [0, 6] {
        let mut group = from("203.0.113.9", v4);
        group[at] |= 1;
        assert_eq!(story.dropped(&group), Reason::BadSource, "a group's MAC address");
    }
}

#[test]
fn only_so_many_echo_requests_are_answered_at_once() {
    let mut world = answering();
    world.desired.answers.replies_per_second = 10;
    let request = echo_request(CLIENT4.into(), VIP4.into(), [0; 4], b"");
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let answers: Vec<_> = (0..20).map(|_| tables.run(&request).0).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Err(Reason::EchoReply)).count(), 11);
    assert_eq!(answers[19], Err(Reason::AnswerLimit));
    world.desired.answers.replies_per_second = 0;
    assert_eq!(dropped(&world, &request), Reason::AnswerLimit, "0 a second");
}
