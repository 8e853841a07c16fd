//! Hand-over, maintenance, and the gate.

use super::*;

fn gated(gate: Pass, priority: u8) -> Standing {
    Standing { gate, ..standing(priority) }
}

#[test]
fn a_master_that_hands_over_keeps_the_addresses_until_another_one_is_heard() {
    let mut run = Run::master(options());
    run.to(4_000);
    assert_eq!(
        run.input(Input::HandOver),
        [Action::Send { priority: LEAVING }, Action::Report(Event::HandingOver)]
    );
    assert!(run.machine.is_handing_over());
    assert_eq!(run.to(4_800), [], "no advert, and no letting go");
    let next = heard(11, 50);
    let handed_over = role_change(Role::Master, Role::Backup, Why::HandedOver(next));
    assert_eq!(run.heard(11, 50), [Action::Release, handed_over]);
}

#[test]
fn a_node_that_has_handed_over_takes_back_only_what_is_orphaned() {
    let mut run = Run::master(options());
    run.input(Input::HandOver);
    for second in 4..30 {
        run.to(second * 1_000);
        run.heard(11, 50);
        assert_eq!(run.role(), Role::Backup, "a lower priority is good enough now");
    }
    assert_eq!(roles(&run.to(33_000)), [(Role::Backup, Role::Master, Why::MasterDown)]);
    // From then on its priority counts again.
    run.heard(13, 150);
    run.to(34_000);
    run.heard(11, 50);
    assert_eq!(roles(&run.to(40_000)).len(), 1);
}

#[test]
fn a_hand_over_that_nobody_answers_ends_after_one_and_a_half_intervals() {
    let mut run = Run::master(options());
    run.to(4_000);
    run.input(Input::HandOver);
    assert_eq!(run.input(Input::HandOver), [], "once is enough");
    assert_eq!(
        run.timed_to(5_600),
        [(5_500, Action::Report(Event::NobodyTookOver)), (5_500, Action::Send { priority: OWN })]
    );
    assert_eq!(run.role(), Role::Master);
    assert_eq!(run.to(6_500), [Action::Send { priority: OWN }], "as before");
}

#[test]
fn a_master_that_hands_over_can_be_stopped_and_is_not_moved_by_another_one_that_leaves() {
    let mut run = Run::master(options());
    run.input(Input::HandOver);
    assert_eq!(run.heard(11, LEAVING), []);
    assert_eq!(run.input(Input::Stop)[..2], [Action::Release, Action::Send { priority: LEAVING }]);
}

#[test]
fn only_a_master_hands_over() {
    let mut run = Run::backup(options());
    assert_eq!(run.input(Input::HandOver), []);
    run.to(3_000);
    run.heard(11, 99);
    assert_eq!(roles(&run.to(4_000)).len(), 1, "and a backup's preemption is as before");
}

#[test]
fn a_node_in_maintenance_hands_over_and_stays_away() {
    let mut run = Run::master(options());
    assert_eq!(run.input(Input::Maintenance(true))[0], Action::Send { priority: LEAVING });
    run.heard(11, 50);
    assert_eq!(run.role(), Role::Backup);
    // The other one dies.
    assert_eq!(run.to(60_000), [Action::Report(Event::Held)]);
    assert_eq!(run.machine.due(), None);
    assert_eq!(roles(&run.input(Input::Maintenance(false))), [(Role::Backup, Role::Master, Why::Admitted)]);
}

#[test]
fn maintenance_ends_a_mastership_that_nobody_wants_but_says_so() {
    let mut run = Run::master(options());
    run.to(4_000);
    run.input(Input::Maintenance(true));
    assert_eq!(
        run.timed_to(60_000),
        [
            (5_500, Action::Report(Event::NobodyTookOver)),
            (5_500, Action::Release),
            (5_500, role_change(Role::Master, Role::Backup, Why::Maintenance)),
        ]
    );
    assert_eq!(roles(&run.input(Input::Maintenance(false))), [(Role::Backup, Role::Master, Why::Admitted)]);
}

#[test]
fn after_maintenance_a_node_preempts_as_configured() {
    let mut run = Run::master(options());
    run.input(Input::Maintenance(true));
    run.heard(11, 50);
    run.input(Input::Maintenance(false));
    for second in 4..7 {
        run.to(second * 1_000);
        run.heard(11, 50);
    }
    assert_eq!(roles(&run.to(8_000)), [(Role::Backup, Role::Master, Why::MasterDown)]);
}

#[test]
fn a_closed_gate_holds_back_every_priority_and_lets_go_as_soon_as_it_opens() {
    for priority in [1, OWN, 254] {
        let mut run = Run::new(options(), gated(Pass::Closed, priority));
        run.input(Input::Start);
        assert_eq!(run.to(60_000), [Action::Report(Event::Held)]);
        assert_eq!(run.role(), Role::Backup);
        let opened = run.input(Input::Standing(gated(Pass::Open, priority)));
        assert_eq!(roles(&opened), [(Role::Backup, Role::Master, Why::Admitted)]);
    }
}

#[test]
fn a_closed_gate_holds_back_an_owner_too() {
    let mut run = Run::new(options(), gated(Pass::Closed, OWNER));
    assert_eq!(run.input(Input::Start), [role_change(Role::Init, Role::Backup, Why::Started)]);
    assert_eq!(run.to(10_000), []);
    let opened = run.input(Input::Standing(gated(Pass::Open, OWNER)));
    assert_eq!(roles(&opened), [(Role::Backup, Role::Master, Why::Admitted)]);
}

#[test]
fn behind_a_closed_gate_a_lower_master_is_listened_to_and_preempted_once_it_opens() {
    let mut run = Run::new(options(), gated(Pass::Closed, OWN));
    run.input(Input::Start);
    for second in 0..10 {
        run.to(second * 1_000);
        run.heard(11, 50);
    }
    assert_eq!(run.input(Input::Standing(gated(Pass::Open, OWN))), [], "it lives");
    for second in 10..13 {
        assert_eq!(roles(&run.to(second * 1_000)).len(), 0);
        run.heard(11, 50);
    }
    assert_eq!(roles(&run.to(13_000)), [(Role::Backup, Role::Master, Why::MasterDown)]);
}

#[test]
fn a_node_whose_flows_are_behind_takes_over_from_the_dead_only() {
    let mut run = Run::new(options(), gated(Pass::NoPreempt, OWN));
    run.input(Input::Start);
    for second in 0..10 {
        run.to(second * 1_000);
        run.heard(11, 50);
    }
    assert_eq!(run.role(), Role::Backup);
    assert_eq!(roles(&run.to(13_000)), [(Role::Backup, Role::Master, Why::MasterDown)]);

    let mut owner = Run::new(options(), gated(Pass::NoPreempt, OWNER));
    owner.input(Input::Start);
    assert_eq!(owner.role(), Role::Backup);
    assert_eq!(roles(&owner.to(3_100)), [(Role::Backup, Role::Master, Why::MasterDown)]);
}

#[test]
fn a_gate_that_closes_again_takes_nothing_from_a_master() {
    let mut run = Run::master(options());
    assert_eq!(run.input(Input::Standing(gated(Pass::Closed, OWN))), []);
    assert_eq!(run.role(), Role::Master);
}
