//! Leases.

use super::*;

fn fenced() -> Options {
    Options { fencing: true, ..options() }
}

fn at(milliseconds: u64) -> Option<Moment> {
    Some(Moment::from_nanos(milliseconds * 1_000_000))
}

/// A master since a round second, whose first advert's lease ends at 13 s.
fn master() -> Run {
    let mut run = Run::new(fenced(), Standing { gate: Pass::Closed, ..standing(OWN) });
    run.input(Input::Start);
    run.to(10_000);
    let actions = run.input(Input::Standing(standing(OWN)));
    assert!(actions.contains(&Action::Own { until: at(13_000) }));
    run
}

#[test]
fn each_advert_renews_the_lease_for_three_intervals() {
    let mut run = master();
    assert_eq!(
        run.timed_to(12_500),
        [
            (11_000, Action::Send { priority: OWN }),
            (11_000, Action::Own { until: at(14_000) }),
            (12_000, Action::Send { priority: OWN }),
            (12_000, Action::Own { until: at(15_000) }),
        ]
    );
}

#[test]
fn a_master_that_stood_still_for_longer_than_its_lease_sends_nothing_and_listens() {
    for first in [Input::Tick, Input::Heard(heard(11, 99)), Input::HandOver, Input::Claimed] {
        let mut run = master();
        run.to(12_500);
        run.now = Moment::from_nanos(15_000_000_000);
        let actions = run.input(first);
        let lapsed = [Action::Release, role_change(Role::Master, Role::Backup, Why::LeaseLapsed)];
        assert_eq!(actions[..2], lapsed, "{first:?}");
        assert!(!actions.iter().any(|action| matches!(action, Action::Send { .. })), "{first:?}");
    }
}

#[test]
fn after_a_standstill_it_is_backup_under_whoever_took_over_or_master_again_after_an_interval_and_its_skew() {
    let mut run = master();
    run.now = Moment::from_nanos(20_000_000_000);
    run.input(Input::Tick);
    assert_eq!(run.timed_to(21_700).first().map(|(at, _)| *at), Some(21_609));
    assert_eq!(run.role(), Role::Master);

    let mut run = master();
    run.now = Moment::from_nanos(20_000_000_000);
    run.input(Input::Tick);
    run.to(20_700);
    run.heard(11, OWN);
    assert_eq!(run.to(24_000), []);
    assert_eq!(run.role(), Role::Backup);
}

#[test]
fn an_advert_that_was_not_sent_renews_nothing() {
    let mut run = master();
    run.to(11_000);
    assert_eq!(run.machine.lease(), at(14_000));
    run.input(Input::NotSent);
    assert_eq!(run.machine.lease(), at(13_000));
    run.to(12_000);
    run.input(Input::NotSent);
    // At 13 s, the lease is over before the next advert.
    assert_eq!(roles(&run.to(13_000)), [(Role::Master, Role::Backup, Why::LeaseLapsed)]);
}

#[test]
fn a_node_whose_first_advert_was_not_sent_is_no_master() {
    let mut run = master();
    assert_eq!(roles(&run.input(Input::NotSent)), [(Role::Master, Role::Backup, Why::LeaseLapsed)]);
}

#[test]
fn a_lease_outlasts_a_hand_over() {
    let mut run = master();
    run.to(11_999);
    run.input(Input::HandOver);
    let actions = run.to(13_499);
    assert!(actions.contains(&Action::Report(Event::NobodyTookOver)));
    assert_eq!(run.role(), Role::Master);
}

#[test]
fn without_fencing_a_standstill_is_not_noticed() {
    let mut run = Run::master(options());
    run.now = Moment::from_nanos(60_000_000_000);
    assert_eq!(run.input(Input::Tick), [Action::Send { priority: OWN }]);
}
