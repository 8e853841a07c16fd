//! Two masters, and hosts that claim an address without being one.

use super::*;

fn ended(last: u8, lasted_ms: u64, at_most_ms: u64) -> Action {
    let [lasted, at_most] = [lasted_ms, at_most_ms].map(Duration::from_millis);
    Action::Report(Event::DualMasterEnded { peer: node(last), lasted, at_most })
}

/// A master since a round second.
fn master() -> Run {
    let mut run = Run::new(options(), Standing { gate: Pass::Closed, ..standing(OWN) });
    run.input(Input::Start);
    run.to(10_000);
    run.input(Input::Standing(standing(OWN)));
    assert_eq!(run.role(), Role::Master);
    run
}

#[test]
fn a_second_master_of_lower_priority_is_reported_told_and_outlived() {
    let mut run = master();
    run.to(20_500);
    assert_eq!(
        run.heard(11, 99),
        [
            Action::Send { priority: OWN },
            Action::Announce { rounds: 2 },
            Action::Report(Event::DualMaster { peer: heard(11, 99) }),
        ]
    );
    run.to(20_600);
    assert_eq!(run.heard(11, 99), [], "it was told just now");
    run.to(21_600);
    assert_eq!(
        run.heard(11, 99),
        [Action::Announce { rounds: 2 }],
        "the advert of 21.5 s has told it, the link is told each second"
    );
    run.to(21_900);
    assert_eq!(run.heard(11, 99), [Action::Send { priority: OWN }]);
    // Silent for the master-down time of the lowest priority.
    let later: Vec<_> =
        run.timed_to(30_000).into_iter().filter(|(_, a)| !matches!(a, Action::Send { .. })).collect();
    let at_most = Duration::from_nanos(15_896_093_750);
    let lasted = Duration::from_millis(1_400);
    let ended = Action::Report(Event::DualMasterEnded { peer: node(11), lasted, at_most });
    assert_eq!(later, [(25_896, ended), (25_896, Action::Announce { rounds: 2 })]);
}

#[test]
fn a_second_master_that_leaves_ends_it_at_once() {
    let mut run = master();
    run.to(20_500);
    run.heard(11, 99);
    run.to(20_700);
    assert_eq!(
        run.heard(11, LEAVING),
        [Action::Send { priority: OWN }, ended(11, 0, 10_700), Action::Announce { rounds: 2 }]
    );
    assert!(!run.to(40_000).iter().any(|action| matches!(action, Action::Report(_))));
}

#[test]
fn several_other_masters_are_told_apart() {
    let mut run = master();
    run.to(20_500);
    run.heard(11, 99);
    run.to(20_550);
    let second = run.heard(10, 98);
    assert!(second.contains(&Action::Report(Event::DualMaster { peer: heard(10, 98) })));
    let ends = run.to(40_000);
    let ends = ends.iter().filter(|action| matches!(action, Action::Report(Event::DualMasterEnded { .. })));
    assert_eq!(ends.count(), 2);
}

#[test]
fn a_master_of_equal_priority_and_higher_address_ends_it_on_this_side() {
    let mut run = master();
    run.to(20_500);
    let actions = run.heard(13, OWN);
    assert_eq!(actions.last(), Some(&ended(13, 0, 10_500)), "both had been master for up to so long");
}

#[test]
fn the_last_adverts_of_a_preempted_master_are_no_second_mastership() {
    let mut run = Run::backup(options());
    for second in 0..=3 {
        run.to(second * 1_000);
        run.heard(11, 99);
    }
    run.to(3_610);
    assert_eq!(run.role(), Role::Master);
    assert_eq!(run.heard(11, 99), []);
    run.to(4_500);
    assert_eq!(run.heard(11, 99), [Action::Send { priority: OWN }], "told, not reported");
    run.to(4_700);
    let actions = run.heard(11, 99);
    assert!(actions.contains(&Action::Report(Event::DualMaster { peer: heard(11, 99) })), "now it is one");
    assert!(!run.heard(10, 99).is_empty(), "nobody had heard of that one");
}

#[test]
fn an_owner_that_starts_is_new_to_everybody() {
    let mut run = Run::new(options(), standing(OWNER));
    run.input(Input::Start);
    run.to(500);
    assert_eq!(run.heard(11, 254), [Action::Send { priority: OWNER }]);
    run.to(1_600);
    assert!(run.heard(11, 254).contains(&Action::Report(Event::DualMaster { peer: heard(11, 254) })));
}

#[test]
fn a_master_with_a_virtual_mac_gives_way_without_a_last_word() {
    let mut run = Run::master(Options { virtual_mac: true, ..options() });
    let why = Why::HigherPriority(heard(11, 150));
    assert_eq!(run.heard(11, 150), [Action::Release, role_change(Role::Master, Role::Backup, why)]);
}

#[test]
fn two_nodes_that_both_take_themselves_for_the_better_one_do_not_flood_the_link() {
    let mut run = master();
    run.to(19_999);
    let mut sent = 0;
    for millisecond in 20_000..21_000 {
        sent += run.to(millisecond).len();
        sent += run.heard(11, 99).iter().filter(|action| matches!(action, Action::Send { .. })).count();
    }
    assert!(sent <= 9, "{sent}");
}

#[test]
fn a_strangers_claim_is_answered_after_an_interval_if_this_is_still_the_master_and_once_in_ten_seconds() {
    let mut run = master();
    run.to(20_500);
    run.input(Input::Claimed);
    let answers = |run: &mut Run, to| {
        let actions = run.timed_to(to).into_iter();
        actions.filter(|(_, action)| !matches!(action, Action::Send { .. })).collect::<Vec<_>>()
    };
    let answer = |at| [(at, Action::Announce { rounds: 1 }), (at, Action::Report(Event::Claimed))];
    assert_eq!(answers(&mut run, 21_600), answer(21_500));
    run.input(Input::Claimed);
    assert_eq!(answers(&mut run, 31_500), []);
    run.input(Input::Claimed);
    run.input(Input::Claimed);
    assert_eq!(answers(&mut run, 40_000), answer(32_500));

    let mut given_way = master();
    given_way.to(20_500);
    given_way.input(Input::Claimed);
    given_way.heard(11, 150);
    assert_eq!(given_way.to(22_000), [], "it was the next master's announcement");
}
