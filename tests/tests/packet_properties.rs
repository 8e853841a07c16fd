//! Properties of the packet story over random packets, with etherparse as the oracle.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::abi::Reason;
use proptest::prelude::*;
use tests::host::HostTables;
use tests::packets::{Kind, Packet};
use tests::world::{CAPACITY, World};

const VIP4: &str = "198.51.100.1";
const VIP6: &str = "2001:db8::1";
const BACKENDS: [&str; 2] = ["10.0.0.1", "2001:db8:b::1"];

/// All-ports vips for both families and protocols, each with a backend of each family (`[0]` IPv4, `[1]` IPv6).
fn tables() -> [HostTables; 2] {
    BACKENDS.map(|backend| {
        let vips = [VIP4.to_owned(), format!("[{VIP6}]")];
        let world = vips.iter().fold(World::default(), |world, vip| {
            world.vip(&format!("{vip}:0/tcp"), &[backend]).vip(&format!("{vip}:0/udp"), &[backend])
        });
        HostTables::filled(CAPACITY, &world.entropy("172.16.0.0", 12, "fd00::", 96).forwarding()).0
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let addresses = prop_oneof![
        any::<[u8; 4]>().prop_map(|source| (IpAddr::from(source), VIP4.parse::<IpAddr>().expect("IPv4"))),
        any::<[u8; 16]>().prop_map(|source| (IpAddr::from(source), VIP6.parse::<IpAddr>().expect("IPv6"))),
    ];
    let kind = prop_oneof![Just(Kind::Syn), Just(Kind::Ack), Just(Kind::Udp)];
    (
        addresses,
        any::<(u16, u16)>(),
        kind,
        prop::collection::vec(1u16..4094, 0..=2),
        2u8..=255,
        any::<u8>(),
        prop::collection::vec(any::<u8>(), 0..1400),
    )
        .prop_map(|((source, destination), ports, kind, tags, ttl, tos, payload)| Packet {
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
            kind,
            tags,
            ttl,
            tos,
            payload,
        })
}

/// The inner packet of an encapsulated frame, after a check of the outer one.
fn inner(frame: &[u8], backend: IpAddr) -> Vec<u8> {
    let outer = SlicedPacket::from_ethernet(frame).expect("an outer packet");
    match (outer.net.expect("IP"), backend) {
        (NetSlice::Ipv4(ip), IpAddr::V4(address)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "outer checksum");
            assert_eq!(Ipv4Addr::from(header.destination), address);
            assert_eq!(header.source[0], 172);
            assert_eq!(usize::from(header.total_len), frame.len() - 14);
            frame[34..].to_vec()
        }
        (NetSlice::Ipv6(ip), IpAddr::V6(address)) => {
            let header = ip.header().to_header();
            assert_eq!(Ipv6Addr::from(header.destination), address);
            assert_eq!(usize::from(header.payload_length), frame.len() - 54);
            frame[54..].to_vec()
        }
        (net, _) => panic!("{net:?}"),
    }
}

/// What etherparse reads in an inner packet, with its checksums checked.
fn read(bytes: &[u8], packet: &Packet) -> Packet {
    let sliced = SlicedPacket::from_ip(bytes).expect("an inner packet");
    let (source, destination, ttl, tos) = match sliced.net.as_ref().expect("IP") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "inner header checksum");
            let tos = header.dscp.value() << 2 | header.ecn.value();
            (IpAddr::from(header.source), IpAddr::from(header.destination), header.time_to_live, tos)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            (header.source.into(), header.destination.into(), header.hop_limit, header.traffic_class)
        }
        NetSlice::Arp(_) => panic!("no IP"),
    };
    let (ports, kind, payload) = match sliced.transport.expect("TCP or UDP") {
        TransportSlice::Tcp(tcp) => {
            let kind = if tcp.syn() { Kind::Syn } else { Kind::Ack };
            ((tcp.source_port(), tcp.destination_port()), kind, tcp.payload().to_vec())
        }
        TransportSlice::Udp(udp) => {
            ((udp.source_port(), udp.destination_port()), Kind::Udp, udp.payload().to_vec())
        }
        other => panic!("{other:?}"),
    };
    Packet {
        source: SocketAddr::new(source, ports.0),
        destination: SocketAddr::new(destination, ports.1),
        kind,
        tags: packet.tags.clone(),
        ttl,
        tos,
        payload,
    }
}

/// Leads random bytes past the Ethernet header more often than chance would.
fn almost_packets() -> impl Strategy<Value = Vec<u8>> {
    let starts = prop::sample::select(vec![
        vec![],
        vec![0x08, 0x00, 0x45, 0x00, 0x00, 0x40],
        vec![0x08, 0x00, 0x4f, 0x00, 0x00, 0x50],
        vec![0x86, 0xdd, 0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00],
        vec![0x86, 0xdd, 0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3c],
        vec![0x81, 0x00, 0x00, 0x05, 0x08, 0x00, 0x45],
        vec![0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x00, 0x06, 0x86, 0xdd, 0x60],
    ]);
    (starts, prop::collection::vec(any::<u8>(), 0..160), any::<bool>()).prop_map(
        |(start, mut frame, to_vip)| {
            frame.iter_mut().skip(12).zip(&start).for_each(|(byte, value)| *byte = *value);
            let (at, vip) = match start.first() {
                Some(0x86) => (38, VIP6.parse::<Ipv6Addr>().expect("IPv6").octets().to_vec()),
                _ => (30, VIP4.parse::<Ipv4Addr>().expect("IPv4").octets().to_vec()),
            };
            if to_vip {
                frame.iter_mut().skip(at).zip(vip).for_each(|(byte, value)| *byte = value);
            }
            frame
        },
    )
}

proptest! {
    #[test]
    fn every_packet_for_a_vip_arrives_at_its_backend_as_it_was_sent(packet in packet()) {
        for (tables, backend) in tables().iter().zip(BACKENDS) {
            let (verdict, output) = tables.run(&packet.frame());
            prop_assert!(verdict.is_ok(), "{verdict:?}");
            let inner = inner(&output, backend.parse().expect("an address"));
            let expected = Packet { ttl: packet.ttl - 1, ..packet.clone() };
            let read = read(&inner, &packet);
            prop_assert_eq!(format!("{read:?}"), format!("{expected:?}"));
        }
    }

    /// Random bytes neither panic nor are changed when they are passed on.
    #[test]
    fn no_bytes_at_all_can_hurt(frame in almost_packets()) {
        for tables in tables() {
            let (verdict, output) = tables.run(&frame);
            match verdict {
                Ok(_) => prop_assert!(output.len() >= frame.len()),
                Err(reason) if reason.is_drop() => {}
                Err(_) => prop_assert_eq!(&output, &frame),
            }
        }
    }

    #[test]
    fn a_frame_cut_short_is_never_forwarded(packet in packet(), cut in 1usize..200) {
        let frame = packet.frame();
        let [tables, _] = tables();
        let (verdict, _) = tables.run(&frame[..frame.len().saturating_sub(cut)]);
        let cut_off = matches!(verdict, Err(Reason::Truncated | Reason::Malformed | Reason::NotIp));
        prop_assert!(cut_off, "{verdict:?}");
    }
}
