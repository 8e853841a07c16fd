//! Courses of events with what always holds, and the rules one by one.

use std::time::SystemTime;

use proptest::prelude::*;

use super::super::{Field, Kind, Value};
use super::*;

fn event(number: u64) -> Arc<Event> {
    let event = Event::new(Kind::BackendUp, SystemTime::UNIX_EPOCH, number.to_string());
    Arc::new(event.with(Field::Count, number))
}

/// What a call says: an event by its number, or how many were left out and the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Event(u64),
    LeftOut(u64, String),
}

fn said(next: Next) -> Option<Said> {
    let Next::Call(event) = next else { return None };
    let Some(Value::Number(number)) = event.values.get(&Field::Count) else { panic!("{event:?}") };
    Some(match event.kind {
        Kind::LeftOut => Said::LeftOut(*number, event.text.rsplit(' ').next().unwrap_or_default().to_owned()),
        _ => Said::Event(*number),
    })
}

fn all(queue: &mut Queue, now: Instant) -> Vec<Said> {
    std::iter::from_fn(|| said(queue.next(now))).collect()
}

fn left_out(count: u64, last: u64) -> Said {
    Said::LeftOut(count, last.to_string())
}

#[test]
fn beyond_the_burst_events_become_one_message_when_there_is_a_token_again() {
    let start = Instant::now();
    let mut queue = Queue::new(Limits { per_minute: 6, burst: 2, waiting: 10 }, start);
    (1..=5).for_each(|number| queue.tell(event(number), start));
    assert_eq!(all(&mut queue, start), [Said::Event(1), Said::Event(2)]);
    let Next::Wait(due) = queue.next(start) else { panic!("no wait") };
    assert!(due > start + Duration::from_secs(9) && due < start + Duration::from_secs(11));
    queue.tell(event(6), start + Duration::from_secs(5));
    assert_eq!(all(&mut queue, due), [left_out(4, 6)]);
    assert_eq!((queue.tally, queue.next(due)), (Tally { limited: 4, dropped: 0 }, Next::Nothing));
    queue.tell(event(7), due + Duration::from_secs(10));
    assert_eq!(all(&mut queue, due + Duration::from_secs(10)), [Said::Event(7)]);
}

#[test]
fn a_busy_receiver_hears_what_was_left_out_before_what_came_later() {
    let start = Instant::now();
    let mut queue = Queue::new(Limits { per_minute: 60, burst: 2, waiting: 10 }, start);
    (1..=4).for_each(|number| queue.tell(event(number), start));
    let later = start + Duration::from_secs(60);
    queue.tell(event(5), later);
    assert_eq!(all(&mut queue, later), [Said::Event(1), Said::Event(2), left_out(2, 4), Said::Event(5)]);
}

#[test]
fn a_full_queue_leaves_out_the_oldest() {
    let start = Instant::now();
    let mut queue = Queue::new(Limits { per_minute: 0, burst: 1, waiting: 3 }, start);
    (1..=9).for_each(|number| queue.tell(event(number), start));
    assert_eq!(queue.waiting(), 3);
    assert_eq!(all(&mut queue, start), [left_out(6, 6), Said::Event(7), Said::Event(8), Said::Event(9)]);
    assert_eq!(queue.tally, Tally { limited: 0, dropped: 6 });
}

#[test]
fn what_waits_stays_when_limits_change_as_far_as_there_is_room() {
    let start = Instant::now();
    let mut queue = Queue::new(Limits { per_minute: 0, burst: 1, waiting: 9 }, start);
    (1..=4).for_each(|number| queue.tell(event(number), start));
    queue.limit(Limits { per_minute: 0, burst: 1, waiting: 2 }, start);
    assert_eq!(all(&mut queue, start), [left_out(2, 2), Said::Event(3), Said::Event(4)]);
}

#[derive(Clone, Debug)]
enum Step {
    Tell,
    Next,
    Pass(u64),
    Limit(Limits),
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..=120u32, 1..=5u32, 1..=6usize).prop_map(|(per_minute, burst, waiting)| Limits {
        per_minute,
        burst,
        waiting,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Tell),
        3 => Just(Step::Next),
        2 => (0..5_000u64).prop_map(Step::Pass),
        1 => limits().prop_map(Step::Limit),
    ]
}

proptest! {
    #[test]
    fn every_event_is_told_or_counted_in_order_within_the_bounds(
        first in limits(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let (mut limits, mut now) = (first, Instant::now());
        let mut queue = Queue::new(first, now);
        let (mut told, mut calls) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Tell => {
                    told += 1;
                    queue.tell(event(told), now);
                }
                Step::Next => calls.extend(said(queue.next(now))),
                Step::Pass(millis) => now += Duration::from_millis(millis),
                Step::Limit(other) => {
                    limits = other;
                    queue.limit(other, now);
                }
            }
            prop_assert!(queue.waiting() <= limits.waiting);
            prop_assert!(queue.items.len() <= 2 * limits.waiting + 1, "marks stand between events");
        }
        // A long time later there is a token for each mark.
        for _ in 0..20 {
            now += Duration::from_secs(3600);
            calls.extend(all(&mut queue, now));
            queue.limit(Limits { per_minute: 60, ..limits }, now);
        }
        prop_assert!(queue.is_empty());
        let mut heard = 0;
        for call in &calls {
            heard = match call {
                Said::Event(number) => { prop_assert_eq!(*number, heard + 1); *number }
                Said::LeftOut(count, last) => { prop_assert_eq!(last, &(heard + count).to_string()); heard + count }
            };
        }
        prop_assert_eq!(heard, told, "{:?}", calls);
        let counted: u64 = calls.iter().map(|call| if let Said::LeftOut(count, _) = call { *count } else { 0 }).sum();
        prop_assert_eq!(counted, queue.tally.limited + queue.tally.dropped);
    }
}
