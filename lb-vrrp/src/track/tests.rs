use proptest::prelude::*;

use super::*;

fn tracked(kind: Kind, weight: i16, reading: Reading) -> Tracked {
    Tracked { kind, name: "it".to_owned(), weight, reading }
}

fn script(weight: i16, reading: Reading) -> Tracked {
    tracked(Kind::Script, weight, reading)
}

fn file(weight: i16, number: i64) -> Tracked {
    tracked(Kind::File, weight, Reading::Number(number))
}

/// The priority, or nothing in fault.
fn of(configured: u8, tracked: &[Tracked]) -> Option<u8> {
    let evaluation = evaluate(configured, tracked);
    (!evaluation.is_fault()).then_some(evaluation.priority)
}

#[test]
fn a_positive_weight_is_added_while_up_a_negative_one_subtracted_while_down_and_zero_is_a_fault() {
    use Reading::{Down, Up};
    assert_eq!(of(100, &[script(20, Up)]), Some(120));
    assert_eq!(of(100, &[script(20, Down)]), Some(100));
    assert_eq!(of(100, &[script(-20, Up)]), Some(100));
    assert_eq!(of(100, &[script(-20, Down)]), Some(80));
    assert_eq!(of(100, &[script(0, Up)]), Some(100));
    assert_eq!(of(100, &[script(0, Down)]), None);
}

#[test]
fn a_number_is_multiplied_and_with_weight_zero_a_fault_unless_zero() {
    assert_eq!(of(100, &[file(2, 10)]), Some(120));
    assert_eq!(of(100, &[file(2, -10)]), Some(80));
    assert_eq!(of(100, &[file(-2, 10)]), Some(80));
    assert_eq!(of(100, &[file(0, 0)]), Some(100));
    assert_eq!(of(100, &[file(0, 1)]), None);
    assert_eq!(of(100, &[file(1, -253)]), Some(1));
    assert_eq!(of(100, &[file(1, -254)]), None);
    assert_eq!(of(100, &[file(253, i64::MAX)]), Some(254));
    assert_eq!(of(100, &[file(253, i64::MIN)]), None);
}

#[test]
fn the_sum_is_cut_only_at_the_end() {
    use Reading::{Down, Up};
    assert_eq!(of(100, &[script(253, Up), script(-253, Down)]), Some(100));
    assert_eq!(of(100, &[script(253, Up)]), Some(254));
    assert_eq!(of(100, &[script(-253, Down)]), Some(1));
}

#[test]
fn an_owner_keeps_its_priority_but_can_be_in_fault() {
    use Reading::{Down, Up};
    assert_eq!(of(OWNER, &[script(-100, Down), script(100, Up), file(-1, 200)]), Some(OWNER));
    assert_eq!(of(OWNER, &[script(0, Down)]), None);
}

#[test]
fn an_evaluation_says_what_counted() {
    let evaluation = evaluate(
        100,
        &[
            tracked(Kind::Interface, 0, Reading::Down),
            tracked(Kind::Fitness, 5, Reading::Up),
            tracked(Kind::Backends, -7, Reading::Down),
            script(9, Reading::Down),
        ],
    );
    assert_eq!(evaluation.faults, [(Kind::Interface, "it".to_owned())]);
    assert_eq!(
        evaluation.parts,
        [(Kind::Fitness, "it".to_owned(), 5), (Kind::Backends, "it".to_owned(), -7)]
    );
    assert_eq!(evaluation.priority, 98);
}

#[test]
fn a_script_rises_and_falls_after_so_many_results_in_a_row_and_the_first_one_counts_at_once() {
    let mut script = Hysteresis::new(3, 2);
    assert_eq!((script.reading(), script.is_known()), (Reading::Down, false));
    let mut readings = |results: &str| -> String {
        let read = |result| match script.on_result(result == '+') {
            Reading::Up => '+',
            _ => '-',
        };
        results.chars().map(read).collect()
    };
    assert_eq!(readings("++-+--"), "+++++-");
    assert_eq!(readings("++-++++"), "-----++");
}

#[test]
fn zero_results_in_a_row_are_one() {
    let mut script = Hysteresis::new(0, 0);
    script.on_result(true);
    assert_eq!(script.on_result(true), Reading::Up);
    assert_eq!(script.on_result(false), Reading::Down);
}

proptest! {
    #[test]
    fn only_an_owner_has_255_and_nobody_less_than_1(
        configured in 1..=255_u8,
        parts in proptest::collection::vec((-253..=253_i16, any::<Option<bool>>(), any::<i64>()), 0..8),
    ) {
        let tracked: Vec<Tracked> = parts
            .into_iter()
            .map(|(weight, up, number)| {
                let reading = match up {
                    Some(true) => Reading::Up,
                    Some(false) => Reading::Down,
                    None => Reading::Number(number),
                };
                script(weight, reading)
            })
            .collect();
        let priority = evaluate(configured, &tracked).priority;
        prop_assert_eq!(priority == OWNER, configured == OWNER);
        prop_assert!(priority >= 1);
    }
}
