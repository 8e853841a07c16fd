//! Decapsulation of GUE, packet by packet, on the host and in the kernel. What the balancer sends is the main input.

use lb_common::abi::DecapOutcome;
use lb_user::state::{GueVariant, Mode};
use proptest::prelude::*;
use tests::decap::{Tables, in_kernel, on_host};
use tests::host::HostTables;
use tests::kernel::is_root;
use tests::packets::{Kind, Packet};
use tests::tunnel::inner;
use tests::world::{CAPACITY, SOURCE4, SOURCE6, World};

const BACKENDS: [&str; 2] = ["10.0.0.1", "2001:db8:b::1"];
const VARIANTS: [GueVariant; 2] = [GueVariant::Direct, GueVariant::Header];
const PORT: u16 = 6080;

fn tables() -> Tables {
    let locals = BACKENDS.map(|address| address.parse().expect("an address"));
    Tables { locals: locals.into(), sources: Vec::new(), gue_port: PORT }
}

/// Runs a frame on the host and, when allowed, in the kernel, and demands the same.
fn run(tables: &Tables, frame: &[u8]) -> (DecapOutcome, Vec<u8>) {
    let (outcome, output) = on_host(tables, frame);
    if is_root() {
        let (in_kernel, bytes) = in_kernel(tables, frame).expect("a test run");
        assert_eq!(in_kernel, outcome);
        if !outcome.is_drop() {
            assert_eq!(bytes, output, "the kernel's bytes differ");
        }
    }
    if outcome != DecapOutcome::Decapsulated && !outcome.is_drop() {
        assert_eq!(output, frame, "a packet that is passed on must stay untouched");
    }
    (outcome, output)
}

/// A packet as the balancer sends it to `backend`.
fn tunnelled(packet: &Packet, backend: &str, variant: GueVariant) -> Vec<u8> {
    let vip = format!("{}/{}", packet.destination, if packet.kind == Kind::Udp { "udp" } else { "tcp" });
    let mut world = World::default().vip(&vip, &[backend]).mode(Mode::Gue);
    world.desired.tunnel.gue_variant = variant;
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let (verdict, frame) = tables.run(&packet.frame());
    assert!(verdict.is_ok(), "{verdict:?}");
    frame
}

/// Where UDP begins in a frame for `backend`.
fn udp_at(backend: &str) -> usize {
    14 + if backend.contains(':') { 40 } else { 20 }
}

fn packets() -> [Packet; 2] {
    [
        Packet::new(Kind::Ack, "203.0.113.9:40000", "198.51.100.1:80"),
        Packet::new(Kind::Udp, "[2001:db8:9::9]:40000", "[2001:db8::1]:53"),
    ]
}

#[test]
fn the_packet_that_the_balancer_took_comes_out_one_hop_older() {
    for packet in packets() {
        for (backend, variant) in
            BACKENDS.into_iter().flat_map(|backend| VARIANTS.map(|variant| (backend, variant)))
        {
            let frame = tunnelled(&packet, backend, variant);
            for ids in [&[][..], &[5], &[5, 6]] {
                let tags: Vec<u8> = ids.iter().flat_map(|id| [0x81, 0x00, 0, *id]).collect();
                let tagged = [&frame[..12], &tags, &frame[12..]].concat();
                let (outcome, output) = run(&tables(), &tagged);
                assert_eq!(outcome, DecapOutcome::Decapsulated, "{packet:?} to {backend}, {variant:?}");
                let ether_type: [u8; 2] =
                    if packet.destination.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
                let expected = [&frame[..12], &tags, &ether_type, &inner(&packet.frame())].concat();
                assert_eq!(output, expected);
            }
        }
    }
}

#[test]
fn the_congestion_mark_of_the_outer_header_goes_over() {
    for packet in packets() {
        let marked = |tos| {
            let mut frame = tunnelled(&Packet { tos, ..packet.clone() }, BACKENDS[0], GueVariant::Header);
            frame[15] |= 3;
            run(&tables(), &frame)
        };
        assert_eq!(marked(0).0, DecapOutcome::Congestion);
        let (outcome, output) = marked(2);
        assert_eq!(outcome, DecapOutcome::Decapsulated);
        let sliced = etherparse::SlicedPacket::from_ethernet(&output).expect("a packet");
        match sliced.net.expect("IP") {
            etherparse::NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.ecn.value(), 3);
                assert_eq!(header.header_checksum, header.calc_header_checksum());
            }
            etherparse::NetSlice::Ipv6(ip) => assert_eq!(ip.header().traffic_class() & 3, 3),
            etherparse::NetSlice::Arp(_) => panic!("no IP"),
        }
    }
}

#[test]
fn other_ports_other_hosts_and_a_port_of_zero_are_left_alone() {
    let [packet, _] = packets();
    for backend in BACKENDS {
        let frame = tunnelled(&packet, backend, GueVariant::Direct);
        for gue_port in [0, PORT + 1] {
            assert_eq!(run(&Tables { gue_port, ..tables() }, &frame).0, DecapOutcome::NotTunnel);
        }
        let elsewhere = Tables { gue_port: PORT, ..Tables::default() };
        assert_eq!(run(&elsewhere, &frame).0, DecapOutcome::NotTunnel);
        assert_eq!(run(&tables(), &frame[..udp_at(backend) + 7]).0, DecapOutcome::NotTunnel);
    }
}

#[test]
fn sources_that_are_not_configured_are_dropped() {
    let [packet, _] = packets();
    for (backend, source) in BACKENDS.into_iter().zip([SOURCE4, SOURCE6]) {
        let frame = tunnelled(&packet, backend, GueVariant::Header);
        let with = |source: &str| Tables { sources: vec![source.parse().expect("a prefix")], ..tables() };
        assert_eq!(run(&with(source), &frame).0, DecapOutcome::Decapsulated);
        assert_eq!(run(&with("192.0.2.99"), &frame).0, DecapOutcome::ForeignSource);
    }
}

#[test]
fn what_is_not_an_ip_packet_in_gue_is_the_kernels_business() {
    let [packet, _] = packets();
    for backend in BACKENDS {
        let gue = udp_at(backend) + 8;
        let frame = tunnelled(&packet, backend, GueVariant::Header);
        // A control message, an optional field, variants 2 and 3, variant 1 around neither 4 nor 6, another protocol, flags.
        for (byte, value) in
            [(0, 0x20), (0, 0x01), (0, 0x80), (0, 0xc0), (0, 0x50), (0, 0x70), (1, 6), (2, 0x80), (3, 0x01)]
        {
            let mut other = frame.clone();
            other[gue + byte] = value;
            assert_eq!(run(&tables(), &other).0, DecapOutcome::Unsupported, "byte {byte}: {value:#04x}");
        }
        assert_eq!(run(&tables(), &frame[..gue + 3]).0, DecapOutcome::Unsupported, "an empty datagram");
    }
}

#[test]
fn a_malformed_inner_packet_is_dropped() {
    let [packet, _] = packets();
    for (backend, variant) in
        BACKENDS.into_iter().flat_map(|backend| VARIANTS.map(|variant| (backend, variant)))
    {
        let frame = tunnelled(&packet, backend, variant);
        let start = udp_at(backend) + if variant == GueVariant::Header { 12 } else { 8 };
        for (byte, value) in [(0, 0x44), (2, 0xff), (3, 19)] {
            let mut bad = frame.clone();
            bad[start + byte] = value;
            assert_eq!(run(&tables(), &bad).0, DecapOutcome::Malformed, "byte {byte}");
        }
        assert_eq!(run(&tables(), &frame[..start + 19]).0, DecapOutcome::Malformed);
    }
}

#[test]
fn fragments_of_the_outer_packet_are_the_kernels_business() {
    let [packet, _] = packets();
    let mut first = tunnelled(&packet, BACKENDS[0], GueVariant::Direct);
    first[20] |= 0x20;
    assert_eq!(run(&tables(), &first).0, DecapOutcome::Fragment);
    // What follows has no ports: it may be anybody's.
    let mut later = tunnelled(&packet, BACKENDS[0], GueVariant::Direct);
    later[21] = 0x01;
    assert_eq!(run(&tables(), &later).0, DecapOutcome::NotTunnel);
}

proptest! {
    #[test]
    fn no_datagram_at_all_can_make_it_panic(mut frame in prop::collection::vec(any::<u8>(), 42..120), known: bool) {
        let start = [8, 0, 0x45, 0, 0, 100, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 10, 0, 0, 1, 9, 9];
        frame[12..36].copy_from_slice(&start);
        if known {
            frame[36..38].copy_from_slice(&PORT.to_be_bytes());
        }
        let (outcome, output) = on_host(&tables(), &frame);
        if outcome != DecapOutcome::Decapsulated && !outcome.is_drop() {
            prop_assert_eq!(output, frame);
        }
    }
}
