//! The state tables of RFC 9568 6.4 and RFC 3768 6.4, row by row, and what preemption adds.

use super::*;

const BECOMES_MASTER: [Action; 3] =
    [Action::Send { priority: OWN }, Action::Own { until: None }, Action::Announce { rounds: 1 }];

#[test]
fn init_becomes_backup_on_start_with_the_master_down_time_of_its_own_interval() {
    let mut run = Run::new(options(), standing(OWN));
    assert_eq!(run.role(), Role::Init);
    assert_eq!(run.machine.due(), None);
    assert_eq!(run.input(Input::Start), [role_change(Role::Init, Role::Backup, Why::Started)]);
    assert_eq!(run.machine.due(), Some(Moment::from_nanos(3_609_375_000)));
}

#[test]
fn init_becomes_master_at_once_for_an_owner() {
    let mut run = Run::new(options(), standing(OWNER));
    assert_eq!(
        run.input(Input::Start),
        [
            Action::Send { priority: OWNER },
            Action::Own { until: None },
            Action::Announce { rounds: 1 },
            role_change(Role::Init, Role::Master, Why::Owner),
        ]
    );
}

#[test]
fn init_does_nothing_else() {
    for input in [
        Input::Stop,
        Input::Heard(heard(11, 150)),
        Input::Tick,
        Input::HandOver,
        Input::Maintenance(true),
        Input::Maintenance(false),
        Input::NotSent,
        Input::Claimed,
        Input::Standing(standing(7)),
        Input::Standing(Standing { fault: true, ..standing(7) }),
        Input::Group(Order::Lead),
        Input::Group(Order::Follow { longer: true }),
    ] {
        let mut run = Run::new(options(), standing(OWN));
        assert_eq!(run.input(input), [], "{input:?}");
        assert_eq!(run.role(), Role::Init, "{input:?}");
    }
}

#[test]
fn backup_becomes_master_when_adverts_stop() {
    let mut run = Run::backup(options());
    run.to(1_000);
    assert_eq!(run.heard(11, 150), [Action::Report(Event::NewMaster(heard(11, 150)))]);
    assert_eq!(run.to(4_609), []);
    let mut expected = BECOMES_MASTER.to_vec();
    expected.push(role_change(Role::Backup, Role::Master, Why::MasterDown));
    assert_eq!(run.to(4_610), expected);
}

#[test]
fn backup_waits_for_its_skew_only_when_the_master_leaves() {
    let mut run = Run::backup(options());
    run.heard(11, 150);
    run.to(500);
    assert_eq!(run.heard(11, LEAVING), []);
    let mut expected = BECOMES_MASTER.to_vec();
    expected.push(role_change(Role::Backup, Role::Master, Why::MasterLeft));
    assert_eq!(run.to(500 + 609), []);
    assert_eq!(run.to(500 + 610), expected);
}

#[test]
fn backup_listens_to_equal_and_higher_priorities() {
    for priority in [OWN, OWN + 1, OWNER] {
        let mut run = Run::backup(options());
        for second in 0..20 {
            run.to(second * 1_000);
            run.heard(11, priority);
        }
        assert_eq!(run.role(), Role::Backup, "{priority}");
        // A lower address does not matter here.
        assert!(run.machine.listens_to().is_some());
    }
}

#[test]
fn backup_ignores_a_lower_priority_and_takes_over_when_it_preempts() {
    let mut run = Run::backup(options());
    run.to(1_000);
    assert_eq!(run.heard(11, 99), [Action::Report(Event::LowerIgnored(heard(11, 99)))]);
    run.to(2_000);
    assert_eq!(run.heard(11, 99), [], "said once");
    run.to(3_000);
    run.heard(11, 99);
    assert_eq!(roles(&run.to(3_610)), [(Role::Backup, Role::Master, Why::MasterDown)]);
}

#[test]
fn backup_that_must_not_preempt_listens_to_any_master_and_takes_over_when_that_one_dies() {
    let mut run = Run::backup(Options { preempt: Preempt::Never, ..options() });
    for second in 0..20 {
        run.to(second * 1_000);
        run.heard(11, 1);
    }
    assert_eq!(run.role(), Role::Backup);
    assert_eq!(roles(&run.to(22_610)), [(Role::Backup, Role::Master, Why::MasterDown)]);
}

#[test]
fn backup_with_a_delay_preempts_after_it_and_counts_anew_after_a_better_master() {
    let mut run = Run::backup(Options { preempt: Preempt::After(Duration::from_secs(10)), ..options() });
    let mut masters = 0;
    for second in 0..30 {
        masters += roles(&run.to(second * 1_000)).len();
        if second == 5 {
            run.heard(13, 150);
        } else {
            run.heard(11, 99);
        }
        if second < 16 {
            assert_eq!(run.role(), Role::Backup, "{second}");
        }
    }
    assert_eq!(masters, 1);
    // The delay began anew at second 6; the last advert that set the timer came at 15.
    let mut run = Run::backup(Options { preempt: Preempt::After(Duration::from_secs(10)), ..options() });
    for second in 0..13 {
        run.to(second * 1_000);
        run.heard(11, 99);
    }
    assert_eq!(run.role(), Role::Backup);
    assert_eq!(run.timed_to(13_000).first().map(|(at, _)| *at), Some(12_609), "3.6 s after second 9");
}

#[test]
fn backup_learns_the_masters_interval_in_version_3_only() {
    let ten = Interval::from_centiseconds(10).unwrap();
    let fifty = Interval::from_centiseconds(50).unwrap();
    let slow = Heard { interval: fifty, ..heard(11, 150) };
    let mut run = Run::backup(Options { interval: ten, ..options() });
    run.input(Input::Heard(slow));
    assert_eq!(run.machine.due(), Some(Moment::from_nanos(1_804_687_500)));
    let mut run = Run::backup(Options { version: Version::V2, ..options() });
    run.input(Input::Heard(slow));
    assert_eq!(run.machine.due(), Some(Moment::from_nanos(3_609_375_000)));
}

#[test]
fn a_backup_whose_priority_rises_waits_no_longer_than_its_new_skew() {
    let mut run = Run::backup(options());
    run.to(1_000);
    run.heard(11, 150);
    run.input(Input::Standing(standing(200)));
    assert_eq!(run.machine.due(), Some(Moment::from_nanos(4_218_750_000)));
    run.to(2_000);
    run.heard(11, 150);
    assert_eq!(run.machine.due(), Some(Moment::from_nanos(4_218_750_000)), "now it is a lower one");
}

#[test]
fn backup_goes_without_a_word_when_stopped_or_in_fault() {
    let mut run = Run::backup(options());
    assert_eq!(run.input(Input::Stop), [role_change(Role::Backup, Role::Init, Why::Stopped)]);
    assert_eq!(run.machine.due(), None);
    let mut run = Run::backup(options());
    let broken = Standing { fault: true, ..standing(OWN) };
    assert_eq!(run.input(Input::Standing(broken)), [role_change(Role::Backup, Role::Fault, Why::Fault)]);
    assert_eq!(run.machine.due(), None);
}

#[test]
fn master_sends_each_interval() {
    let mut run = Run::master(options());
    let start = 3_609;
    let sent = run.timed_to(start + 3_001);
    let expected: Vec<_> = (1..=3).map(|n| (start + n * 1_000, Action::Send { priority: OWN })).collect();
    assert_eq!(sent, expected);
}

#[test]
fn master_leaves_with_priority_0_after_it_has_let_go() {
    for (input, to, why) in [
        (Input::Stop, Role::Init, Why::Stopped),
        (Input::Standing(Standing { fault: true, ..standing(OWN) }), Role::Fault, Why::Fault),
    ] {
        let mut run = Run::master(options());
        let left = [Action::Release, Action::Send { priority: LEAVING }, role_change(Role::Master, to, why)];
        assert_eq!(run.input(input), left);
    }
}

#[test]
fn master_answers_a_leaving_one_at_once_and_announces() {
    let mut run = Run::master(options());
    run.to(5_000);
    assert_eq!(
        run.heard(11, LEAVING),
        [Action::Send { priority: OWN }, Action::Announce { rounds: 2 }],
        "it may have announced the addresses as its own"
    );
    assert_eq!(run.timed_to(6_000), [(6_000, Action::Send { priority: OWN })], "the timer begins anew");
}

#[test]
fn master_gives_way_to_a_higher_priority_and_to_an_equal_one_of_higher_address() {
    for (last, priority, why) in [
        (11, 101, Why::HigherPriority(heard(11, 101))),
        (13, 101, Why::HigherPriority(heard(13, 101))),
        (13, OWN, Why::HigherAddress(heard(13, OWN))),
    ] {
        let mut run = Run::master(options());
        let actions = run.heard(last, priority);
        let step_down =
            [Action::Release, Action::Send { priority: OWN }, role_change(Role::Master, Role::Backup, why)];
        assert_eq!(actions[..3], step_down);
        assert_eq!(run.machine.listens_to(), Some(heard(last, priority)));
        assert_eq!(run.machine.due().map(|due| due.since(run.now)), Some(Duration::from_micros(3_609_375)));
    }
}

#[test]
fn master_stays_against_a_lower_priority_and_an_equal_one_of_lower_address() {
    for (last, priority) in [(11, 99), (13, 99), (11, OWN)] {
        let mut run = Run::master(options());
        run.to(4_000);
        let actions = run.heard(last, priority);
        assert_eq!(actions[0], Action::Send { priority: OWN }, "it asserts itself (RFC 9568 6.4.3)");
        assert_eq!(run.role(), Role::Master);
    }
}

#[test]
fn master_takes_a_changed_priority_into_its_next_advert_and_stays() {
    let mut run = Run::master(options());
    assert_eq!(run.input(Input::Standing(standing(50))), []);
    assert_eq!(run.to(4_610), [Action::Send { priority: 50 }]);
    assert_eq!(run.role(), Role::Master);
}

#[test]
fn fault_hears_nothing_and_starts_anew_when_it_is_over() {
    let broken = Standing { fault: true, ..standing(OWN) };
    let mut run = Run::backup(options());
    run.input(Input::Standing(broken));
    for input in [
        Input::Heard(heard(11, 50)),
        Input::Tick,
        Input::HandOver,
        Input::Maintenance(false),
        Input::Group(Order::Lead),
        Input::Standing(broken),
        Input::Start,
    ] {
        assert_eq!(run.input(input), [], "{input:?}");
    }
    run.to(10_000);
    assert_eq!(
        run.input(Input::Standing(standing(OWN))),
        [role_change(Role::Fault, Role::Backup, Why::Fault)]
    );
    assert_eq!(roles(&run.to(13_610)), [(Role::Backup, Role::Master, Why::MasterDown)]);

    let mut owner = Run::new(options(), Standing { fault: true, ..standing(OWNER) });
    assert_eq!(owner.input(Input::Start), [role_change(Role::Init, Role::Fault, Why::Fault)]);
    owner.input(Input::Standing(standing(OWNER)));
    assert_eq!(owner.role(), Role::Master);
    assert_eq!(roles(&owner.input(Input::Stop)), [(Role::Master, Role::Init, Why::Stopped)]);
}

#[test]
fn fault_can_be_stopped() {
    let mut run = Run::new(options(), Standing { fault: true, ..standing(OWN) });
    run.input(Input::Start);
    assert_eq!(run.input(Input::Stop), [role_change(Role::Fault, Role::Init, Why::Stopped)]);
}

#[test]
fn a_second_start_changes_nothing() {
    let mut run = Run::master(options());
    assert_eq!(run.input(Input::Start), []);
    assert_eq!(run.role(), Role::Master);
}
