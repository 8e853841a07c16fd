//! What the results of one check of one backend say together: whether the backend is healthy, and when to look again.
//!
//! ```text
//!             one pass (start up), rise passes (start down)
//!          +--------------------------------------------------> healthy --+
//! initial -+                                                     ^        | fall failures in a row
//!          +----------> unhealthy <------------------------------|--------+
//!             fall failures  |                                   |
//!             (start up),    +-----------------------------------+
//!             one (down)             rise passes in a row
//! ```
//!
//! Pure: times and jitter come in with the events, the caller probes and sleeps. A result that says nothing about the backend,
//! such as a lack of sockets on this host, counts neither way.

use std::time::{Duration, Instant};

/// How many results it takes, and how often a backend is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rhythm {
    /// From the begin of one probe to the begin of the next.
    pub interval: Duration,
    /// The same while results contradict the state, or no state is known yet.
    pub fast_interval: Duration,
    /// The same at most while unhealthy: it doubles from `interval` up to this.
    pub down_interval: Duration,
    /// Passes in a row that make a backend healthy; at least 1.
    pub rise: u32,
    /// Failures in a row that make a backend unhealthy; at least 1.
    pub fall: u32,
    /// Whether a backend gets flows before its state is known.
    pub start: Start,
}

impl Default for Rhythm {
    fn default() -> Self {
        let interval = Duration::from_secs(2);
        Self {
            interval,
            fast_interval: interval,
            down_interval: interval,
            rise: 2,
            fall: 3,
            start: Start::Up,
        }
    }
}

/// What a backend is taken for before its state is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Start {
    #[default]
    Up,
    Down,
}

/// What is known of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// There were not enough results yet.
    Initial(Start),
    Healthy,
    Unhealthy,
}

impl State {
    /// Whether flows may be sent to the backend.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Healthy | Self::Initial(Start::Up))
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// It says nothing about the backend.
    Inconclusive,
    /// The backend itself says that it is up: nothing has to confirm that.
    SaidUp,
    /// The backend itself says that it is not to be used.
    SaidDown,
}

/// A probe that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub outcome: Outcome,
    pub began: Instant,
    /// From 0 (none) to [`JITTER_MAX`]: the next interval is shorter by up to a tenth, so that checks that began together
    /// drift apart and none is late.
    pub jitter: u16,
}

/// The most jitter that an event can have.
pub const JITTER_MAX: u16 = u16::MAX;
/// Jitter shortens an interval by at most one in so many parts.
const JITTER_PART: u32 = 10;
/// Doublings of the interval that are counted at most.
const BACK_OFF_MAX: u32 = 16;

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Actions {
    /// The state before, when it has changed.
    pub changed_from: Option<State>,
    /// When the next probe is to begin.
    pub next: Instant,
}

/// The state of one check of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    rhythm: Rhythm,
    state: State,
    /// Results in a row that speak for another state.
    contrary: u32,
    /// Failures since it is unhealthy.
    back_off: u32,
}

impl Machine {
    /// At the beginning, or with the state that an earlier machine had.
    #[must_use]
    pub fn new(rhythm: Rhythm, known: Option<State>) -> Self {
        let state = match known {
            Some(state @ (State::Healthy | State::Unhealthy)) => state,
            Some(State::Initial(_)) | None => State::Initial(rhythm.start),
        };
        Self { rhythm, state, contrary: 0, back_off: 0 }
    }

    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Results in a row that speak for another state, and how many it takes.
    #[must_use]
    pub const fn progress(&self) -> (u32, u32) {
        let needed = match self.state {
            State::Healthy | State::Initial(Start::Up) => self.rhythm.fall,
            State::Unhealthy | State::Initial(Start::Down) => self.rhythm.rise,
        };
        (self.contrary, needed)
    }

    /// When the first probe is to begin: checks that are set up together are spread over an interval.
    #[must_use]
    pub fn first(&self, now: Instant, jitter: u16) -> Instant {
        now + self.interval() * u32::from(jitter) / u32::from(JITTER_MAX)
    }

    /// Takes in a result at the time `now`.
    pub fn on_event(&mut self, event: Event, now: Instant) -> Actions {
        let before = self.state;
        match event.outcome {
            Outcome::Passed => self.count(true),
            Outcome::Failed => self.count(false),
            Outcome::Inconclusive => {}
            Outcome::SaidUp => self.believe(true),
            Outcome::SaidDown => self.believe(false),
        }
        let interval = self.interval();
        let shorter = interval / JITTER_PART * u32::from(event.jitter) / u32::from(JITTER_MAX);
        Actions {
            changed_from: (before != self.state).then_some(before),
            next: (event.began + (interval - shorter)).max(now),
        }
    }

    fn believe(&mut self, up: bool) {
        if up == self.state.is_up() && !matches!(self.state, State::Initial(_)) {
            self.count(up);
        } else {
            self.enter(up, true);
        }
    }

    fn count(&mut self, passed: bool) {
        if passed == self.state.is_up() {
            self.contrary = 0;
            // One result that agrees with what was taken for granted is enough.
            self.enter(passed, matches!(self.state, State::Initial(_)));
            self.back_off = if passed { 0 } else { (self.back_off + 1).min(BACK_OFF_MAX) };
        } else {
            self.contrary += 1;
            let (seen, needed) = self.progress();
            self.enter(passed, seen >= needed);
        }
    }

    fn enter(&mut self, up: bool, enough: bool) {
        if enough {
            self.state = if up { State::Healthy } else { State::Unhealthy };
            self.contrary = 0;
            self.back_off = 0;
        }
    }

    fn interval(&self) -> Duration {
        let Rhythm { interval, fast_interval, down_interval, .. } = self.rhythm;
        match self.state {
            _ if self.contrary > 0 => fast_interval,
            State::Initial(_) => fast_interval,
            State::Healthy => interval,
            State::Unhealthy => interval.saturating_mul(1 << self.back_off).min(down_interval.max(interval)),
        }
    }
}

#[cfg(test)]
mod tests;
