//! The whole transition table, the times, and random sequences.

use proptest::prelude::*;

use super::Outcome::{Failed, Inconclusive, Passed, SaidDown, SaidUp};
use super::State::{Healthy, Initial, Unhealthy};
use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rhythm(rise: u32, fall: u32, start: Start) -> Rhythm {
    Rhythm { interval: seconds(4), fast_interval: seconds(1), down_interval: seconds(20), rise, fall, start }
}

/// Feeds `outcomes`, a probe each, and gives back the machine with what the last of them led to and when that began.
fn fed(machine: &mut Machine, outcomes: &[Outcome]) -> (Actions, Instant) {
    let mut began = Instant::now();
    let mut last = None;
    for outcome in outcomes {
        let actions = machine.on_event(Event { outcome: *outcome, began, jitter: 0 }, began);
        last = Some((actions, began));
        began = actions.next;
    }
    last.expect("an outcome")
}

#[test]
fn every_state_and_result_leads_where_the_table_says() {
    let (up, down) = (Initial(Start::Up), Initial(Start::Down));
    // The state, results that contradict it so far, a result, and what follows: the state and its contrary results.
    let table = [
        (up, 0, Passed, Healthy, 0),
        (up, 1, Passed, Healthy, 0),
        (up, 0, Failed, up, 1),
        (up, 1, Failed, up, 2),
        (up, 2, Failed, Unhealthy, 0),
        (down, 0, Passed, down, 1),
        (down, 1, Passed, Healthy, 0),
        (down, 0, Failed, Unhealthy, 0),
        (down, 1, Failed, Unhealthy, 0),
        (Healthy, 0, Passed, Healthy, 0),
        (Healthy, 2, Passed, Healthy, 0),
        (Healthy, 0, Failed, Healthy, 1),
        (Healthy, 1, Failed, Healthy, 2),
        (Healthy, 2, Failed, Unhealthy, 0),
        (Unhealthy, 0, Passed, Unhealthy, 1),
        (Unhealthy, 1, Passed, Healthy, 0),
        (Unhealthy, 0, Failed, Unhealthy, 0),
        (Unhealthy, 1, Failed, Unhealthy, 0),
        (up, 1, Inconclusive, up, 1),
        (down, 1, Inconclusive, down, 1),
        (Healthy, 2, Inconclusive, Healthy, 2),
        (Unhealthy, 1, Inconclusive, Unhealthy, 1),
    ];
    for (state, contrary, outcome, next, contrary_next) in table {
        let start = if let Initial(start) = state { start } else { Start::Up };
        let mut machine = Machine { contrary, ..Machine::new(rhythm(2, 3, start), Some(state)) };
        assert_eq!(machine.state(), state);
        let (actions, _) = fed(&mut machine, &[outcome]);
        assert_eq!(
            (machine.state, machine.contrary),
            (next, contrary_next),
            "{state:?} {contrary} {outcome:?}"
        );
        assert_eq!(actions.changed_from, (state != next).then_some(state));
    }
}

#[test]
fn results_count_in_a_row_and_never_in_sum() {
    let mut machine = Machine::new(rhythm(2, 3, Start::Up), Some(Healthy));
    for _ in 0..100 {
        let _ = fed(&mut machine, &[Failed, Failed, Passed]);
        assert_eq!(machine.state(), Healthy);
    }
    let _ = fed(&mut machine, &[Failed, Failed, Inconclusive, Failed]);
    assert_eq!(machine.state(), Unhealthy, "what says nothing does not break a row");
}

#[test]
fn a_dead_backend_is_out_within_fall_intervals() {
    let start = Rhythm::default();
    let mut machine = Machine::new(start.clone(), Some(Healthy));
    let begin = Instant::now();
    let mut at = begin;
    loop {
        // Each probe runs into its timeout.
        let ended = at + seconds(1);
        let actions = machine.on_event(Event { outcome: Failed, began: at, jitter: 0 }, ended);
        if actions.changed_from.is_some() {
            assert!(ended - begin <= start.interval * start.fall + seconds(1));
            assert_eq!(ended - begin, seconds(5));
            return;
        }
        at = actions.next;
    }
}

#[test]
fn it_looks_more_often_while_something_changes_and_less_often_while_down() {
    let mut machine = Machine::new(rhythm(2, 3, Start::Up), None);
    let mut pause = |outcomes: &[Outcome]| {
        let (actions, began) = fed(&mut machine, outcomes);
        (actions.next - began).as_secs()
    };
    assert_eq!(pause(&[Passed]), 4);
    assert_eq!(pause(&[Failed]), 1);
    assert_eq!(pause(&[Failed]), 1);
    assert_eq!(pause(&[Failed]), 4, "just down");
    assert_eq!([pause(&[Failed]), pause(&[Failed]), pause(&[Failed]), pause(&[Failed; 50])], [8, 16, 20, 20]);
    assert_eq!(pause(&[Passed]), 1);
    assert_eq!(pause(&[Passed]), 4);
    assert_eq!(pause(&[Failed, Failed, Failed]), 4, "the back-off begins anew");
}

#[test]
fn a_probe_that_took_longer_than_the_interval_is_followed_at_once() {
    let mut machine = Machine::new(rhythm(1, 1, Start::Up), Some(Healthy));
    let began = Instant::now();
    let now = began + seconds(9);
    assert_eq!(machine.on_event(Event { outcome: Passed, began, jitter: 0 }, now).next, now);
}

#[test]
fn what_a_backend_says_of_itself_takes_effect_at_once() {
    for known in [None, Some(Healthy), Some(Unhealthy)] {
        for start in [Start::Up, Start::Down] {
            for (outcome, state) in [(SaidUp, Healthy), (SaidDown, Unhealthy)] {
                let mut machine = Machine::new(rhythm(5, 5, start), known);
                let began = Instant::now();
                let actions = machine.on_event(Event { outcome, began, jitter: 0 }, began);
                assert_eq!((machine.state(), machine.progress().0), (state, 0), "{known:?} {outcome:?}");
                assert_eq!(actions.changed_from.is_some(), known != Some(state));
            }
        }
    }
}

#[test]
fn what_was_known_is_kept_and_what_was_not_begins_as_the_settings_say() {
    let new = |known| Machine::new(rhythm(2, 3, Start::Down), known).state();
    assert_eq!(new(None), Initial(Start::Down));
    assert_eq!(new(Some(Initial(Start::Up))), Initial(Start::Down));
    assert_eq!(new(Some(Healthy)), Healthy);
    assert_eq!(new(Some(Unhealthy)), Unhealthy);
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![4 => Just(Passed), 4 => Just(Failed), 1 => Just(Inconclusive), 1 => Just(SaidUp), 1 => Just(SaidDown)]
}

proptest! {
    #[test]
    fn no_sequence_of_results_breaks_a_promise(
        (rise, fall) in (1u32..5, 1u32..5),
        start in prop::sample::select(vec![Start::Up, Start::Down]),
        events in prop::collection::vec((outcome(), any::<u16>(), 0u64..3000), 1..80),
    ) {
        let rhythm = rhythm(rise, fall, start);
        let mut machine = Machine::new(rhythm.clone(), None);
        let mut began = Instant::now();
        let (mut passes, mut failures) = (0, 0);
        for (outcome, jitter, took) in events {
            match outcome {
                Passed => (passes, failures) = (passes + 1, 0),
                Failed => (passes, failures) = (0, failures + 1),
                Inconclusive => {}
                SaidUp => (passes, failures) = (rise.max(passes + 1), 0),
                SaidDown => (passes, failures) = (0, fall.max(failures + 1)),
            }
            let (before, now) = (machine.state(), began + Duration::from_millis(took));
            let actions = machine.on_event(Event { outcome, began, jitter }, now);
            prop_assert_eq!(actions.changed_from, (before != machine.state()).then_some(before));
            if before.is_up() && !machine.state().is_up() {
                prop_assert_eq!(failures, fall);
            }
            if !before.is_up() && machine.state().is_up() {
                prop_assert_eq!(passes, rise);
            }
            prop_assert!(failures < fall || !machine.state().is_up());
            prop_assert!(passes < rise || machine.state() == Healthy);
            let (seen, needed) = machine.progress();
            prop_assert!(seen < needed);
            let pause = actions.next - began;
            prop_assert!(actions.next >= now);
            prop_assert!(pause <= rhythm.down_interval.max(Duration::from_millis(took)));
            prop_assert!(pause >= rhythm.fast_interval * 9 / 10);
            began = actions.next;
        }
    }

    #[test]
    fn the_first_probe_is_within_an_interval(jitter in any::<u16>()) {
        let (machine, now) = (Machine::new(Rhythm::default(), None), Instant::now());
        let first = machine.first(now, jitter);
        prop_assert!(first >= now && first <= now + seconds(2));
    }
}
