//! The packet story, packet by packet: what comes out of the host's build of it, and that the kernel's build does the
//! very same. The oracle for headers is etherparse.

use lb_common::abi::Reason;
use lb_common::maglev;
use lb_user::state::Dscp;
use tests::host::HostTables;
use tests::kernel::{Action, Kernel, is_root};
use tests::packets::{Kind, Packet};
use tests::story::{dropped, forwarded, passed};
use tests::tunnel::{inner, outer};
use tests::world::{CAPACITY, World};

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";

fn client4(kind: Kind) -> Packet {
    Packet::new(kind, "203.0.113.9:40000", "198.51.100.1:80")
}

fn client6(kind: Kind) -> Packet {
    Packet::new(kind, "[2001:db8:9::9]:40000", "[2001:db8::1]:80")
}

#[test]
fn all_four_combinations_carry_the_inner_packet_unchanged_but_for_one_hop() {
    let cases: [(&str, &str, Packet, u8); 4] = [
        (V4, "10.0.0.1", client4(Kind::Ack), 4),
        (V4, "2001:db8:b::1", client4(Kind::Syn), 4),
        (V6, "10.0.0.1", client6(Kind::Ack), 41),
        (V6, "2001:db8:b::1", client6(Kind::Syn), 41),
    ];
    for (vip, backend, packet, protocol) in cases {
        let frame = packet.frame();
        let outer = outer(&forwarded(&World::default().vip(vip, &[backend]), &frame));
        assert_eq!(outer.protocol, protocol, "{vip} to {backend}");
        assert_eq!(outer.ttl, 64);
        assert_eq!(outer.payload, inner(&frame), "{vip} to {backend}");
        let address = match backend.parse().expect("an address") {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        assert_eq!(outer.destination, address);
    }
}

#[test]
fn an_ipv4_packet_in_ipv4_has_exactly_these_headers() {
    let mut packet = client4(Kind::Ack);
    packet.payload = Vec::new();
    let output = forwarded(&World::default().vip(V4, &["10.0.0.1"]), &packet.frame());
    let expected = [
        0x02, 0, 0, 0, 0xbb, 1, 0x02, 0, 0, 0, 0xaa, 1, 0x08, 0x00, // to the next hop
        0x45, 0x00, 0x00, 0x3c, 0x12, 0x34, 0x40, 0x00, 0x40, 0x04, 0x5c,
        0x7f, // 60 bytes, id and DF of the inner one
        192, 0, 2, 10, 10, 0, 0, 1, // from the balancer to the backend
        0x45, 0x00, 0x00, 0x28, 0x12, 0x34, 0x40, 0x00, 0x3c, 0x06, // 40 bytes, one hop less
    ];
    assert_eq!(output[..expected.len()], expected);
}

#[test]
fn vlan_tags_of_the_client_go_and_that_of_the_next_hop_comes() {
    let plain = World::default().vip(V4, &["10.0.0.1"]);
    let six = World::default().vip(V4, &["2001:db8:b::1"]);
    for tags in [vec![], vec![5], vec![5, 6]] {
        let packet = Packet { tags, ..client4(Kind::Ack) };
        let frame = packet.frame();
        for (world, backend) in [(&plain, "10.0.0.1"), (&six, "2001:db8:b::1")] {
            let untagged = forwarded(world, &frame);
            assert_eq!(outer(&untagged).payload, inner(&frame));
            let tagged = forwarded(&world.clone().vlan(backend, 100), &frame);
            assert_eq!(tagged[12..16], [0x81, 0x00, 0, 100]);
            assert_eq!(tagged[16..], untagged[12..], "only the tag is new");
        }
    }
}

#[test]
fn ipv4_options_are_skipped() {
    let world = World::default().vip(V4, &["10.0.0.1"]);
    let frame = client4(Kind::Ack).frame();
    let mut header = etherparse::Ipv4Header::from_slice(&frame[14..]).expect("a header").0;
    header.options = [1; 8].into();
    header.total_len += 8;
    header.header_checksum = header.calc_header_checksum();
    let mut with_options = frame[..14].to_vec();
    header.write(&mut with_options).expect("a vector takes everything");
    with_options.extend(&frame[34..]);
    assert_eq!(outer(&forwarded(&world, &with_options)).payload, inner(&with_options));
}

#[test]
fn ipv6_extension_headers_are_walked_up_to_the_limit() {
    let world = World::default().vip(V6, &["10.0.0.1"]);
    let frame = client6(Kind::Ack).frame();
    for count in 0..=lb_ebpf::MAX_EXTENSIONS + 1 {
        let frame = with_extensions(&frame, &vec![60; count]);
        if count <= lb_ebpf::MAX_EXTENSIONS {
            assert_eq!(outer(&forwarded(&world, &frame)).payload, inner(&frame), "{count} headers");
        } else {
            assert_eq!(passed(&world, &frame), Reason::ExtensionHeaders);
        }
    }
    let atomic = with_extensions(&frame, &[0, 44]);
    assert_eq!(outer(&forwarded(&world, &atomic)).payload, inner(&atomic), "RFC 6946");
    let mut routed = with_extensions(&frame, &[43]);
    assert_eq!(outer(&forwarded(&world, &routed)).payload, inner(&routed), "no segments left");
    routed[14 + 40 + 3] = 1;
    assert_eq!(passed(&world, &routed), Reason::ExtensionHeaders);
}

/// Puts extension headers of 16 bytes, of a fragment 8 (RFC 8200, section 4.5), behind the IPv6 header.
fn with_extensions(frame: &[u8], kinds: &[u8]) -> Vec<u8> {
    let mut bytes = frame[..54].to_vec();
    let mut next = bytes[20];
    let mut headers = Vec::new();
    for kind in kinds.iter().rev() {
        let header =
            if *kind == 44 { vec![next, 0, 0, 0, 0, 0, 0, 0] } else { [&[next, 1], &[0; 14][..]].concat() };
        headers = [header, headers].concat();
        next = *kind;
    }
    bytes[20] = next;
    let len = u16::from_be_bytes([bytes[18], bytes[19]]) + headers.len() as u16;
    bytes[18..20].copy_from_slice(&len.to_be_bytes());
    [bytes, headers, frame[54..].to_vec()].concat()
}

#[test]
fn ecn_is_always_copied_and_dscp_as_configured() {
    for (vip, backend) in [(V4, "10.0.0.1"), (V4, "2001:db8:b::1"), (V6, "10.0.0.1"), (V6, "2001:db8:b::1")] {
        let world = World::default().vip(vip, &[backend]);
        let mut fixed = world.clone();
        fixed.desired.tunnel.dscp = Dscp::Fixed(46);
        for tos in [0x00, 0x01, 0x02, 0x03, 0xb8, 0xbb, 0xff] {
            let packet = if vip == V4 { client4(Kind::Ack) } else { client6(Kind::Ack) };
            let frame = Packet { tos, ..packet }.frame();
            assert_eq!(outer(&forwarded(&world, &frame)).tos, tos);
            assert_eq!(outer(&forwarded(&fixed, &frame)).tos, 46 << 2 | tos & 3);
        }
    }
}

#[test]
fn the_last_hop_is_not_spent() {
    for (vip, packet) in [(V4, client4(Kind::Ack)), (V6, client6(Kind::Ack))] {
        let world = World::default().vip(vip, &["10.0.0.1"]);
        for ttl in [0, 1] {
            assert_eq!(dropped(&world, &Packet { ttl, ..packet.clone() }.frame()), Reason::TtlExpired);
        }
        for ttl in [2, 0x80, 0xff] {
            let frame = Packet { ttl, ..packet.clone() }.frame();
            assert_eq!(outer(&forwarded(&world, &frame)).payload, inner(&frame));
        }
    }
}

#[test]
fn outer_sources_differ_by_flow_only_within_the_configured_prefix() {
    let world = World::default().vip(V4, &["10.0.0.1"]).vip(V6, &["2001:db8:b::1"]).entropy(
        "172.16.0.0",
        16,
        "2001:db8:e::",
        112,
    );
    let (mut sources4, mut sources6, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for port in 40_000..40_020 {
        let mut packet = client4(Kind::Ack);
        packet.source.set_port(port);
        sources4.push(outer(&forwarded(&world, &packet.frame())).source);
        let mut packet = client6(Kind::Ack);
        packet.source.set_port(port);
        let outer = outer(&forwarded(&world, &packet.frame()));
        sources6.push(outer.source);
        labels.push(outer.label);
    }
    assert!(sources4.iter().all(|source| source[..2] == [172, 16]));
    assert!(
        sources6.iter().all(|source| source[..14] == [0x20, 1, 0xd, 0xb8, 0, 0xe, 0, 0, 0, 0, 0, 0, 0, 0])
    );
    for (mut values, what) in [(sources4, "IPv4"), (sources6, "IPv6")] {
        values.sort();
        values.dedup();
        assert!(values.len() >= 18, "{what}: {} sources for 20 flows", values.len());
    }
    labels.sort_unstable();
    labels.dedup();
    assert!(labels.len() >= 18, "{} flow labels for 20 flows", labels.len());
}

#[test]
fn traffic_that_is_not_ours_passes_with_its_reason() {
    let world = World::default().vip(V4, &["10.0.0.1"]).vip(V6, &["10.0.0.1"]);
    let other = |destination| Packet::new(Kind::Ack, "203.0.113.9:40000", destination).frame();
    assert_eq!(passed(&world, &other("198.51.100.2:80")), Reason::NotVip);
    assert_eq!(passed(&world, &other("198.51.100.1:81")), Reason::NoService);
    assert_eq!(passed(&world, &client4(Kind::Udp).frame()), Reason::NoService);
    let other6 = Packet::new(Kind::Ack, "[2001:db8:9::9]:40000", "[2001:db8::2]:80").frame();
    assert_eq!(passed(&world, &other6), Reason::NotVip);

    let mut frame = client4(Kind::Ack).frame();
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(passed(&world, &frame), Reason::Arp);
    assert_eq!(
        passed(&world, &Packet { tags: vec![1, 2], ..client4(Kind::Ack) }.frame()[..20]),
        Reason::Malformed
    );

    for (offset, value, reason) in [(23, 1, Reason::Icmp), (23, 50, Reason::OtherProtocol)] {
        let mut frame = client4(Kind::Ack).frame();
        frame[offset] = value;
        assert_eq!(passed(&world, &frame), reason);
    }
    let mut frame = client6(Kind::Ack).frame();
    frame[20] = 58;
    assert_eq!(passed(&world, &frame), Reason::Icmp);
}

#[test]
fn impossible_lengths_for_a_vip_are_dropped() {
    let world = World::default().vip(V4, &["10.0.0.1"]).vip(V6, &["10.0.0.1"]);
    for (offset, value) in [(14, 0x44), (14, 0x55), (16, 0xff), (17, 0x10)] {
        let mut frame = client4(Kind::Ack).frame();
        frame[offset] = value;
        assert_eq!(dropped(&world, &frame), Reason::Truncated, "byte {offset}");
    }
    for (offset, value) in [(14, 0x50), (18, 0xff)] {
        let mut frame = client6(Kind::Ack).frame();
        frame[offset] = value;
        assert_eq!(dropped(&world, &frame), Reason::Truncated, "byte {offset}");
    }
    let frame = client4(Kind::Ack).frame();
    let mut short = frame[..14 + 20 + 13].to_vec();
    short[16..18].copy_from_slice(&33u16.to_be_bytes());
    assert_eq!(dropped(&world, &short), Reason::Truncated, "a TCP header needs its flags");
}

#[test]
fn a_vip_without_backends_drops() {
    assert_eq!(dropped(&World::default().vip(V4, &[]), &client4(Kind::Syn).frame()), Reason::NoBackend);
    let drained = World::default().vip(V4, &["10.0.0.1"]).with(V4, |vip| {
        vip.members.values_mut().for_each(|member| member.drained = true);
    });
    assert_eq!(dropped(&drained, &client4(Kind::Syn).frame()), Reason::NoBackend);
}

#[test]
fn an_all_ports_vip_serves_ports_that_have_no_vip_of_their_own() {
    let world = World::default().vip("198.51.100.1:0/tcp", &["10.0.0.1"]).vip(V4, &["10.0.0.2"]);
    let to = |port: u16| Packet::new(Kind::Ack, "203.0.113.9:40000", &format!("198.51.100.1:{port}")).frame();
    assert_eq!(outer(&forwarded(&world, &to(80))).destination, [10, 0, 0, 2]);
    assert_eq!(outer(&forwarded(&world, &to(81))).destination, [10, 0, 0, 1]);
    assert_eq!(outer(&forwarded(&world, &to(65_535))).destination, [10, 0, 0, 1]);
    let world = World::default().vip("[2001:db8::1]:0/udp", &["10.0.0.1"]);
    assert_eq!(outer(&forwarded(&world, &client6(Kind::Udp).frame())).destination, [10, 0, 0, 1]);
}

#[test]
fn source_affinity_ignores_the_port() {
    let world = World::default()
        .vip(V4, &["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        .with(V4, |vip| vip.affinity = lb_user::state::Affinity::Source);
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let backends = |host: u8| -> Vec<_> {
        (1..200u16)
            .map(|port| {
                let packet = Packet::new(Kind::Ack, &format!("203.0.113.{host}:{port}"), "198.51.100.1:80");
                outer(&tables.run(&packet.frame()).1).destination
            })
            .collect()
    };
    let first: Vec<_> = (1..30)
        .map(|host| {
            let all = backends(host);
            assert!(all.iter().all(|backend| *backend == all[0]));
            all[0].clone()
        })
        .collect();
    assert!(first.iter().any(|backend| *backend != first[0]), "sources differ");
}

#[test]
fn syns_count_as_new_flows_and_bytes_are_those_of_the_client() {
    if !is_root() {
        return;
    }
    let world = World::default().vip(V4, &["10.0.0.1"]);
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel that takes the program");
    for (kind, times) in [(Kind::Syn, 3), (Kind::Ack, 4)] {
        for _ in 0..times {
            let (action, _) = kernel.run(&client4(kind).frame()).expect("a test run");
            assert_eq!(action, Action::Transmit);
        }
    }
    use lb_user::dataplane::Dataplane;
    let totals = kernel.dataplane().expect("a dataplane").counters().expect("counters");
    let counted: Vec<_> = totals.dests.values().map(|c| (c.packets, c.bytes, c.new_flows)).collect();
    assert_eq!(counted, [(7, 7 * 47, 3)]);
}

#[test]
fn the_ring_decides_and_nothing_else() {
    let world = World::default().vip(V4, &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    let forwarding = world.forwarding();
    let (tables, layout) = HostTables::filled(CAPACITY, &forwarding);
    let vip = forwarding.vips.values().next().expect("the vip");
    assert!(vip.ring.iter().all(|owner| *owner != maglev::EMPTY));
    for port in 1..2000u16 {
        let packet = Packet::new(Kind::Ack, &format!("203.0.113.9:{port}"), "198.51.100.1:80");
        let (verdict, _) = tables.run(&packet.frame());
        let verdict = verdict.expect("a balanced packet");
        assert_eq!(layout.backend_at(verdict.dest), vip.owner(verdict.slot).map(|(_, dest)| dest.address));
    }
}
