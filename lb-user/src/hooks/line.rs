//! What a hook's teller and its caller share: the queue and the counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::Notify;

use super::queue::{Next, Queue, Tally};
use super::{Event, Hook};

#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    state: Mutex<State>,
    /// There is something new to do.
    pub(super) news: Notify,
}

#[derive(Debug)]
struct State {
    hook: Hook,
    queue: Queue,
    /// A call is under way.
    busy: bool,
    sent: u64,
    failed: u64,
    tries_failed: u64,
    last_failure: Option<(SystemTime, String)>,
    last_sent: Option<SystemTime>,
}

/// How a hook fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub name: String,
    /// As the configuration file calls it.
    pub kind: &'static str,
    /// Calls that were done.
    pub sent: u64,
    /// Calls that were given up.
    pub failed: u64,
    /// Single attempts of calls that failed, those that were made good later among them.
    pub tries_failed: u64,
    /// Events left out for the rate.
    pub limited: u64,
    /// Events left out since the queue was full.
    pub dropped: u64,
    /// Events that wait, one that is being told included.
    pub waiting: u64,
    pub last_sent: Option<SystemTime>,
    /// The last attempt that failed, and why.
    pub last_failure: Option<(SystemTime, String)>,
}

impl Line {
    pub(super) fn new(name: String, hook: Hook, now: Instant) -> Self {
        let state = State {
            queue: Queue::new(hook.limits, now),
            hook,
            busy: false,
            sent: 0,
            failed: 0,
            tries_failed: 0,
            last_failure: None,
            last_sent: None,
        };
        Self { name, state: Mutex::new(state), news: Notify::new() }
    }

    /// Other settings from the next call on.
    pub(super) fn settle(&self, hook: Hook, now: Instant) {
        let mut state = self.state();
        if state.hook.limits != hook.limits {
            state.queue.limit(hook.limits, now);
        }
        state.hook = hook;
        drop(state);
        self.news.notify_one();
    }

    pub(super) fn hook(&self) -> Hook {
        self.state().hook.clone()
    }

    pub(super) fn tell(&self, event: &Arc<Event>, now: Instant) {
        let mut state = self.state();
        if state.hook.wants(event) {
            state.queue.tell(event.clone(), now);
            self.news.notify_one();
        }
    }

    /// What to do now; a call is under way from then on.
    pub(super) fn next(&self, now: Instant) -> Next {
        let mut state = self.state();
        let next = state.queue.next(now);
        state.busy = matches!(next, Next::Call(_));
        next
    }

    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        !state.busy && state.queue.is_empty()
    }

    pub(super) fn was_sent(&self) {
        let mut state = self.state();
        state.sent += 1;
        state.last_sent = Some(SystemTime::now());
    }

    /// An attempt has failed; `given_up`: it was the last one.
    pub(super) fn has_failed(&self, why: &str, given_up: bool) {
        let mut state = self.state();
        state.tries_failed += 1;
        state.failed += u64::from(given_up);
        state.last_failure = Some((SystemTime::now(), why.to_owned()));
    }

    pub(super) fn report(&self) -> Report {
        let state = self.state();
        let Tally { limited, dropped } = state.queue.tally;
        Report {
            name: self.name.clone(),
            kind: state.hook.call.word(),
            sent: state.sent,
            failed: state.failed,
            tries_failed: state.tries_failed,
            limited,
            dropped,
            waiting: state.queue.waiting() as u64 + u64::from(state.busy),
            last_sent: state.last_sent,
            last_failure: state.last_failure.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
