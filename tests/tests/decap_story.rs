//! Decapsulation, packet by packet, on the host and in the kernel. What the balancer sends is the main input; etherparse
//! builds the rest.

use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
use lb_common::abi::DecapOutcome;
use proptest::prelude::*;
use tests::decap::{Tables, in_kernel, on_host};
use tests::host::HostTables;
use tests::kernel::is_root;
use tests::packets::{Kind, Packet};
use tests::world::{CAPACITY, SOURCE4, SOURCE6, World};

const BACKEND4: &str = "10.0.0.1";
const BACKEND6: &str = "2001:db8:b::1";

fn tables() -> Tables {
    let locals = [BACKEND4, BACKEND6].map(|address| address.parse().expect("an address"));
    Tables { locals: locals.into(), sources: Vec::new(), gue_port: 6080 }
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

/// A packet as the balancer sends it to `backend`: the frame, and the inner packet in it.
fn tunnelled(packet: &Packet, backend: &str) -> (Vec<u8>, Vec<u8>) {
    let vip = format!("{}/{}", packet.destination, if packet.kind == Kind::Udp { "udp" } else { "tcp" });
    let (tables, _) = HostTables::filled(CAPACITY, &World::default().vip(&vip, &[backend]).forwarding());
    let (verdict, frame) = tables.run(&packet.frame());
    assert!(verdict.is_ok(), "{verdict:?}");
    let inner = 14 + if backend.contains(':') { 40 } else { 20 };
    let bytes = frame[inner..].to_vec();
    (frame, bytes)
}

fn packets() -> [Packet; 2] {
    [
        Packet::new(Kind::Ack, "203.0.113.9:40000", "198.51.100.1:80"),
        Packet::new(Kind::Udp, "[2001:db8:9::9]:40000", "[2001:db8::1]:53"),
    ]
}

/// Puts VLAN tags behind the addresses.
fn tag(frame: &[u8], ids: &[u8]) -> Vec<u8> {
    let tags: Vec<u8> = ids.iter().flat_map(|id| [0x81, 0x00, 0, *id]).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

#[test]
fn what_the_balancer_sends_comes_out_as_the_packet_that_went_in() {
    for packet in packets() {
        for backend in [BACKEND4, BACKEND6] {
            let (frame, inner) = tunnelled(&packet, backend);
            for tags in [&[][..], &[5], &[5, 6]] {
                let (outcome, output) = run(&tables(), &tag(&frame, tags));
                assert_eq!(outcome, DecapOutcome::Decapsulated, "{packet:?} to {backend}");
                let ether_type = if packet.destination.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
                let expected = tag(&[&frame[..12], &ether_type, &inner].concat(), tags);
                assert_eq!(output, expected);
            }
        }
    }
}

#[test]
fn congestion_marks_go_over_to_the_inner_packet_with_a_right_checksum() {
    for packet in packets() {
        for backend in [BACKEND4, BACKEND6] {
            for (inner, outer) in (0..4u8).flat_map(|inner| (0..4u8).map(move |outer| (inner, outer))) {
                let (mut frame, _) = tunnelled(&Packet { tos: 0xb8 | inner, ..packet.clone() }, backend);
                if backend == BACKEND4 {
                    frame[15] = frame[15] & !3 | outer;
                } else {
                    frame[15] = frame[15] & 0xcf | outer << 4;
                }
                let (outcome, output) = run(&tables(), &frame);
                if (inner, outer) == (0, 3) {
                    assert_eq!(outcome, DecapOutcome::Congestion);
                    continue;
                }
                assert_eq!(outcome, DecapOutcome::Decapsulated);
                // RFC 6040, figure 4.
                let expected = match (inner, outer) {
                    (0, _) => 0,
                    (_, 3) => 3,
                    (2, 1) => 1,
                    _ => inner,
                };
                let tos = if packet.destination.is_ipv4() {
                    let header = Ipv4Header::from_slice(&output[14..]).expect("a header").0;
                    assert_eq!(header.header_checksum, header.calc_header_checksum());
                    output[15]
                } else {
                    Ipv6Header::from_slice(&output[14..]).expect("a header").0.traffic_class
                };
                assert_eq!(tos, 0xb8 | expected, "inner {inner:02b}, outer {outer:02b}");
            }
        }
    }
}

#[test]
fn outer_options_and_extension_headers_are_skipped() {
    let [packet, _] = packets();
    let (frame, inner) = tunnelled(&packet, BACKEND4);
    let mut outer = Ipv4Header::from_slice(&frame[14..]).expect("a header").0;
    outer.options = [1; 12].into();
    outer.total_len += 12;
    let mut with_options = frame[..14].to_vec();
    outer.write_raw(&mut with_options).expect("a vector takes everything");
    with_options.extend(&inner);
    let (outcome, output) = run(&tables(), &with_options);
    assert_eq!((outcome, &output[14..]), (DecapOutcome::Decapsulated, &inner[..]));

    let (frame, inner) = tunnelled(&packet, BACKEND6);
    // The tunnel encapsulation limit as Linux writes it: destination options, limit 4, padding.
    let limit = [4, 0, 4, 1, 4, 1, 1, 0];
    let mut with_limit = [&frame[..54], &limit, &inner].concat();
    with_limit[20] = 60;
    with_limit[19] += 8;
    let (outcome, output) = run(&tables(), &with_limit);
    assert_eq!((outcome, &output[14..]), (DecapOutcome::Decapsulated, &inner[..]));
}

#[test]
fn only_tunnels_for_this_host_are_taken() {
    let [packet, _] = packets();
    let elsewhere = Tables::default();
    for backend in [BACKEND4, BACKEND6] {
        let (frame, _) = tunnelled(&packet, backend);
        assert_eq!(run(&elsewhere, &frame).0, DecapOutcome::NotTunnel);
        assert_eq!(run(&tables(), &packet.frame()).0, DecapOutcome::NotTunnel);
        assert_eq!(run(&tables(), &frame[..20]).0, DecapOutcome::NotTunnel);
    }
    let mut arp = packet.frame();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(run(&tables(), &arp).0, DecapOutcome::NotTunnel);
}

#[test]
fn with_sources_configured_others_are_dropped() {
    let [packet, _] = packets();
    let with = |source: &str| Tables { sources: vec![source.parse().expect("a prefix")], ..tables() };
    let (frame4, _) = tunnelled(&packet, BACKEND4);
    let (frame6, _) = tunnelled(&packet, BACKEND6);
    for (source, four, six) in [
        (SOURCE4, DecapOutcome::Decapsulated, DecapOutcome::ForeignSource),
        ("192.0.2.0/24", DecapOutcome::Decapsulated, DecapOutcome::ForeignSource),
        ("192.0.3.0/24", DecapOutcome::ForeignSource, DecapOutcome::ForeignSource),
        (SOURCE6, DecapOutcome::ForeignSource, DecapOutcome::Decapsulated),
        ("2001:db8::/32", DecapOutcome::ForeignSource, DecapOutcome::Decapsulated),
        ("0.0.0.0/0", DecapOutcome::Decapsulated, DecapOutcome::ForeignSource),
        ("::/0", DecapOutcome::Decapsulated, DecapOutcome::Decapsulated),
    ] {
        assert_eq!(run(&with(source), &frame4).0, four, "{source}");
        assert_eq!(run(&with(source), &frame6).0, six, "{source}");
    }
}

#[test]
fn fragments_of_the_outer_packet_are_the_kernels_business() {
    let [packet, _] = packets();
    for (offset, value) in [(20, 0x20), (21, 0x01)] {
        let (mut frame, _) = tunnelled(&packet, BACKEND4);
        frame[offset] |= value;
        assert_eq!(run(&tables(), &frame).0, DecapOutcome::Fragment);
    }
}

#[test]
fn a_malformed_inner_packet_is_dropped() {
    let [v4, v6] = packets();
    for backend in [BACKEND4, BACKEND6] {
        let start = if backend == BACKEND4 { 34 } else { 54 };
        let (frame, _) = tunnelled(&v4, backend);
        for (offset, value) in [(0, 0x65), (0, 0x44), (2, 0xff), (3, 19)] {
            let mut bad = frame.clone();
            bad[start + offset] = value;
            assert_eq!(run(&tables(), &bad).0, DecapOutcome::Malformed, "byte {offset}");
        }
        assert_eq!(run(&tables(), &frame[..start + 19]).0, DecapOutcome::Malformed);
        let (frame, _) = tunnelled(&v6, backend);
        for (offset, value) in [(0, 0x45), (4, 0xff)] {
            let mut bad = frame.clone();
            bad[start + offset] = value;
            assert_eq!(run(&tables(), &bad).0, DecapOutcome::Malformed, "byte {offset}");
        }
    }
}

proptest! {
    /// etherparse builds the outer header, with whatever it allows.
    #[test]
    fn tunnels_that_etherparse_builds_are_taken_in(payload in prop::collection::vec(any::<u8>(), 0..200), ttl: u8, tos in 0u8..64, options in 0usize..=10) {
        let inner = {
            let mut header = Ipv4Header::new(payload.len() as u16, 9, IpNumber(253), [1, 2, 3, 4], [5, 6, 7, 8]).expect("a header");
            header.header_checksum = header.calc_header_checksum();
            let mut bytes = Vec::new();
            header.write_raw(&mut bytes).expect("a vector takes everything");
            [bytes, payload].concat()
        };
        let mut outer = Ipv4Header::new(inner.len() as u16, ttl, IpNumber::IPV4, [9, 9, 9, 9], [10, 0, 0, 1]).expect("a header");
        outer.dscp = tos.try_into().expect("six bits");
        outer.options = vec![1; options * 4].as_slice().try_into().expect("words");
        outer.total_len += options as u16 * 4;
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        outer.write(&mut frame).expect("a vector takes everything");
        frame.extend(&inner);
        let (outcome, output) = on_host(&tables(), &frame);
        prop_assert_eq!(outcome, DecapOutcome::Decapsulated);
        prop_assert_eq!(&output[14..], &inner[..]);
    }

    #[test]
    fn no_bytes_at_all_can_make_it_panic(mut frame in prop::collection::vec(any::<u8>(), 0..120), kind in 0usize..4) {
        let starts: [&[u8]; 4] = [&[], &[8, 0, 0x45], &[0x86, 0xdd, 0x60], &[0x81, 0, 0, 5, 8, 0, 0x46]];
        for (byte, value) in frame.iter_mut().skip(12).zip(starts[kind]) {
            *byte = *value;
        }
        let everywhere = Tables { sources: Vec::new(), ..tables() };
        let _ = on_host(&everywhere, &frame);
    }
}
