//! Which packets on a real interface are the generator's: those that it makes, in tunnels and without, and no other ones.

use std::net::IpAddr;

use lb_common::abi::Offer;
use lb_ebpf::offered::{self, Turn};
use lb_ebpf::recognise::recognise;
use proptest::prelude::*;
use tests::bench::generator::{Family, Offered, Size, Traffic};
use tests::host::HostFrame;

const ALL: [Traffic; 5] = [Traffic::Syn, Traffic::Ack, Traffic::Mixed, Traffic::Udp, Traffic::Quic];
const FLOWS: u32 = 1 << 16;

/// What a user offers, in frames of 128 bytes.
fn offered(is_v6: bool, kind: usize) -> Offered {
    let (family, vip, sources): (_, IpAddr, IpAddr) = if is_v6 {
        (Family::V6, [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), [0x2001, 2, 0, 0, 0, 0, 0, 0].into())
    } else {
        (Family::V4, [192, 0, 2, 1].into(), [198, 18, 0, 0].into())
    };
    let size = Size::Frame(128);
    Offered { vip, sources, port: 443, size, flows: FLOWS, ..Offered::new(family, ALL[kind]) }
}

fn packet(offer: &Offer, sequence: u32, flow: u32) -> Vec<u8> {
    let turn = Turn { sequence, stream: 3, time_ns: 0, len: 128 };
    let mut frame = HostFrame::new(&[0; 128]);
    offered::write(&mut frame, offer, &turn, flow).expect("a frame that is long enough");
    frame.bytes().to_vec()
}

/// The IP packet of a frame in a tunnel to a backend that ends with 7.
fn tunnelled(frame: &[u8], is_v6: bool, outer_v6: bool, gue: Option<&[u8]>) -> Vec<u8> {
    let inner = &frame[14..];
    let mut head = Vec::new();
    if let Some(gue) = gue {
        head.extend([0xc0, 0, 6080_u16.to_be_bytes()[0], 6080_u16.to_be_bytes()[1]]);
        head.extend(((8 + gue.len() + inner.len()) as u16).to_be_bytes());
        head.extend([0, 0]);
        head.extend(gue);
    }
    let protocol = match gue {
        Some(_) => 17,
        None if is_v6 => 41,
        None => 4,
    };
    let len = (head.len() + inner.len()) as u16;
    let outer = if outer_v6 {
        let [a, b] = len.to_be_bytes();
        let mut outer = vec![0x60, 0, 0, 0, a, b, protocol, 64];
        outer.extend([0xfd; 16]);
        outer.extend([&[0xfd; 15][..], &[7]].concat());
        outer
    } else {
        let [a, b] = (len + 20).to_be_bytes();
        vec![0x45, 0, a, b, 0, 0, 0x40, 0, 64, protocol, 0, 0, 172, 16, 0, 100, 172, 16, 1, 7]
    };
    let ether_type: [u8; 2] = if outer_v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &ether_type, &outer, &head, inner].concat()
}

proptest! {
    #[test]
    fn packets_are_recognised_in_every_tunnel(
        is_v6: bool,
        kind in 0..ALL.len(),
        sequence: u32,
        flow in 0..FLOWS,
        outer_v6: bool,
    ) {
        let offer = offered(is_v6, kind).offer(1).unwrap();
        let frame = packet(&offer, sequence, flow);
        let plain = recognise(&HostFrame::new(&frame), &offer).expect("one without a tunnel");
        prop_assert_eq!((plain.sequence, plain.stream, plain.bytes, plain.backend), (sequence, 3, 114, frame[5]));
        // GUE of both variants (draft-ietf-intarea-gue, section 3).
        for gue in [None, Some(&[][..]), Some(&[0, if is_v6 { 41 } else { 4 }, 0, 0][..])] {
            let frame = HostFrame::new(&tunnelled(&frame, is_v6, outer_v6, gue));
            let arrival = recognise(&frame, &offer).expect("one in a tunnel");
            prop_assert_eq!((arrival.sequence, arrival.bytes, arrival.backend), (sequence, 114, 7));
        }
    }

    /// Of addresses, protocol and ports every byte counts.
    #[test]
    fn a_packet_that_differs_in_an_address_or_port_is_anothers(
        is_v6: bool,
        kind in 0..ALL.len(),
        sequence: u32,
        flow in 0..FLOWS,
        bit in 0..8_u32,
        choice: prop::sample::Index,
    ) {
        let offer = offered(is_v6, kind).offer(1).unwrap();
        let mut frame = packet(&offer, sequence, flow);
        let mut said: Vec<usize> =
            if is_v6 { [12, 13, 20].into_iter().chain(22..58).collect() } else { [12, 13, 14, 23].into_iter().chain(26..38).collect() };
        if kind < 3 {
            let tcp = if is_v6 { 54 } else { 34 };
            // Sequence number, acknowledgement, and where data begins.
            said.extend(tcp + 4..tcp + 13);
        }
        let at = *choice.get(&said);
        frame[at] ^= 1 << bit;
        prop_assert_eq!(recognise(&HostFrame::new(&frame), &offer), None, "byte {}", at);
    }

    #[test]
    fn no_frame_is_read_beyond_its_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..140),
        is_v6: bool,
        kind in 0..ALL.len(),
    ) {
        let offer = offered(is_v6, kind).offer(1).unwrap();
        prop_assert_eq!(recognise(&HostFrame::new(&bytes), &offer), None);
    }

    #[test]
    fn of_a_frame_that_was_cut_nothing_is_read(is_v6: bool, kind in 0..ALL.len(), len in 0..60_usize) {
        let offer = offered(is_v6, kind).offer(1).unwrap();
        let frame = packet(&offer, 5, 9);
        let whole = recognise(&HostFrame::new(&frame), &offer);
        let cut = recognise(&HostFrame::new(&frame[..len]), &offer);
        prop_assert!(cut.is_none() || cut == whole);
    }
}

#[test]
fn flows_that_are_not_offered_are_anothers() {
    for is_v6 in [false, true] {
        let offer = offered(is_v6, 3).offer(1).unwrap();
        let fewer = Offer { flows: 100, ..offer };
        let of = |flow| recognise(&HostFrame::new(&packet(&offer, 1, flow)), &fewer);
        assert!(of(99).is_some() && of(100).is_none());
    }
}
