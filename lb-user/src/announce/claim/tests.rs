use proptest::prelude::*;

use super::*;

const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const ASKED: Event = Event::Ready(Presence::Absent);

/// A machine with a clock; notes what it does and when, in milliseconds.
struct Run {
    machine: Machine,
    start: Instant,
    now: Instant,
}

impl Run {
    fn new(kernel_owns: bool) -> Self {
        let start = Instant::now();
        Self { machine: Machine::new(kernel_owns), start, now: start }
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.machine.on_event(event, self.now)
    }

    /// Ticks when due until so many milliseconds after the start.
    fn run_to(&mut self, end_ms: u64) -> Vec<(u64, Action)> {
        let end = self.start + Duration::from_millis(end_ms);
        let mut done = Vec::new();
        while let Some(due) = self.machine.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let at = (self.now - self.start).as_millis() as u64;
            done.extend(self.event(Event::Tick).into_iter().map(|action| (at, action)));
        }
        self.now = end;
        done
    }

    fn is_owned(&self) -> bool {
        matches!(self.machine.state, State::Owned { .. })
    }
}

/// Owned since its start.
fn owned(kernel_owns: bool) -> Run {
    let mut run = Run::new(kernel_owns);
    if kernel_owns {
        run.event(Event::Ready(Presence::Usable));
    } else {
        run.event(ASKED);
        // Silence.
        run.run_to(1_000);
        run.start = run.now;
    }
    run
}

#[test]
fn an_owned_address_is_defended_once_in_ten_seconds_and_kept() {
    for kernel_owns in [false, true] {
        let mut run = owned(kernel_owns);
        assert!(run.is_owned());
        let claimed = Event::Claimed;
        run.run_to(1_000);
        assert_eq!(run.event(claimed.clone()), [Action::Defend]);
        for later in [1_000, 5_000, 10_999] {
            run.run_to(later);
            assert_eq!(run.event(claimed.clone()), [], "{later} ms");
        }
        run.run_to(11_000);
        assert_eq!(run.event(claimed.clone()), [Action::Defend]);
        assert!(run.is_owned());
    }
}

#[test]
fn only_what_is_owned_is_defended() {
    let claimed = Event::Claimed;
    let mut run = Run::new(false);
    assert_eq!(run.event(claimed.clone()), []);
    for before in [ASKED, Event::Lost("down".to_owned())] {
        run.event(before);
        let state = run.machine.state.clone();
        assert_eq!(run.event(claimed.clone()), []);
        assert_eq!(run.machine.state, state);
    }
}

#[test]
fn silence_for_a_second_makes_an_address_owned_and_announced_again_and_again() {
    let mut run = Run::new(false);
    assert_eq!(run.event(ASKED), [Action::Probe]);
    assert_eq!(
        run.run_to(130_000),
        [
            (300, Action::Probe),
            (600, Action::Probe),
            (1_000, Action::Announce),
            (2_000, Action::Announce),
            (6_000, Action::Announce),
            (66_000, Action::Announce),
            (126_000, Action::Announce),
        ]
    );
}

#[test]
fn another_hosts_answer_stops_it_for_half_a_minute() {
    let mut run = Run::new(false);
    run.event(ASKED);
    run.run_to(700);
    assert_eq!(run.event(Event::Heard(OTHER)), []);
    assert!(matches!(run.machine.state, State::Conflict { mac: Some(OTHER), .. }));
    let later = run.run_to(31_700);
    assert_eq!(later[0], (30_700, Action::Probe));
    assert_eq!(later.last(), Some(&(31_700, Action::Announce)), "the other one has gone");
}

#[test]
fn nobody_is_heard_once_the_address_is_owned() {
    let mut run = Run::new(false);
    run.event(ASKED);
    run.run_to(1_500);
    assert_eq!(run.event(Event::Heard(OTHER)), []);
    assert!(run.is_owned());
}

#[test]
fn the_kernel_gets_an_address_that_nobody_has_and_it_is_announced_once_the_kernel_uses_it() {
    let mut run = Run::new(true);
    run.event(ASKED);
    assert_eq!(run.run_to(1_200).last(), Some(&(1_000, Action::Add)));
    assert_eq!(run.event(Event::Kernel(Presence::Tentative)), []);
    assert!(!run.is_owned());
    assert_eq!(run.event(Event::Kernel(Presence::Usable)), [Action::Announce]);
    assert!(run.is_owned());
    assert_eq!(run.event(Event::Kernel(Presence::Usable)), [], "that is no news");
}

#[test]
fn a_duplicate_that_the_kernel_found_is_removed_and_tried_again() {
    let mut run = Run::new(true);
    run.event(ASKED);
    run.run_to(1_200);
    run.event(Event::Kernel(Presence::Tentative));
    assert_eq!(run.event(Event::Kernel(Presence::Duplicate)), [Action::Remove]);
    assert!(matches!(run.machine.state, State::Conflict { mac: None, .. }));
    assert_eq!(run.event(Event::Kernel(Presence::Absent)), []);
    assert_eq!(run.run_to(31_200)[0], (31_200, Action::Probe));
}

#[test]
fn an_address_that_the_kernel_has_already_is_owned_at_once() {
    let mut run = Run::new(true);
    assert_eq!(run.event(Event::Ready(Presence::Usable)), [Action::Announce]);
    assert!(run.is_owned());
}

#[test]
fn an_address_taken_from_the_kernel_by_somebody_is_asked_for_and_added_again() {
    let mut run = Run::new(true);
    run.event(Event::Ready(Presence::Usable));
    assert_eq!(run.event(Event::Kernel(Presence::Absent)), [Action::Probe]);
    assert_eq!(run.run_to(1_100).last(), Some(&(1_000, Action::Add)));
}

#[test]
fn a_refusal_of_the_kernel_is_told_and_tried_again() {
    let mut run = Run::new(true);
    run.event(ASKED);
    run.run_to(1_000);
    run.event(Event::Refused("no".to_owned()));
    assert_eq!(run.machine.state, State::Refused { since: run.now, reason: "no".to_owned() });
    assert_eq!(run.run_to(31_000), [(31_000, Action::Probe)]);
}

#[test]
fn a_kernel_that_says_nothing_is_told_again() {
    let mut run = Run::new(true);
    run.event(ASKED);
    run.run_to(1_000);
    assert_eq!(run.run_to(6_000), [(6_000, Action::Add)]);
}

#[test]
fn another_mac_address_is_announced_at_once() {
    let mut run = owned(false);
    run.run_to(20_000);
    assert_eq!(run.event(Event::MacChanged), [Action::Announce]);
    assert_eq!(run.run_to(26_000), [(21_000, Action::Announce), (25_000, Action::Announce)]);
}

#[test]
fn what_has_no_interface_does_nothing_until_it_is_called() {
    for kernel_owns in [false, true] {
        let mut run = owned(kernel_owns);
        assert_eq!(run.event(Event::Lost("down".to_owned())), []);
        assert_eq!(run.run_to(300_000), []);
        for presence in [Presence::Usable, Presence::Duplicate, Presence::Absent, Presence::Tentative] {
            assert_eq!(run.event(Event::Kernel(presence)), []);
        }
        assert_eq!(run.event(Event::Heard(OTHER)), []);
        assert_eq!(run.event(Event::MacChanged), []);
        assert_eq!(run.event(ASKED), [Action::Probe]);
    }
}

#[test]
fn after_a_pause_of_the_daemon_nothing_is_made_up_for() {
    let mut run = owned(false);
    run.now += Duration::from_secs(3600);
    assert_eq!(run.event(Event::Tick), [Action::Announce]);
    assert_eq!(run.event(Event::Tick), []);
}

fn events() -> impl Strategy<Value = Event> {
    let presence = prop_oneof![
        Just(Presence::Absent),
        Just(Presence::Tentative),
        Just(Presence::Usable),
        Just(Presence::Duplicate)
    ];
    prop_oneof![
        2 => presence.clone().prop_map(Event::Ready),
        1 => Just(Event::Lost("down".to_owned())),
        1 => Just(Event::MacChanged),
        6 => Just(Event::Tick),
        1 => Just(Event::Heard(OTHER)),
        1 => Just(Event::Claimed),
        2 => presence.prop_map(Event::Kernel),
        1 => Just(Event::Refused("no".to_owned())),
    ]
}

proptest! {
    /// Whatever happens: announcements only when owned, the kernel is told nothing that is not its business, every
    /// attempt has an end, and nothing happens more often than time allows.
    #[test]
    fn no_sequence_of_events_announces_what_is_not_owned(
        kernel_owns: bool, steps in prop::collection::vec((events(), 0u64..40_000), 1..60),
    ) {
        let mut run = Run::new(kernel_owns);
        for (event, pause) in steps {
            run.now += Duration::from_millis(pause);
            let heard = matches!(event, Event::Heard(_));
            let before = run.machine.defended;
            let was_probing = matches!(run.machine.state, State::Probing { .. });
            let actions = run.event(event);
            let state = &run.machine.state;
            let told = actions.contains(&Action::Announce) || actions.contains(&Action::Defend);
            prop_assert!(!told || run.is_owned());
            if actions == [Action::Defend] {
                // What was due is still due.
                prop_assert!(before.is_none_or(|before| before + DEFEND_PAUSE <= run.now));
                continue;
            }
            let probing = matches!(state, State::Probing { .. });
            prop_assert_eq!(actions.contains(&Action::Probe), probing && !actions.is_empty());
            prop_assert!(actions.len() <= 1);
            if !kernel_owns {
                let told = actions.iter().any(|action| matches!(action, Action::Add | Action::Remove));
                prop_assert!(!told);
                let kernels = matches!(state, State::Adding { .. } | State::Refused { .. });
                prop_assert!(!kernels);
            }
            if heard && was_probing {
                let conflict = matches!(state, State::Conflict { .. });
                prop_assert!(conflict);
            }
            let idle = matches!(state, State::Waiting(_));
            prop_assert_eq!(run.machine.due().is_none(), idle);
            if !actions.is_empty() && let Some(due) = run.machine.due() {
                prop_assert!(due >= run.now + Duration::from_millis(300));
            }
        }
    }
}
