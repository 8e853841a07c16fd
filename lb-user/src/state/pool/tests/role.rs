//! Pools in which one backend is active.

use super::*;

fn pair(conflict: RoleConflict, fail_open: FailOpen) -> Played {
    Played::new(2, PoolPolicy { role: Some(conflict), fail_open, ..PoolPolicy::default() })
}

/// Whether each backend passes its check, while none has reached `rise` or `fall` yet: `up` stays what it is.
fn answers(played: &mut Played, passes: [bool; 2]) {
    for (host, passes) in (1..).zip(passes) {
        played.seen.get_mut(&host).unwrap().passes = passes;
    }
}

fn standby(played: &mut Played) {
    played.set(2, false);
}

#[test]
fn another_one_takes_over_with_its_first_pass() {
    let mut played = pair(RoleConflict::Keep, FailOpen::All);
    standby(&mut played);
    let desired = played.decide(0);
    assert_eq!((serving(&desired), given_up(&desired)), (vec![1], vec![address(2)]));
    answers(&mut played, [false, false]);
    assert_eq!(serving(&played.decide(1)), [1], "one failure, and nobody else is active");
    assert_eq!(played.alarms(), []);
    answers(&mut played, [false, true]);
    let desired = played.decide(2);
    assert_eq!(serving(&desired), [2], "neither `rise` nor `fall` was reached");
    assert_eq!(given_up(&desired), [address(1)]);
    assert_eq!(desired.vips[&key()].members["b2"].spared, Some(Spared::Active));
    played.policy.on_unhealthy = OnUnhealthy::Drain;
    assert!(given_up(&played.decide(3)).is_empty());
}

#[test]
fn two_active_ones_are_an_alarm_when_both_pass_for_a_round() {
    for (conflict, during, after) in
        [(RoleConflict::Keep, 2, 2), (RoleConflict::Newest, 1, 1), (RoleConflict::Lowest, 2, 1)]
    {
        let mut played = pair(conflict, FailOpen::All);
        played.set(1, false);
        assert_eq!(serving(&played.decide(0)), [2]);
        answers(&mut played, [true, true]);
        assert_eq!((serving(&played.decide(10)), played.alarms()), (vec![during], vec![]), "{conflict:?}");
        assert_eq!(played.pools.next_due(), Some(at(13)));
        let desired = played.decide(13);
        assert_eq!((serving(&desired), played.alarms()), (vec![after], vec![AlarmKind::SeveralActive]));
        assert_eq!(played.pools.next_due(), None);
        answers(&mut played, [true, false]);
        assert_eq!((serving(&played.decide(14)), played.alarms()), (vec![1], vec![]));
    }
}

#[test]
fn nobody_serves_before_one_has_said_that_it_is_active() {
    let mut played = pair(RoleConflict::Keep, FailOpen::All);
    answers(&mut played, [false, false]);
    assert_eq!((serving(&played.decide(0)), played.alarms()), (vec![], vec![AlarmKind::NoneActive]));
    answers(&mut played, [true, true]);
    assert_eq!(serving(&played.decide(1)), [1], "the lowest, without one before");
}

#[test]
fn without_an_active_one_the_last_serves_or_none() {
    for (fail_open, serves) in [(FailOpen::All, vec![1]), (FailOpen::None, vec![])] {
        let mut played = pair(RoleConflict::Keep, fail_open);
        standby(&mut played);
        played.decide(0);
        played.set(1, false);
        assert_eq!((serving(&played.decide(9)), played.alarms()), (serves, vec![AlarmKind::NoneActive]));
        played.set(1, true);
        assert_eq!((serving(&played.decide(10)), played.alarms()), (vec![1], vec![]));
    }
}

#[test]
fn a_drained_backend_is_not_the_active_one() {
    let mut played = pair(RoleConflict::Keep, FailOpen::All);
    standby(&mut played);
    played.decide(0);
    played.vip.members.get_mut("b1").unwrap().drained = true;
    assert_eq!((serving(&played.decide(1)), played.alarms()), (vec![], vec![AlarmKind::NoneActive]));
}
