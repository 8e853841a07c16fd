//! Options that change under way.

use super::*;

const FAST: Interval = Interval::from_centiseconds(10).unwrap();

fn fast() -> Options {
    Options { interval: FAST, ..options() }
}

fn at(milliseconds: u64) -> Option<Moment> {
    Some(Moment::from_nanos(milliseconds * 1_000_000))
}

#[test]
fn a_master_goes_on_and_says_its_new_interval_at_once() {
    let mut run = Run::master(options());
    run.to(4_000);
    assert_eq!(run.input(Input::Options(fast())), [Action::Send { priority: OWN }]);
    assert_eq!(run.role(), Role::Master);
    let next: Vec<u64> = run.timed_to(4_250).into_iter().map(|(at, _)| at).collect();
    assert_eq!(next.len(), 2);
    assert!(next[1] - next[0] == 100, "{next:?}");
    assert_eq!(run.input(Input::Options(fast())), [], "nothing has changed");
}

#[test]
fn a_backup_goes_by_its_own_new_interval_only_until_it_has_heard_a_master() {
    let mut run = Run::backup(options());
    assert_eq!(run.input(Input::Options(fast())), []);
    assert_eq!(run.timed_to(3_000).first().map(|(at, _)| *at), Some(360));

    let mut run = Run::backup(options());
    run.heard(11, 200);
    run.input(Input::Options(fast()));
    assert_eq!(run.timed_to(5_000).first().map(|(at, _)| *at), Some(3_609));

    let second_version = |interval| Options { version: Version::V2, interval, ..options() };
    let mut run = Run::backup(second_version(Interval::from_centiseconds(300).unwrap()));
    run.heard(11, 200);
    run.input(Input::Options(second_version(SECOND)));
    assert_eq!(run.timed_to(5_000).first().map(|(at, _)| *at), Some(3_609));
}

#[test]
fn preemption_counts_from_the_next_advert_on() {
    let never = Options { preempt: Preempt::Never, ..options() };
    let mut run = Run::backup(never);
    run.heard(11, 50);
    run.to(1_000);
    run.heard(11, 50);
    assert_eq!(run.input(Input::Options(options())), []);
    run.now = Moment::from_nanos(2_000_000_000);
    run.heard(11, 50);
    run.to(5_000);
    assert_eq!(run.role(), Role::Master, "the master of lower priority is not waited for any more");

    let mut run = Run::backup(options());
    run.heard(11, 50);
    run.input(Input::Options(never));
    for second in 1..10 {
        run.to(second * 1_000);
        run.now = Moment::from_nanos(second * 1_000_000_000);
        run.heard(11, 50);
    }
    assert_eq!(run.role(), Role::Backup);
}

#[test]
fn fencing_begins_and_ends_under_a_master() {
    let fenced = Options { fencing: true, ..options() };
    let mut run = Run::master(options());
    run.to(4_000);
    run.now = Moment::from_nanos(4_000_000_000);
    let actions = run.input(Input::Options(fenced));
    assert_eq!(actions, [Action::Send { priority: OWN }, Action::Own { until: at(7_000) }]);
    let actions = run.input(Input::Options(options()));
    assert_eq!(actions, [Action::Send { priority: OWN }, Action::Own { until: None }]);
    assert_eq!(run.machine.lease(), None);

    run.input(Input::Options(fenced));
    let lapsed = [Action::Release, role_change(Role::Master, Role::Backup, Why::LeaseLapsed)];
    assert_eq!(run.input(Input::NotSent), lapsed, "a lease that no advert went out for");
}

#[test]
fn a_master_that_hands_over_keeps_silent_about_it() {
    let mut run = Run::master(options());
    run.input(Input::HandOver);
    assert_eq!(run.input(Input::Options(fast())), []);
    assert!(run.machine.is_handing_over());
    let first = run.timed_to(8_000).into_iter().next();
    assert_eq!(first, Some((5_110, Action::Report(Event::NobodyTookOver))));
}

#[test]
fn announcements_follow_their_new_schedule() {
    let refreshing = |seconds| {
        let announce = Schedule { refresh: Duration::from_secs(seconds), ..options().announce };
        Options { announce, ..options() }
    };
    let mut run = Run::master(options());
    run.to(4_000);
    run.now = Moment::from_nanos(4_000_000_000);
    assert_eq!(run.input(Input::Options(refreshing(10))), []);
    let announced = |run: &mut Run, until| {
        let timed = run.timed_to(until).into_iter();
        let rounds = timed.filter(|(_, action)| matches!(action, Action::Announce { .. }));
        rounds.map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!(announced(&mut run, 25_000), [14_000, 24_000]);
    run.input(Input::Options(options()));
    assert_eq!(announced(&mut run, 60_000), [0; 0]);
}
