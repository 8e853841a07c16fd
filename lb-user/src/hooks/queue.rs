//! What a hook still has to tell, and what it leaves out: a token bucket where events come in, and a bounded queue behind it.
//!
//! Without a token an event is left out; in a full queue the oldest one is, since what comes later says how things are now.
//! For all that is left out in a row there is one mark in its place, which becomes one call: "N events left out". A mark for
//! want of tokens takes one itself before it is told, and what comes before that is added to it. So the last thing a
//! receiver hears is always how it ended. Pure: times come in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Event;

/// How much a hook tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls a minute in the long run; 0: as many as there are events.
    pub per_minute: u32,
    /// Calls at once; at least 1.
    pub burst: u32,
    /// Events that wait at most; at least 1.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_minute: 60, burst: 60, waiting: 256 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Queue {
    limits: Limits,
    tokens: f64,
    filled: Instant,
    items: VecDeque<Item>,
    /// How many of `items` are events.
    events: usize,
    pub(super) tally: Tally,
}

/// What never became a call of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// For want of tokens.
    pub(super) limited: u64,
    /// For want of room.
    pub(super) dropped: u64,
}

#[derive(Clone, Debug)]
enum Item {
    Event(Arc<Event>),
    LeftOut {
        count: u64,
        last: Arc<Event>,
        /// It has its token.
        paid: bool,
    },
}

/// What the caller does next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    Call(Arc<Event>),
    /// There may be something to do at that time.
    Wait(Instant),
    Nothing,
}

impl Queue {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        let tokens = f64::from(limits.burst);
        Self { limits, tokens, filled: now, items: VecDeque::new(), events: 0, tally: Tally::default() }
    }

    /// Other limits from now on.
    pub(super) fn limit(&mut self, limits: Limits, now: Instant) {
        self.fill(now);
        if limits.burst > self.limits.burst {
            self.tokens += f64::from(limits.burst - self.limits.burst);
        }
        self.tokens = self.tokens.min(f64::from(limits.burst));
        self.limits = limits;
        self.make_room();
    }

    /// Events that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.events
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn tell(&mut self, event: Arc<Event>, now: Instant) {
        self.fill(now);
        // A mark at the end is told before this event.
        let owed = usize::from(matches!(self.items.back(), Some(Item::LeftOut { paid: false, .. })));
        if !self.has_tokens(1 + owed as u32) {
            self.tally.limited += 1;
            match self.items.back_mut() {
                Some(Item::LeftOut { count, last, .. }) => (*count, *last) = (*count + 1, event),
                _ => self.items.push_back(Item::LeftOut { count: 1, last: event, paid: false }),
            }
            return;
        }
        if let Some(Item::LeftOut { paid, .. }) = self.items.back_mut() {
            *paid = true;
        }
        self.take_tokens(1 + owed as u32);
        self.items.push_back(Item::Event(event));
        self.events += 1;
        self.make_room();
    }

    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.fill(now);
        match self.items.front() {
            None => Next::Nothing,
            Some(Item::LeftOut { paid: false, .. }) if !self.has_tokens(1) => {
                Next::Wait(self.next_token(now))
            }
            Some(_) => self.pop(),
        }
    }

    fn pop(&mut self) -> Next {
        match self.items.pop_front() {
            None => Next::Nothing,
            Some(Item::Event(event)) => {
                self.events -= 1;
                Next::Call(event)
            }
            Some(Item::LeftOut { count, last, paid }) => {
                if !paid {
                    self.take_tokens(1);
                }
                Next::Call(Arc::new(Event::left_out(count, &last)))
            }
        }
    }

    /// Leaves out the oldest events beyond the bound, with one mark for all of them.
    fn make_room(&mut self) {
        let mut gone = Mark::default();
        while self.events > self.limits.waiting || gone.is_followed_by(self.items.front()) {
            match self.items.pop_front() {
                Some(Item::Event(event)) => {
                    self.events -= 1;
                    self.tally.dropped += 1;
                    // It has left its token.
                    gone.add(1, event, true);
                }
                Some(Item::LeftOut { count, last, paid }) => gone.add(count, last, paid),
                None => break,
            }
        }
        if let Mark { count, last: Some(last), paid } = gone {
            self.items.push_front(Item::LeftOut { count, last, paid });
        }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        let more = since * f64::from(self.limits.per_minute) / 60.0;
        self.tokens = (self.tokens + more).min(f64::from(self.limits.burst));
    }

    fn has_tokens(&self, count: u32) -> bool {
        // A hair below a whole one is a rounding error.
        self.limits.per_minute == 0 || self.tokens + 1e-6 >= f64::from(count)
    }

    fn take_tokens(&mut self, count: u32) {
        if self.limits.per_minute != 0 {
            self.tokens = (self.tokens - f64::from(count)).max(0.0);
        }
    }

    fn next_token(&self, now: Instant) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0) * 60.0 / f64::from(self.limits.per_minute.max(1));
        now + Duration::from_secs_f64(missing) + Duration::from_millis(1)
    }
}

/// What is left out in a row.
#[derive(Default)]
struct Mark {
    count: u64,
    last: Option<Arc<Event>>,
    paid: bool,
}

impl Mark {
    fn add(&mut self, count: u64, last: Arc<Event>, paid: bool) {
        self.count += count;
        self.last = Some(last);
        self.paid |= paid;
    }

    /// Two marks in a row are one.
    fn is_followed_by(&self, item: Option<&Item>) -> bool {
        self.last.is_some() && matches!(item, Some(Item::LeftOut { .. }))
    }
}

#[cfg(test)]
mod tests;
