//! Later fragments that come before the first one.

use lb_common::abi::Reason;
use lb_user::state::Affinity;
use tests::cut::cut;
use tests::story::Story;

use super::scene::{backend, backend_of_flow, both, datagram, vip, with_second, world};

/// Last first, as some stacks send.
fn reversed(is_v6: bool, from: u16, to: u16, id: u32) -> Vec<Vec<u8>> {
    let mut pieces = cut(&datagram(is_v6, from, to, 8000), id, 1400);
    pieces.reverse();
    pieces
}

#[test]
fn reversed_fragments_for_the_only_vip_meet_at_one_backend_and_from_the_second_datagram_on_at_the_flows() {
    let mut story = Story::new(&world());
    both(|is_v6| {
        let flow = backend_of_flow(&mut story, is_v6, 40_001, 53);
        let pieces = reversed(is_v6, 40_001, 53, 1);
        let first = backend(&mut story, &pieces[0]);
        assert!(pieces[1..].iter().all(|piece| backend(&mut story, piece) == first));
        let pieces = reversed(is_v6, 40_001, 53, 2);
        assert!(pieces.iter().all(|piece| backend(&mut story, piece) == flow));
    });
}

#[test]
fn reversed_fragments_are_exact_at_once_where_the_source_port_does_not_count() {
    for affinity in [Affinity::Source, Affinity::SourceAndPort] {
        let world = world()
            .with(&vip(false, "53/udp"), |vip| vip.affinity = affinity)
            .with(&vip(true, "53/udp"), |vip| vip.affinity = affinity);
        let mut story = Story::new(&world);
        both(|is_v6| {
            let flow = backend_of_flow(&mut story, is_v6, 40_001, 53);
            let pieces = reversed(is_v6, 40_001, 53, 1);
            assert!(pieces.iter().all(|piece| backend(&mut story, piece) == flow));
        });
    }
}

#[test]
fn reversed_fragments_for_one_of_two_vips_are_served_from_the_second_datagram_on() {
    let mut story = Story::new(&with_second(world()));
    both(|is_v6| {
        let pieces = reversed(is_v6, 40_001, 54, 1);
        let (last, rest) = pieces.split_last().expect("pieces");
        assert!(rest.iter().all(|piece| story.dropped(piece) == Reason::FragmentEarly));
        assert_eq!(backend(&mut story, last), [10, 0, 0, 9]);
        for piece in reversed(is_v6, 40_001, 54, 2) {
            assert_eq!(backend(&mut story, &piece), [10, 0, 0, 9]);
        }
    });
}

#[test]
fn a_wrong_guess_of_the_vip_costs_one_datagram() {
    let mut story = Story::new(&with_second(world()));
    both(|is_v6| {
        for (id, to) in [(1, 54), (2, 54)] {
            reversed(is_v6, 40_001, to, id).iter().for_each(|piece| {
                story.run(piece);
            });
        }
        let pieces = reversed(is_v6, 40_001, 53, 3);
        let (first, rest) = pieces.split_last().expect("pieces");
        assert!(rest.iter().all(|piece| backend(&mut story, piece) == [10, 0, 0, 9]));
        assert_eq!(story.dropped(first), Reason::FragmentEarly);
        assert_eq!(story.dropped(&rest[0]), Reason::FragmentOverlap, "nothing of it is forwarded any more");
        let flow = backend_of_flow(&mut story, is_v6, 40_001, 53);
        for piece in reversed(is_v6, 40_001, 53, 4) {
            assert_eq!(backend(&mut story, &piece), flow);
        }
    });
}

#[test]
fn early_fragments_are_taken_for_the_all_ports_vip() {
    let world = world().vip(&vip(false, "0/udp"), &["10.0.0.9"]).vip(&vip(true, "0/udp"), &["10.0.0.9"]);
    let mut story = Story::new(&world);
    both(|is_v6| {
        for piece in reversed(is_v6, 40_001, 5000, 1) {
            assert_eq!(backend(&mut story, &piece), [10, 0, 0, 9]);
        }
    });
}
