use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::state::{Affinity, VipOptions};

const NOW: u64 = 1_000_000_000_000;

/// A vip with the ring that follows from its backends: 10.0.0.1 and so on, by weight.
fn vip(weights: &[u32]) -> ForwardVip {
    let dest = |(number, weight): (usize, &u32)| {
        let address = IpAddr::from([10, 0, 0, number as u8 + 1]);
        let next_hop = Err(Unresolved::Pending);
        let dest = ForwardDest { address, weight: *weight, mode: Mode::Gue, server_id: None, next_hop };
        (format!("web-{number}"), dest)
    };
    let dests: BTreeMap<String, ForwardDest> = weights.iter().enumerate().map(dest).collect();
    let members: Vec<Member> =
        dests.values().map(|dest| Member { identity: identity(dest.address), weight: dest.weight }).collect();
    ForwardVip {
        ring_size: 251,
        affinity: Affinity::default(),
        options: VipOptions::default(),
        routes: Vec::new(),
        ring: maglev::build(251, &members).into(),
        dests,
        past: None,
    }
}

/// The backend of each slot, and the one of its older flows.
fn slots(history: &History) -> Vec<(Option<IpAddr>, Option<IpAddr>)> {
    let address = |number: Option<u16>| number.map(|number| history.dests[usize::from(number)].address);
    history.ring.slots().iter().map(|slot| (address(slot.owner), address(slot.previous))).collect()
}

#[test]
fn a_steady_ring_follows_from_its_members() {
    let vip = vip(&[100, 50, 0]);
    let image = RingImage::of(&vip, NOW);
    let history = image.history(NOW * 2).unwrap();
    assert!(history.ring.is_steady());
    let owners: Vec<_> = slots(&history).into_iter().map(|(owner, _)| owner).collect();
    let expected: Vec<_> = (0..251).map(|slot| vip.owner(slot).map(|(_, dest)| dest.address)).collect();
    assert_eq!(owners, expected);
    assert_eq!(history.dests[0].mode, Mode::Gue);
}

#[test]
fn a_ring_in_transition_comes_out_as_it_went_in_by_the_other_nodes_clock() {
    let (mut vip, before) = (vip(&[0, 100]), vip(&[100, 100]));
    let mut history = RingImage::of(&before, NOW).history(NOW).unwrap();
    let owners = vip.ring.iter().map(|owner| Some(*owner));
    history.ring.give(owners, |_| true, NOW - 7_000);
    history.learning_until_ns = NOW + 5_000;
    assert!(history.ring.in_transition() > 100);
    vip.past = Some(Arc::new(history.clone()));
    let image = RingImage::of(&vip, NOW);
    let there = image.history(50_000).unwrap();
    assert_eq!(slots(&there), slots(&history));
    assert_eq!((there.ring.since(), there.learning_until_ns), (Some(43_000), 55_000));
    assert!(there.ring.past().is_superset(&history.ring.past()), "who may have records is not sent");
}

#[test]
fn what_is_no_ring_is_refused() {
    let image = RingImage::of(&vip(&[1, 2]), NOW);
    let wrong = |change: &dyn Fn(&mut RingImage)| {
        let mut image = image.clone();
        change(&mut image);
        image.history(NOW)
    };
    assert_eq!(wrong(&|image| image.size = 250), Err(ImageError::Size(250)));
    assert_eq!(wrong(&|image| image.members[0].weight = 9), Err(ImageError::Checksum));
    let run = |slots, owner| Run { slots, owner: Some(owner), previous: None, is_looked_up: false };
    let past = |runs: &[Run]| {
        let past = PastImage { dests: image.members.clone(), age_ns: 0, learning_ns: 0, runs: runs.to_vec() };
        wrong(&|image| image.past = Some(past.clone()))
    };
    assert_eq!(past(&[run(250, 0)]), Err(ImageError::Slots { size: 251, slots: 250 }));
    assert_eq!(
        past(&[run(u32::MAX, 0), run(u32::MAX, 1)]).unwrap_err(),
        ImageError::Slots { size: 251, slots: 2 * u64::from(u32::MAX) }
    );
    assert_eq!(past(&[run(250, 0), run(1, 2)]), Err(ImageError::Dest(2)));
    assert!(past(&[run(250, 0), run(1, 1)]).is_ok());
}
