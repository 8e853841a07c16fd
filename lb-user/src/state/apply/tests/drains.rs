use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// Seconds after [`mark`]'s first.
fn second(second: u64) -> SystemTime {
    mark(0).time() + Duration::from_secs(second)
}

fn drain_until(backend: &str, timeout_seconds: Option<u64>, force: bool) -> Change {
    Change::Drain { backend: backend.to_owned(), vip: Some("one".to_owned()), timeout_seconds, force }
}

fn given_up(merged: &Merged) -> BTreeSet<IpAddr> {
    let find = |vip: &&DesiredVip| vip.name == "one";
    merged.desired.vips.values().find(find).unwrap().given_up.clone()
}

/// When the next thing happens, and which flows of `one` are given up, at a time.
fn seen(overlay: &Overlay, now: SystemTime) -> (Option<SystemTime>, Vec<String>) {
    let merged = super::super::merge(&config(), overlay, now);
    (merged.next_deadline, given_up(&merged).iter().map(IpAddr::to_string).collect())
}

#[test]
fn flows_are_given_up_at_the_deadline_of_a_forced_drain_and_not_before() {
    let overlay = overlay(&config(), &[drain_until("a", Some(300), true)]);
    let nothing: Vec<String> = Vec::new();
    assert_eq!(seen(&overlay, second(0)), (Some(second(300)), nothing.clone()));
    assert_eq!(seen(&overlay, second(299)), (Some(second(300)), nothing));
    assert_eq!(seen(&overlay, second(300)), (None, vec!["10.0.0.1".to_owned()]));
}

#[test]
fn force_alone_gives_flows_up_at_once_and_a_timeout_alone_never_does() {
    let forced = overlay(&config(), &[drain_until("a", None, true)]);
    assert_eq!(seen(&forced, second(0)), (None, vec!["10.0.0.1".to_owned()]));
    let patient = overlay(&config(), &[drain_until("a", Some(1), false)]);
    assert_eq!(seen(&patient, second(1000)), (None, Vec::new()));
}

#[test]
fn the_next_deadline_is_the_first_that_is_ahead() {
    let changes = [drain_until("a", Some(10), true), drain_until("b", Some(20), true)];
    let overlay = overlay(&config(), &changes);
    assert_eq!(seen(&overlay, second(0)).0, Some(second(10)));
    let (next, given_up) = seen(&overlay, second(15));
    assert_eq!(
        (next, given_up),
        (Some(second(21)), vec!["10.0.0.1".to_owned()]),
        "b was drained a second later"
    );
}

#[test]
fn a_drain_that_says_nothing_of_deadlines_leaves_them_and_one_that_does_begins_anew() {
    let plain = overlay(&config(), &[drain_until("a", Some(300), true), drain("a", None)]);
    assert_eq!(seen(&plain, second(0)).0, Some(second(300)));
    let again = overlay(&config(), &[drain_until("a", Some(300), true), drain_until("a", Some(60), true)]);
    assert_eq!(seen(&again, second(0)).0, Some(second(61)));
    let kept = overlay(&config(), &[drain("a", None), drain_until("a", None, true)]);
    assert_eq!(seen(&kept, second(1)).1, ["10.0.0.1"]);
}

#[test]
fn an_undrained_or_removed_backend_gives_nothing_up() {
    for end in [undrain("a", None), remove("a", None)] {
        let overlay = overlay(&config(), &[drain_until("a", Some(5), true), end]);
        assert_eq!(seen(&overlay, second(1000)), (None, Vec::new()));
    }
}

#[test]
fn a_backend_that_is_removed_by_force_gives_its_flows_up_once() {
    let force = |backend: &str| Change::Remove { backend: backend.to_owned(), vip: None, force: true };
    let added = overlay(&config(), &[add("two", "x", Some("10.0.0.9"), None)]);
    let changed = added.apply(&force("x"), &mark(1), &config()).unwrap();
    assert_eq!(changed.given_up, [("[2001:db8::1]:0/udp".parse().unwrap(), "10.0.0.9".parse().unwrap())]);
    assert!(changed.overlay.is_empty(), "nothing is left to remember");
    let both = Overlay::default().apply(&force("b"), &mark(1), &config()).unwrap();
    assert_eq!(both.given_up.len(), 2, "in both vips");
    let plain = Overlay::default().apply(&remove("b", None), &mark(1), &config()).unwrap();
    assert!(plain.given_up.is_empty());
}

#[test]
fn what_is_left_of_a_backend_that_was_removed_can_be_given_up_later() {
    let force = |vip: Option<&str>| {
        let vip = vip.map(str::to_owned);
        Change::Remove { backend: "b".to_owned(), vip, force: true }
    };
    let removed = overlay(&config(), &[remove("b", Some("one"))]);
    assert!(removed.apply(&remove("b", Some("one")), &mark(1), &config()).is_err(), "it is gone already");
    let changed = removed.apply(&force(Some("one")), &mark(1), &config()).unwrap();
    assert_eq!(changed.given_up, [("192.0.2.1:80/tcp".parse().unwrap(), "10.0.0.2".parse().unwrap())]);
    assert!(changed.notes.is_empty(), "{:?}", changed.notes);
    assert!(removed.apply(&force(Some("two")), &mark(1), &config()).unwrap().given_up.len() == 1);
    let never = Change::Remove { backend: "c".to_owned(), vip: Some("one".to_owned()), force: true };
    assert!(removed.apply(&never, &mark(1), &config()).is_err(), "the vip never had it");
}
