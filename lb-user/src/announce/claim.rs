//! One address on one interface: ask, take, announce, and what another host's answer means. Pure.
//!
//! ```text
//!            ready                    1 s of silence          (Address: the kernel has it)
//!  Waiting ─────────> Probing ───────────────────────> Adding ───────────────> Owned ──┐ announces
//!     ^               ^    │ another host answers      (Address only)           │  ^   │ 0 s, 1 s, 5 s, then
//!     │ interface     │    v                              │ duplicate            │  └───┘ every 60 s
//!     │ goes down     └─ Conflict <───────────────────────┴──────────────────────┘
//!  (any state)      30 s
//! ```
//!
//! What is owned is kept: another host that claims the address is answered by an announcement, one in ten seconds (RFC 5227
//! 2.4, for addresses that must not be given up). Addresses that elections are about are [`super::elected`]'s.
//!
//! An address that the kernel has already (from before a restart, or put there by somebody else) is owned without being
//! asked for.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::state::MacAddress;

/// After each question whether somebody has the address: so long for an answer. Three in a second, where RFC 5227 2.1.1
/// takes up to seven seconds and RFC 4862 5.4 asks once and waits for one.
const PROBE_PAUSES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(300), Duration::from_millis(400)];
/// After the first announcements: again, since neighbours may have missed them while a switch's port came up.
const ANNOUNCE_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// How often an address is announced for as long as it is owned, for switches that forget.
const REFRESH: Duration = Duration::from_secs(60);
/// Between two announcements against a host that claims an owned address (RFC 5227 2.4, `DEFEND_INTERVAL`).
const DEFEND_PAUSE: Duration = Duration::from_secs(10);
/// When an address that another host has is asked for again (RFC 5227 2.1.1 has `RATE_LIMIT_INTERVAL` 60 s).
const CONFLICT_PAUSE: Duration = Duration::from_secs(30);
/// The kernel's own duplicate address detection takes a second (RFC 4862 5.1); after so long, it is asked again.
const ADD_TIME: Duration = Duration::from_secs(5);
/// When an address that the kernel refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// An address on an interface, on its way to being owned.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// The kernel has to have the address ([`crate::state::Announce::Address`]).
    kernel_owns: bool,
    /// When the address was last defended.
    defended: Option<Instant>,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For this reason nothing can be sent, until something else happens.
    Waiting(String),
    Probing {
        asked: usize,
        due: Instant,
    },
    /// The kernel was told to take the address.
    Adding {
        since: Instant,
    },
    /// The kernel does not take the address.
    Refused {
        since: Instant,
        reason: String,
    },
    /// Another host has it; its MAC address is known unless the kernel noticed by itself.
    Conflict {
        since: Instant,
        mac: Option<MacAddress>,
    },
    Owned {
        announced: usize,
        due: Instant,
    },
}

/// What happens to an address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The interface can be used, and this is what the kernel says of the address.
    Ready(Presence),
    /// The interface cannot be used any more.
    Lost(String),
    /// The interface has another MAC address.
    MacChanged,
    /// Time has passed.
    Tick,
    /// Another host has the address, or is about to.
    Heard(MacAddress),
    /// Another host claims the address, which may be owned here.
    Claimed,
    /// What the kernel says of the address has changed.
    Kernel(Presence),
    /// The kernel refused to add it.
    Refused(String),
}

/// An address on an interface as the kernel sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    #[default]
    Absent,
    Tentative,
    Usable,
    /// Found to be another host's by the kernel's duplicate address detection.
    Duplicate,
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask whether another host has the address.
    Probe,
    Announce,
    /// Announce once more against another host's claim.
    Defend,
    /// Give the address to the kernel.
    Add,
    /// Take the address from the kernel.
    Remove,
}

impl Machine {
    pub(super) fn new(kernel_owns: bool) -> Self {
        Self { kernel_owns, defended: None, state: State::Waiting("not looked at yet".to_owned()) }
    }

    /// When [`Event::Tick`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(_) => None,
            State::Probing { due, .. } | State::Owned { due, .. } => Some(*due),
            State::Adding { since, .. } => Some(*since + ADD_TIME),
            State::Refused { since, .. } => Some(*since + REFUSED_PAUSE),
            State::Conflict { since, .. } => Some(*since + CONFLICT_PAUSE),
        }
    }

    pub(super) fn on_event(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Ready(kernel) => self.begin(kernel, now),
            Event::Lost(reason) => {
                self.state = State::Waiting(reason);
                Vec::new()
            }
            Event::MacChanged if matches!(self.state, State::Owned { .. }) => self.own(now),
            Event::MacChanged => Vec::new(),
            Event::Tick if self.due().is_some_and(|due| due <= now) => self.tick(now),
            Event::Tick => Vec::new(),
            Event::Heard(mac) => match self.state {
                State::Probing { .. } => self.conflict(Some(mac), now),
                _ => Vec::new(),
            },
            Event::Claimed => self.claimed(now),
            Event::Kernel(presence) => self.kernel_says(presence, now),
            Event::Refused(reason) => {
                if matches!(self.state, State::Adding { .. }) {
                    self.state = State::Refused { since: now, reason };
                }
                Vec::new()
            }
        }
    }

    fn begin(&mut self, kernel: Presence, now: Instant) -> Vec<Action> {
        match (self.kernel_owns, kernel) {
            (true, Presence::Usable) => self.own(now),
            (true, Presence::Tentative) => {
                self.state = State::Adding { since: now };
                Vec::new()
            }
            (true, Presence::Duplicate) => self.conflict(None, now),
            _ => self.probe(now),
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Probing { asked, due } if *asked < PROBE_PAUSES.len() => {
                *due = now + PROBE_PAUSES[*asked];
                *asked += 1;
                vec![Action::Probe]
            }
            State::Probing { .. } if self.kernel_owns => self.add(now),
            State::Probing { .. } => self.own(now),
            State::Adding { .. } => self.add(now),
            State::Refused { .. } | State::Conflict { .. } => self.probe(now),
            State::Owned { announced, due } => {
                *due = now + ANNOUNCE_PAUSES.get(*announced).copied().unwrap_or(REFRESH);
                *announced += 1;
                vec![Action::Announce]
            }
            State::Waiting(_) => Vec::new(),
        }
    }

    fn claimed(&mut self, now: Instant) -> Vec<Action> {
        let lately = self.defended.is_some_and(|before| now < before + DEFEND_PAUSE);
        if lately || !matches!(self.state, State::Owned { .. }) {
            return Vec::new();
        }
        self.defended = Some(now);
        vec![Action::Defend]
    }

    fn kernel_says(&mut self, presence: Presence, now: Instant) -> Vec<Action> {
        let idle = matches!(self.state, State::Waiting(_));
        let owned = matches!(self.state, State::Owned { .. });
        match presence {
            _ if idle || !self.kernel_owns => Vec::new(),
            Presence::Usable if owned => Vec::new(),
            Presence::Usable => self.own(now),
            // Somebody took it away: it is ours to have.
            Presence::Absent if owned => self.probe(now),
            Presence::Tentative if owned => {
                self.state = State::Adding { since: now };
                Vec::new()
            }
            Presence::Duplicate if !matches!(self.state, State::Conflict { .. }) => self.conflict(None, now),
            _ => Vec::new(),
        }
    }

    fn probe(&mut self, now: Instant) -> Vec<Action> {
        self.state = State::Probing { asked: 1, due: now + PROBE_PAUSES[0] };
        vec![Action::Probe]
    }

    fn add(&mut self, now: Instant) -> Vec<Action> {
        self.state = State::Adding { since: now };
        vec![Action::Add]
    }

    fn own(&mut self, now: Instant) -> Vec<Action> {
        self.state = State::Owned { announced: 1, due: now + ANNOUNCE_PAUSES[0] };
        vec![Action::Announce]
    }

    fn conflict(&mut self, mac: Option<MacAddress>, now: Instant) -> Vec<Action> {
        self.state = State::Conflict { since: now, mac };
        // A duplicate stays in the kernel's list, of no use to anybody.
        if self.kernel_owns && mac.is_none() { vec![Action::Remove] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests;
