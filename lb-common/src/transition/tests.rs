use super::*;

const TIMING: Timing = Timing { timeout: 300, quiet: 30 };

fn all(_: char) -> bool {
    true
}

fn none(_: char) -> bool {
    false
}

#[test]
fn a_slot_that_changes_hands_remembers_where_older_flows_belong() {
    let slot = Slot::steady(Some('a')).given_to(Some('b'), all);
    assert_eq!(slot, Slot { owner: Some('b'), previous: Some('a'), is_looked_up: true });
}

#[test]
fn a_slot_keeps_its_first_previous_dest_through_further_changes() {
    let slot = Slot::steady(Some('a')).given_to(Some('b'), all).given_to(Some('c'), all);
    assert_eq!(slot, Slot { owner: Some('c'), previous: Some('a'), is_looked_up: true });
}

#[test]
fn a_slot_that_changes_back_is_looked_up_for_the_flows_begun_meanwhile() {
    let slot = Slot::steady(Some('a')).given_to(Some('b'), all).given_to(Some('a'), all);
    assert_eq!(slot, Slot { owner: Some('a'), previous: None, is_looked_up: true });
}

#[test]
fn a_slot_of_a_dead_dest_belongs_to_its_new_owner_at_once() {
    assert_eq!(Slot::steady(Some('a')).given_to(Some('b'), none), Slot::steady(Some('b')));
}

#[test]
fn the_last_backend_keeps_its_older_flows_when_it_is_drained() {
    let slot = Slot::steady(Some('a')).given_to(None, all);
    assert_eq!(slot, Slot { owner: None, previous: Some('a'), is_looked_up: true });
    assert_eq!(slot.unrecorded(), Some('a'));
}

#[test]
fn a_transition_without_flows_ends_after_the_quiet_time() {
    let mut ring = Ring::steady([Some('a'), Some('b')]);
    ring.give([Some('b'), Some('b')], all, 1000);
    assert_eq!((ring.in_transition(), ring.since()), (1, Some(1000)));
    ring.end(TIMING, none, 1029);
    assert_eq!(ring.in_transition(), 1);
    ring.end(TIMING, none, 1030);
    assert_eq!(ring, Ring::steady([Some('b'), Some('b')]));
}

#[test]
fn flows_with_a_record_are_followed_beyond_the_timeout() {
    let mut ring = Ring::steady([Some('a')]);
    ring.give([Some('b')], all, 0);
    ring.end(TIMING, all, 299);
    assert_eq!(ring.slots()[0].previous, Some('a'));
    ring.end(TIMING, all, 300);
    assert_eq!(ring.slots()[0], Slot { owner: Some('b'), previous: None, is_looked_up: true });
    ring.end(TIMING, none, 301);
    assert!(ring.is_steady());
}

#[test]
fn flows_that_get_their_record_late_are_followed_too() {
    let mut ring = Ring::steady([Some('a')]);
    ring.give([Some('b')], all, 0);
    // Nobody has been seen on a yet when it is first looked.
    ring.end(TIMING, none, 1);
    ring.end(TIMING, all, 2);
    ring.end(TIMING, all, 300);
    assert_eq!(ring.slots()[0], Slot { owner: Some('b'), previous: None, is_looked_up: true });
}

#[test]
fn a_change_after_the_timeout_begins_a_new_transition() {
    let mut ring = Ring::steady([Some('a')]);
    ring.give([Some('b')], all, 0);
    ring.end(TIMING, all, 300);
    ring.give([Some('c')], all, 400);
    assert_eq!(ring.slots()[0], Slot { owner: Some('c'), previous: Some('b'), is_looked_up: true });
    assert_eq!((ring.since(), ring.past()), (Some(400), BTreeSet::from(['a', 'b'])));
    // Those on a are followed as long as there are any, those on b are not waited for any more.
    ring.end(TIMING, |dest| dest == 'a', 450);
    assert_eq!(ring.slots()[0], Slot { owner: Some('c'), previous: None, is_looked_up: true });
}

#[test]
fn a_dest_that_dies_is_given_up_at_once() {
    let mut ring = Ring::steady([Some('a'), Some('c')]);
    ring.give([Some('b'), Some('b')], all, 0);
    ring.give_up(|dest| dest != 'a');
    assert_eq!(ring.slots()[0], Slot::steady(Some('b')));
    assert_eq!(ring.slots()[1].previous, Some('c'));
    assert_eq!(ring.past(), BTreeSet::from(['c']));
}

#[test]
fn a_dest_that_dies_as_it_loses_a_slot_in_transition_leaves_no_records_behind() {
    let mut ring = Ring::steady([Some('a')]);
    ring.give([Some('b')], all, 0);
    ring.give([Some('c')], |dest| dest != 'b', 10);
    assert_eq!(ring.slots()[0].previous, Some('a'));
    assert_eq!(ring.past(), BTreeSet::from(['a']));
}

#[test]
fn a_thousand_changes_leave_no_more_waves_than_histories() {
    let owners = ['a', 'b', 'c', 'd'];
    let mut ring = Ring::steady((0..64).map(|_| Some('a')));
    for change in 0..1000_usize {
        ring.give((0..64).map(|slot| Some(owners[(slot * change) % 4])), all, change as u64);
    }
    assert!(ring.waves.len() <= 65, "{}", ring.waves.len());
    ring.end(TIMING, none, 2000);
    assert!(ring.is_steady() && ring.waves.len() == 1);
}

#[test]
fn a_ring_that_was_found_ends_as_the_one_that_was_left() {
    let mut left = Ring::steady([Some('a'), Some('b'), Some('c')]);
    left.give([Some('b'), Some('b'), Some('a')], all, 10);
    let mut found = Ring::found(left.slots().to_vec(), 10, ['a', 'c']);
    assert_eq!(found.in_transition(), left.in_transition());
    for ring in [&mut left, &mut found] {
        ring.end(TIMING, none, 50);
        assert_eq!(*ring, Ring::steady([Some('b'), Some('b'), Some('a')]));
    }
}
