use super::*;

const TRACKING: Tracking =
    Tracking { buckets: 1, opened_ticks: 30, idle_ticks: 900, closing_ticks: 10, reserved: [0; 3] };

fn find(records: &[u64; FLOW_WAYS], tag: u32, now: Tick, tracking: &Tracking) -> Way {
    way(|index| records[index], tag, now, tracking)
}

const fn record(tag: u32, state: FlowState, seen: Tick) -> Record {
    Record { tag, state, seen, owner: 7 }
}

#[test]
fn a_record_survives_being_packed() {
    for state in [FlowState::Closing, FlowState::Opened, FlowState::Seen, FlowState::Confirmed] {
        let record = Record { tag: 0x0abc_def1, state, seen: 0xfedc, owner: 0xffff };
        assert_eq!(Record::from_word(record.to_word()), Some(record));
    }
    assert_eq!(Record::from_word(0), None);
}

#[test]
fn a_flow_is_found_among_others_and_not_when_its_record_is_too_old() {
    let mut records = [0; FLOW_WAYS];
    records[2] = record(5, FlowState::Confirmed, 100).to_word();
    records[3] = record(6, FlowState::Confirmed, 100).to_word();
    let found = find(&records, 6, 1000, &TRACKING);
    assert_eq!((found.index, found.is_found, found.evicts), (3, true, false));
    let old = find(&records, 6, 1001, &TRACKING);
    assert_eq!((old.index, old.is_found, old.evicts), (3, false, false));
}

#[test]
fn clocks_may_go_round() {
    let before = record(1, FlowState::Opened, Tick::MAX);
    assert!(before.is_live(29, &TRACKING));
    assert!(!before.is_live(30, &TRACKING));
}

#[test]
fn a_record_that_was_written_after_its_judge_took_the_time_counts() {
    for (now, seen) in [(100, 101), (Tick::MAX, 0), (100, 100 + MAX_AHEAD)] {
        let mut records = [0; FLOW_WAYS];
        let ahead = record(6, FlowState::Opened, seen);
        records[4] = ahead.to_word();
        assert_eq!(ahead.age(now), 0);
        assert!(ahead.is_live(now, &TRACKING), "{seen} at {now}");
        let found = find(&records, 6, now, &TRACKING);
        assert_eq!((found.index, found.is_found), (4, true), "{seen} at {now}");
    }
}

#[test]
fn a_new_flow_takes_the_place_of_the_least_worth() {
    let mut records: [u64; FLOW_WAYS] =
        core::array::from_fn(|at| record(at as u32, FlowState::Confirmed, 100 + at as Tick).to_word());
    let chosen = |records: &_| find(records, 99, 110, &TRACKING);
    assert_eq!((chosen(&records).index, chosen(&records).evicts), (0, true), "the oldest");
    records[5] = record(5, FlowState::Opened, 110).to_word();
    assert_eq!(chosen(&records).index, 5, "one packet seen counts less than any that goes on");
    records[6] = record(6, FlowState::Closing, 110).to_word();
    assert_eq!(chosen(&records).index, 6);
    records[3] = 0;
    assert_eq!((chosen(&records).index, chosen(&records).evicts), (3, false));
}

#[test]
fn a_flood_of_attempts_leaves_flows_that_go_on_alone() {
    let mut records = [0; FLOW_WAYS];
    for (at, word) in records.iter_mut().enumerate().take(7) {
        *word = record(at as u32, FlowState::Confirmed, 100).to_word();
    }
    for attempt in 1000..2000 {
        let chosen = find(&records, attempt, 120, &TRACKING);
        records[chosen.index] = record(attempt, FlowState::Opened, 120).to_word();
    }
    assert!((0..7).all(|tag| find(&records, tag, 120, &TRACKING).is_found));
}

#[test]
fn seconds_become_ticks_rounded_up_and_bounded() {
    assert_eq!([0, 1, 60, 300].map(ticks_in), [0, 1, 56, 280]);
    assert_eq!(ticks_in(u64::MAX), MAX_TICKS);
    assert_eq!(tick(300_000_000_000), 279);
}

const SLOTS: [SlotSays; 8] = {
    let mut slots = [SlotSays { has_previous: false, is_learning: false, tracks_all: false }; 8];
    let mut number = 0;
    while number < 8 {
        slots[number] = SlotSays {
            has_previous: number & 1 != 0,
            is_learning: number & 2 != 0,
            tracks_all: number & 4 != 0,
        };
        number += 1;
    }
    slots
};

#[test]
fn an_attempt_always_goes_to_the_owner() {
    let states = [Recorded::No, Recorded::Dead, Recorded::Yes(FlowState::Confirmed)];
    for (slot, recorded) in SLOTS.iter().flat_map(|slot| states.map(|recorded| (*slot, recorded))) {
        let decision = decide(Says::Opens, slot, recorded);
        let needed = slot.has_previous || slot.tracks_all || recorded != Recorded::No;
        assert_eq!(decision.whose, Whose::Owner);
        assert_eq!(decision.remember, needed.then_some(FlowState::Opened), "{slot:?} {recorded:?}");
    }
}

#[test]
fn a_flow_with_a_record_goes_where_it_says_whatever_the_slot_says() {
    for slot in SLOTS {
        for says in [Says::Continues, Says::Nothing, Says::Ends] {
            for state in [FlowState::Opened, FlowState::Seen, FlowState::Confirmed, FlowState::Closing] {
                let decision = decide(says, slot, Recorded::Yes(state));
                let ends = says == Says::Ends || state == FlowState::Closing;
                let expected = if ends { FlowState::Closing } else { FlowState::Confirmed };
                assert_eq!((decision.whose, decision.remember), (Whose::Recorded, Some(expected)));
            }
        }
    }
}

#[test]
fn an_icmp_error_goes_where_its_flow_does_and_leaves_no_trace() {
    for slot in SLOTS {
        let states = [Recorded::No, Recorded::Dead, Recorded::Yes(FlowState::Confirmed)];
        for recorded in states {
            let decision = decide(Says::Quotes, slot, recorded);
            assert_eq!(decision.remember, None);
            assert_eq!(decision.whose, decide(Says::Continues, slot, recorded).whose);
        }
    }
}

#[test]
fn what_packets_say_survives_being_a_number() {
    for says in [Says::Nothing, Says::Opens, Says::Continues, Says::Ends, Says::Quotes] {
        assert_eq!(Says::from_number(says as u32), says);
    }
}

#[test]
fn an_old_tcp_flow_belongs_to_the_previous_dest() {
    for slot in SLOTS {
        for says in [Says::Continues, Says::Ends] {
            let expected = if slot.has_previous { Whose::Previous } else { Whose::Owner };
            assert_eq!(decide(says, slot, Recorded::No).whose, expected, "{slot:?}");
        }
    }
}

#[test]
fn a_datagram_belongs_to_the_previous_dest_while_the_slot_is_learning() {
    for slot in SLOTS {
        let decision = decide(Says::Nothing, slot, Recorded::No);
        let to_previous = slot.has_previous && slot.is_learning;
        assert_eq!(decision.whose, if to_previous { Whose::Previous } else { Whose::Owner });
        assert_eq!(decision.remember.is_some(), slot.has_previous || slot.tracks_all, "{slot:?}");
    }
}

#[test]
fn a_flow_of_a_dest_that_died_goes_to_the_owner() {
    for slot in SLOTS {
        for says in [Says::Continues, Says::Nothing, Says::Ends, Says::Opens] {
            assert_eq!(decide(says, slot, Recorded::Dead).whose, Whose::Owner);
        }
    }
}
