//! The packets that the benchmarks' generator offers: whole by an implementation that is not ours, and read as they were written.

use std::collections::BTreeSet;
use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::abi::{Offer, Span};
use lb_ebpf::offered::{self, Turn};
use proptest::prelude::*;
use tests::bench::generator::socket::Stream;
use tests::bench::generator::{Family, Offered, Size, Traffic, VIP4, VIP6};
use tests::host::HostFrame;

const ALL: [Traffic; 5] = [Traffic::Syn, Traffic::Ack, Traffic::Mixed, Traffic::Udp, Traffic::Quic];

fn written(offer: &Offer, turn: &Turn, flow: u32) -> HostFrame {
    let mut frame = HostFrame::new(&vec![0; turn.len.into()]);
    offered::write(&mut frame, offer, turn, flow).expect("a frame that is long enough");
    frame
}

/// Whether TCP opens a connection, when it is TCP.
fn check(offered: &Offered, frame: &[u8]) -> Option<bool> {
    let packet = SlicedPacket::from_ethernet(frame).expect("a packet");
    let (network_len, sum): (usize, _) = match packet.net.expect("an IP header") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(IpAddr::V4(header.destination.into()), offered.vip);
            let sum = match packet.transport.as_ref().expect("a transport header") {
                TransportSlice::Tcp(tcp) => tcp.calc_checksum_ipv4(header.source, header.destination),
                TransportSlice::Udp(udp) => {
                    udp.to_header().calc_checksum_ipv4_raw(header.source, header.destination, udp.payload())
                }
                other => panic!("{other:?}"),
            };
            (header.total_len.into(), sum)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!(IpAddr::V6(header.destination.into()), offered.vip);
            let sum = match packet.transport.as_ref().expect("a transport header") {
                TransportSlice::Tcp(tcp) => {
                    tcp.to_header().calc_checksum_ipv6_raw(header.source, header.destination, tcp.payload())
                }
                TransportSlice::Udp(udp) => {
                    udp.to_header().calc_checksum_ipv6_raw(header.source, header.destination, udp.payload())
                }
                other => panic!("{other:?}"),
            };
            (usize::from(header.payload_length) + 40, sum)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(network_len + 14, frame.len());
    match packet.transport.expect("a transport header") {
        TransportSlice::Tcp(tcp) => {
            assert_eq!((tcp.destination_port(), tcp.checksum()), (offered.port, sum.expect("a sum")));
            assert!(tcp.syn() != tcp.ack());
            Some(tcp.syn())
        }
        TransportSlice::Udp(udp) => {
            assert_eq!((udp.destination_port(), udp.checksum()), (offered.port, sum.expect("a sum")));
            assert_eq!(usize::from(udp.length()), udp.payload().len() + 8);
            if offered.traffic == Traffic::Quic {
                // RFC 9000, section 17.3.1: no long header, and the fixed bit.
                assert_eq!(udp.payload()[0] & 0xc0, 0x40);
                assert_eq!(udp.payload()[1..14], offered.connection_id);
            }
            None
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn every_packet_is_whole_and_read_as_it_was_written(
        is_v6: bool,
        kind in 0..ALL.len(),
        timed: bool,
        sequence: u32,
        stream in 0..64_u16,
        time_ns: u64,
        len in 96..=1514_u16,
        flow in 0..1_u32 << 24,
    ) {
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let offered = Offered { timed, size: Size::Frame(len), ..Offered::new(family, ALL[kind]) };
        let offer = offered.offer(1).unwrap();
        let turn = Turn { sequence, stream, time_ns, len };
        let frame = written(&offer, &turn, flow);
        check(&offered, frame.bytes());
        let arrival = offered::read(&frame, &offer).unwrap();
        prop_assert_eq!((arrival.sequence, arrival.stream), (sequence, stream));
        prop_assert_eq!(arrival.time_ns, if timed { time_ns } else { 0 });
        prop_assert_eq!(arrival.bytes, len - 14);
    }

    #[test]
    fn no_frame_is_read_beyond_its_end(bytes in proptest::collection::vec(any::<u8>(), 0..120), is_v6: bool, timed: bool) {
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let offer = Offered { timed, ..Offered::new(family, Traffic::Udp) }.offer(1).unwrap();
        let _ = offered::read(&HostFrame::new(&bytes), &offer);
    }
}

#[test]
fn the_shortest_frames_hold_headers_and_stamp() {
    for traffic in ALL {
        for (family, vip) in [(Family::V4, IpAddr::V4(VIP4)), (Family::V6, IpAddr::V6(VIP6))] {
            let offered = Offered::new(family, traffic);
            assert_eq!(offered.vip, vip);
            let offer = offered.offer(1).unwrap();
            let mut stream = Stream::new(&offer, &[], 0);
            let syns: Vec<_> = stream.next(64).unwrap().map(|frame| check(&offered, frame)).collect();
            let expected = match traffic {
                Traffic::Syn => 64,
                Traffic::Mixed => 8,
                _ => 0,
            };
            assert_eq!(syns.iter().filter(|syn| **syn == Some(true)).count(), expected, "{traffic:?}");
            if family == Family::V4 && traffic != Traffic::Quic {
                assert_eq!(offer.longest, 60, "{traffic:?}");
            }
        }
    }
    let short = Offered { size: Size::Frame(59), ..Offered::new(Family::V4, Traffic::Ack) };
    assert!(short.offer(1).unwrap_err().to_string().contains("60 to 1514"));
}

#[test]
fn imix_frames_come_seven_to_four_to_one() {
    let offered = Offered { size: Size::Imix, ..Offered::new(Family::V4, Traffic::Udp) };
    let offer = offered.offer(1).unwrap();
    let mut stream = Stream::new(&offer, &[], 0);
    let lens: Vec<usize> = stream.next(48).unwrap().map(<[u8]>::len).collect();
    let of = |len| lens.iter().filter(|other| **other == len).count();
    assert_eq!((of(60), of(572), of(1496)), (28, 16, 4));
}

#[test]
fn all_flows_come_before_one_comes_again_nearly() {
    let sources = |flows, packets| {
        let turn = |sequence| Turn { sequence, stream: 1, time_ns: 0, len: 60 };
        let all: BTreeSet<u32> =
            (0..packets).map(|sequence| offered::flow_of(flows, turn(sequence).pick())).collect();
        assert!(all.iter().all(|flow| *flow < flows));
        all.len()
    };
    assert_eq!(sources(1, 100), 1);
    assert_eq!(sources(100, 400), 100);
    assert!(sources(10_000_000, 1_000_000) > 990_000);
}

#[test]
fn a_tunnel_for_another_backend_than_the_frame_is_broken() {
    let offered = Offered::new(Family::V4, Traffic::Udp);
    let offer = offered.offer(1).unwrap();
    let turn = Turn { sequence: 5, stream: 0, time_ns: 0, len: 60 };
    let inner = written(&offer, &turn, 9).bytes()[14..].to_vec();
    let tunnel = |mac: u8, address: u8| {
        let mut frame = vec![0x02, 0, 0, 0, 0xbb, mac, 2, 0, 0, 0, 0xaa, 1, 8, 0];
        frame.extend([0x45, 0, 0, 66, 0, 0, 0, 0, 64, 4, 0, 0, 172, 16, 0, 100, 172, 16, 1, address]);
        HostFrame::new(&[frame, inner.clone()].concat())
    };
    let arrival = offered::read(&tunnel(7, 7), &offer).unwrap();
    assert_eq!((arrival.backend, arrival.sequence, arrival.bytes), (7, 5, 46));
    assert_eq!(offered::read(&tunnel(7, 8), &offer), Err(offered::NoArrival::Broken));
    let arp = HostFrame::new(&[[0xff; 12].as_slice(), &[8, 6], &[0; 46]].concat());
    assert_eq!(offered::read(&arp, &offer), Err(offered::NoArrival::Other));
}

#[test]
fn a_span_gives_all_its_flows() {
    let span = Span { first: 40, count: 7 };
    let flows: BTreeSet<u32> =
        (0..1 << 20).step_by(977).map(|low| offered::flow_in(&span, 3 << 20 | low)).collect();
    assert_eq!(flows, (40..47).collect());
    assert_eq!(offered::span_of(3 << 20), 3);
}
