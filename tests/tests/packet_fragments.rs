//! Fragments: all of a datagram reach one backend, in any order within reason, and what no honest sender sends reaches none.
//! Every frame goes through both builds of the packet story.

#[path = "packet_fragments/early.rs"]
mod early;
#[path = "packet_fragments/echo.rs"]
mod echo;
#[path = "packet_fragments/scene.rs"]
mod scene;

use std::time::Duration;

use lb_common::abi::Reason;
use lb_user::state::{DesiredAddress, Fragments, Mode, UnknownPorts};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use scene::{BACKENDS, V4, V6, backend, backend_of_flow, both, datagram, packet, vip, with_second, world};
use tests::control::{ipv4, ipv6};
use tests::cut::{cut, cut_behind};
use tests::kernel::Action;
use tests::packets::Kind;
use tests::story::Story;
use tests::tunnel::outer;
use tests::world::World;

#[test]
fn fragments_in_order_go_where_the_flow_goes() {
    let mut story = Story::new(&world());
    both(|is_v6| {
        for from in 40_000..40_020 {
            let flow = backend_of_flow(&mut story, is_v6, from, 53);
            for piece in cut(&datagram(is_v6, from, 53, 8000), u32::from(from), 1400) {
                assert_eq!(backend(&mut story, &piece), flow, "port {from}");
            }
        }
    });
}

#[test]
fn tcp_in_fragments_goes_where_the_flow_goes() {
    let world = World::default().vip(&vip(false, "80/tcp"), &BACKENDS).vip(&vip(true, "80/tcp"), &BACKENDS);
    let mut story = Story::new(&world);
    both(|is_v6| {
        for from in 40_000..40_005 {
            let flow = backend(&mut story, &packet(Kind::Ack, is_v6, from, 80, 10).frame());
            let pieces = cut(&packet(Kind::Ack, is_v6, from, 80, 3000).frame(), u32::from(from), 1000);
            assert!(pieces.iter().all(|piece| backend(&mut story, piece) == flow));
            let pieces = cut(&packet(Kind::Ack, is_v6, from, 80, 3000).frame(), u32::from(from) + 9000, 1000);
            assert_eq!(story.dropped(&pieces[1]), Reason::FragmentEarly, "TCP sends again");
        }
    });
}

#[test]
fn ipv4_options_and_ipv6_extension_headers_are_skipped() {
    let mut story = Story::new(&world());
    let frame = datagram(false, 40_000, 53, 3000);
    let flow = backend_of_flow(&mut story, false, 40_000, 53);
    let with_options = {
        let source = "203.0.113.9".parse().expect("IPv4");
        [&frame[..14], &ipv4(source, V4.parse().expect("IPv4"), 17, &[1; 8], &frame[34..])].concat()
    };
    assert!(cut(&with_options, 1, 1000).iter().all(|piece| backend(&mut story, piece) == flow));

    let frame = datagram(true, 40_000, 53, 3000);
    let flow = backend_of_flow(&mut story, true, 40_000, 53);
    let options = |next: u8| [&[next, 1], &[1, 12][..], &[0; 12]].concat();
    let extended = |headers: &[u8], next| {
        let source = "2001:db8:9::9".parse().expect("IPv6");
        let payload = [headers, &frame[54..]].concat();
        [&frame[..14], &ipv6(source, V6.parse().expect("IPv6"), next, 61, &payload)].concat()
    };
    let before = cut_behind(&extended(&options(17), 0), 2, 1000, 16);
    assert!(before.iter().all(|piece| backend(&mut story, piece) == flow), "hop-by-hop before");
    let behind = cut(&extended(&options(17), 60), 3, 1000);
    assert!(behind.iter().all(|piece| backend(&mut story, piece) == flow), "destination options behind");
    let short = cut(&extended(&options(17), 60), 4, 16);
    assert_eq!(story.dropped(&short[0]), Reason::FragmentTiny, "RFC 7112");
}

#[test]
fn overlaps_end_a_datagram_and_duplicates_do_not() {
    let mut story = Story::new(&world());
    both(|is_v6| {
        let frame = datagram(is_v6, 40_000, 53, 4000);
        let pieces = cut(&frame, 1, 1000);
        let other = cut(&frame, 1, 1400);
        story.forwarded(&pieces[0]);
        assert_eq!(story.dropped(&pieces[0]), Reason::FragmentOverlap, "a duplicate of the first");
        story.forwarded(&pieces[2]);
        assert_eq!(story.dropped(&pieces[2]), Reason::FragmentOverlap, "a duplicate of a later one");
        story.forwarded(&pieces[1]);
        assert_eq!(story.dropped(&other[2]), Reason::FragmentOverlap, "2800 to 4200 over 2000 to 3000");
        assert_eq!(story.dropped(&pieces[3]), Reason::FragmentOverlap, "and so does all that follows");
        assert_eq!(story.dropped(&pieces[0]), Reason::FragmentOverlap);
        assert!(cut(&frame, 2, 1000).iter().all(|piece| story.run(piece).0 == Action::Transmit));
    });
}

#[test]
fn an_identification_may_be_used_again_when_a_datagram_is_complete_or_forgotten() {
    let mut story = Story::new(&world());
    both(|is_v6| {
        let pieces = cut(&datagram(is_v6, 40_000, 53, 4000), 1, 1000);
        for _ in 0..3 {
            assert!(pieces.iter().all(|piece| story.run(piece).0 == Action::Transmit));
            assert_eq!(story.dropped(&pieces[3]), Reason::FragmentOverlap, "a late duplicate");
        }
        let pieces = cut(&datagram(is_v6, 40_000, 53, 4000), 2, 1000);
        story.forwarded(&pieces[0]);
        assert_eq!(story.dropped(&pieces[0]), Reason::FragmentOverlap);
    });
    story.set_clock(Duration::from_secs(16).as_nanos() as u64);
    both(|is_v6| {
        let pieces = cut(&datagram(is_v6, 40_000, 53, 4000), 2, 1000);
        story.forwarded(&pieces[0]);
        story.forwarded(&pieces[1]);
    });
    story.set_clock(Duration::from_secs(40).as_nanos() as u64);
    let pieces = cut(&packet(Kind::Ack, false, 40_000, 53, 4000).frame(), 2, 1000);
    assert_eq!(story.run(&pieces[2]).0, Action::Stopped(Reason::Fragment), "no TCP vip here");
}

#[test]
fn a_later_fragment_after_the_timeout_is_an_early_one() {
    let world = World::default().vip(&vip(false, "80/tcp"), &BACKENDS);
    let mut story = Story::new(&world);
    let pieces = cut(&packet(Kind::Ack, false, 40_000, 80, 4000).frame(), 2, 1000);
    story.forwarded(&pieces[0]);
    story.set_clock(Duration::from_secs(14).as_nanos() as u64);
    story.forwarded(&pieces[1]);
    story.set_clock(Duration::from_secs(30).as_nanos() as u64);
    assert_eq!(story.dropped(&pieces[2]), Reason::FragmentEarly);
}

#[test]
fn fragments_that_no_sender_sends_are_dropped() {
    let world = world().vip(&vip(false, "80/tcp"), &BACKENDS).vip(&vip(true, "80/tcp"), &BACKENDS);
    let mut story = Story::new(&world);
    both(|is_v6| {
        let tcp = packet(Kind::Ack, is_v6, 40_000, 80, 100).frame();
        let tiny = cut(&tcp, 1, 8);
        assert_eq!(story.dropped(&tiny[0]), Reason::FragmentTiny, "ports, but no flags (RFC 1858)");
        assert_eq!(story.dropped(&tiny[1]), Reason::FragmentTiny, "would overwrite flags (RFC 3128)");
        story.forwarded(&cut(&tcp, 2, 16)[0]);

        let pieces = cut(&datagram(is_v6, 40_000, 53, 2000), 3, 1000);
        let header = if is_v6 { 54 } else { 34 };
        let mut odd = pieces[0].clone();
        odd.pop();
        let at = if is_v6 { 18 } else { 16 };
        odd[at + 1] -= 1;
        assert_eq!(story.dropped(&odd), Reason::FragmentTiny, "not a multiple of 8");
        let mut empty = pieces[1].clone();
        empty.truncate(if is_v6 { header + 8 } else { header });
        empty[at..at + 2].copy_from_slice(&(if is_v6 { 8u16 } else { 20 }).to_be_bytes());
        assert_eq!(story.dropped(&empty), Reason::FragmentTiny, "carries nothing");
        let mut beyond = pieces[1].clone();
        let at = if is_v6 { 54 + 2 } else { 20 };
        let field: u16 = if is_v6 { 0x1fff << 3 | 1 } else { 0x3fff };
        beyond[at..at + 2].copy_from_slice(&field.to_be_bytes());
        assert_eq!(story.dropped(&beyond), Reason::FragmentTiny, "ends behind 65535 bytes");
    });
}

#[test]
fn datagrams_beyond_the_rate_and_pieces_too_scattered_are_dropped() {
    let mut world = world();
    world.desired.answers.fragments_per_second = 4;
    let mut story = Story::new(&world);
    let first = |id| cut(&datagram(false, 40_000, 53, 4000), id, 1000).swap_remove(0);
    for id in 0..5 {
        story.forwarded(&first(id));
    }
    assert_eq!(story.dropped(&first(5)), Reason::FragmentFlood);
    story.set_clock(Duration::from_millis(500).as_nanos() as u64);
    story.forwarded(&first(5));
    let pieces = cut(&datagram(true, 40_000, 53, 1000), 1, 48);
    story.forwarded(&pieces[0]);
    for piece in 1..8 {
        story.forwarded(&pieces[2 * piece]);
    }
    assert_eq!(story.dropped(&pieces[16]), Reason::FragmentFlood);
    story.forwarded(&pieces[1]);
    story.forwarded(&pieces[16]);
}

/// Whether no two are the same.
fn differ(mut ids: Vec<u16>) -> bool {
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    count > 5 && ids.len() == count
}

#[test]
fn outer_packets_that_may_be_fragmented_again_share_no_identification() {
    let pieces = cut(&datagram(false, 40_000, 53, 8000), 0xfff0, 1400);
    let one = World::default().vip(&vip(false, "53/udp"), &["10.0.0.1"]);
    for world in [one.clone(), one.clone().mode(Mode::Gue), one.clone().vlan("10.0.0.1", 100)] {
        let mut story = Story::new(&world);
        assert!(differ(pieces.iter().map(|piece| outer(&story.forwarded(piece)).identification).collect()));
    }
    let mut world = one;
    let hop = world.hops.get_mut(&"10.0.0.1".parse().expect("an address")).expect("the backend");
    hop.as_mut().expect("a next hop").mtu = 1000;
    let mut story = Story::new(&world);
    let to_kernel = |piece: &Vec<u8>| {
        let (action, output) = story.run(piece);
        let (header, _) = etherparse::Ipv4Header::from_slice(&output[14..]).expect("an outer header");
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(action == Action::Stopped(Reason::Oversize), piece.len() > 1000);
        header.identification
    };
    assert!(differ(pieces.iter().map(to_kernel).collect()));
}

#[test]
fn one_identification_of_two_protocols_is_two_datagrams() {
    let mut story = Story::new(&world().vip(&vip(false, "80/tcp"), &["10.0.0.9"]));
    let udp = cut(&datagram(false, 40_000, 53, 3000), 7, 1000);
    let tcp = cut(&packet(Kind::Ack, false, 40_000, 80, 3000).frame(), 7, 1000);
    let flow = backend_of_flow(&mut story, false, 40_000, 53);
    for (udp, tcp) in udp.iter().zip(&tcp) {
        assert_eq!(backend(&mut story, udp), flow);
        assert_eq!(backend(&mut story, tcp), [10, 0, 0, 9]);
    }
}

#[test]
fn atomic_fragments_are_whole_packets() {
    let mut world = world();
    world.desired.answers.fragments_per_second = 0;
    let mut story = Story::new(&world);
    let flow = backend_of_flow(&mut story, true, 40_000, 53);
    let atomic = cut(&datagram(true, 40_000, 53, 500), 1, 1000);
    assert_eq!(atomic.len(), 1);
    for _ in 0..3 {
        assert_eq!(backend(&mut story, &atomic[0]), flow);
    }
}

#[test]
fn a_vip_may_place_fragments_by_address_alone_or_refuse_them() {
    let of = |fragments| {
        let mut world = world()
            .with(&vip(false, "53/udp"), |vip| vip.options.fragments = fragments)
            .with(&vip(true, "53/udp"), |vip| vip.options.fragments = fragments);
        world.desired.answers.fragments_per_second = 0;
        Story::new(&world)
    };
    let mut hash = of(Fragments::Hash);
    let mut refuses = of(Fragments::Drop);
    both(|is_v6| {
        let pieces: Vec<_> = (40_000..40_004)
            .flat_map(|from| cut(&datagram(is_v6, from, 53, 4000), u32::from(from), 1000).into_iter().rev())
            .collect();
        let one = backend(&mut hash, &pieces[0]);
        assert!(pieces.iter().all(|piece| backend(&mut hash, piece) == one));
        let pieces = cut(&datagram(is_v6, 40_000, 53, 4000), 1, 1000);
        assert_eq!(refuses.dropped(&pieces[0]), Reason::FragmentRefused);
    });
}

#[test]
fn what_is_for_no_vip_is_the_hosts_as_a_whole() {
    let mut story = Story::new(&world());
    both(|is_v6| {
        for piece in cut(&datagram(is_v6, 40_000, 99, 3000), 1, 1000) {
            assert_eq!(story.passed(&piece), Reason::Fragment);
        }
    });
    let closed = |unknown_ports| DesiredAddress { unknown_ports, ..DesiredAddress::default() };
    for unknown in [UnknownPorts::Drop, UnknownPorts::Reject] {
        let mut story = Story::new(&world().address(V4, closed(unknown)));
        let pieces = cut(&datagram(false, 40_000, 99, 3000), 1, 1000);
        assert_eq!(story.dropped(&pieces[0]), Reason::ClosedPort);
    }
}

/// Random lengths, sizes and orders: what is forwarded of a datagram goes to one backend.
#[test]
fn all_of_a_datagram_that_is_forwarded_goes_to_one_backend() {
    let mut world = with_second(world());
    world.desired.answers.fragments_per_second = 1_000_000;
    let story = std::cell::RefCell::new(Story::new(&world));
    let next_id = std::cell::Cell::new(1);
    let order = (16usize..6000, 2usize..180, any::<bool>(), 40_000u16..40_010, 53u16..56).prop_flat_map(
        |(len, units, is_v6, from, to)| {
            let size = (units * 8).max(len.div_ceil(40).next_multiple_of(8));
            let count = (len + 8).div_ceil(size);
            let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
            (Just((len, size, is_v6, from, to)), prop_oneof![order, Just((0..count).collect())])
        },
    );
    let test = |((len, size, is_v6, from, to), order): ((usize, usize, bool, u16, u16), Vec<usize>)| {
        let story = &mut *story.borrow_mut();
        let id = next_id.replace(next_id.get() + 1);
        let pieces = cut(&datagram(is_v6, from, to, len), id, size);
        let mut backends: Vec<Vec<u8>> = Vec::new();
        for number in &order {
            let (action, output) = story.run(&pieces[*number]);
            if action == Action::Transmit {
                backends.push(outer(&output).destination);
            }
        }
        backends.dedup();
        prop_assert!(backends.len() <= 1, "{backends:?}");
        if order.is_sorted() && to < 55 && order.len() > 1 {
            prop_assert_eq!(&backends, &[backend_of_flow(story, is_v6, from, to)]);
        }
        Ok(())
    };
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config).run(&order, test).unwrap();
}
