//! One virtual router on this node: the election of RFC 9568 6.4 and RFC 3768 6.4, with what keepalived adds to it, and
//! the leases of fencing. Decides which role this node has; never sends, owns or waits itself.
//!
//! ```text
//!          start                     master-down, or skew after priority 0
//!  Init ──────────> Backup ───────────────────────────────────────────────────> Master
//!   ^  └─ owner ──────│─^──────────────────────────────────────────────────────> │ │ ^
//!   │                 │ └── higher priority · equal and higher address ──────────┘ │ │ hand-over unanswered
//!   │ stop            │     handed over · lease lapsed · group                     └─┘
//!   └── any state     │ fault                                                      │ fault: priority 0
//!                     └────────────────────────> Fault <───────────────────────────┘
//!                                                  └── over: as start
//! ```
//!
//! What is not in the RFCs:
//! - A backup that may not become master ([`crate::gate`], maintenance) stays one when its timer has run out, and becomes
//!   master as soon as it may, unless a master was heard meanwhile. While it may not, any master is good enough.
//! - A hand-over sends priority 0 but keeps the addresses until another master is heard, so nobody is without an answer in
//!   between. When nobody takes over in one and a half intervals (every skew is shorter than one), the master goes on.
//! - A master whose lease has lapsed (its daemon stood still) does not send another advert. It listens for an interval and
//!   its skew as a backup: if another node has taken over, it is heard in that time.
//! - A master that steps down before another one sends its own advert once more, after it has let go: the other one need
//!   never have heard of it, and announces the addresses anew now. Not with a virtual MAC address: neighbours' tables are
//!   right then, and the frame would lead switches astray.
#![forbid(unsafe_code)]

mod backup;
mod event;
mod master;

use crate::Moment;
use crate::announce::Schedule;
use crate::gate::Pass;
use crate::wire::{Interval, OWNER, Version};
use backup::{Backup, Wait};
use master::Master;
use std::time::Duration;

pub use event::{Action, Event, Heard, Input, Order, Role, Standing, Why};

/// What is configured of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    pub version: Version,
    pub interval: Interval,
    pub preempt: Preempt,
    /// The addresses are owned for three intervals at a time ([`crate::lease`]).
    pub fencing: bool,
    /// The addresses are at the virtual MAC address (RFC 9568 7.3), whoever is master.
    pub virtual_mac: bool,
    pub announce: Schedule,
}

/// Whether a backup takes over from a living master of lower priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preempt {
    #[default]
    Now,
    /// keepalived's `preempt_delay`: so long after the first advert of such a master.
    After(Duration),
    /// keepalived's `nopreempt`.
    Never,
}

/// A virtual router on this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    options: Options,
    standing: Standing,
    maintenance: bool,
    /// It has handed over and leaves the addresses with the other node until that one fails.
    handed_over: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Init,
    Fault,
    Backup(Backup),
    Master(Master),
}

impl Machine {
    #[must_use]
    pub const fn new(options: Options, standing: Standing) -> Self {
        Self { options, standing, maintenance: false, handed_over: false, state: State::Init }
    }

    #[must_use]
    pub const fn role(&self) -> Role {
        match self.state {
            State::Init => Role::Init,
            State::Fault => Role::Fault,
            State::Backup(_) => Role::Backup,
            State::Master(_) => Role::Master,
        }
    }

    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    #[must_use]
    pub const fn in_maintenance(&self) -> bool {
        self.maintenance
    }

    /// The master that this backup listens to.
    #[must_use]
    pub const fn listens_to(&self) -> Option<Heard> {
        match &self.state {
            State::Backup(backup) => backup.master,
            _ => None,
        }
    }

    /// Whether this master waits for another one to take over.
    #[must_use]
    pub const fn is_handing_over(&self) -> bool {
        matches!(&self.state, State::Master(master) if master.handing_over())
    }

    /// Until when the kernel may answer for the addresses, for a master with fencing.
    #[must_use]
    pub const fn lease(&self) -> Option<Moment> {
        match &self.state {
            State::Master(master) => master.lease(),
            _ => None,
        }
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        match &self.state {
            State::Init | State::Fault => None,
            State::Backup(backup) => backup.due(&self.options, self.standing.priority),
            State::Master(master) => master.due(),
        }
    }

    pub fn on_input(&mut self, input: Input, now: Moment) -> Vec<Action> {
        // Whatever comes first after a standstill: this node is not the master that it took itself for.
        let mut actions = self.lapse(now);
        actions.extend(match input {
            Input::Start if self.role() == Role::Init => self.begin(Why::Started, now),
            Input::Start => Vec::new(),
            Input::Stop => self.leave(State::Init, Why::Stopped),
            Input::Heard(heard) => match self.state {
                State::Init | State::Fault => Vec::new(),
                State::Backup(_) => self.heard_as_backup(heard, now),
                State::Master(_) => self.heard_as_master(heard, now),
            },
            Input::Tick => match self.state {
                State::Init | State::Fault => Vec::new(),
                State::Backup(_) => self.tick_as_backup(now),
                State::Master(_) => self.tick_as_master(now),
            },
            Input::Standing(standing) => self.stand(standing, now),
            Input::NotSent => {
                if let State::Master(master) = &mut self.state {
                    master.not_sent();
                }
                self.lapse(now)
            }
            Input::HandOver => self.hand_over(now),
            Input::Maintenance(on) => {
                self.maintenance = on;
                if on { self.hand_over(now) } else { self.admit(now) }
            }
            Input::Claimed => {
                if let State::Master(master) = &mut self.state {
                    master.claimed(&self.options, now);
                }
                Vec::new()
            }
            Input::Group(order) => self.follow(order, now),
            Input::Options(options) => self.set_options(options, now),
        });
        actions
    }

    fn set_options(&mut self, options: Options, now: Moment) -> Vec<Action> {
        let before = std::mem::replace(&mut self.options, options);
        let priority = self.standing.priority;
        match &mut self.state {
            State::Init | State::Fault => Vec::new(),
            State::Backup(backup) => {
                backup.follow_options(&before, &options);
                Vec::new()
            }
            State::Master(master) => master.follow_options(&before, &options, priority, now),
        }
    }

    /// The startup event (RFC 9568 6.4.1), also after a fault.
    fn begin(&mut self, why: Why, now: Moment) -> Vec<Action> {
        let from = self.role();
        if self.standing.fault {
            self.state = State::Fault;
            return vec![Action::Report(Event::Role { from, to: Role::Fault, why: Why::Fault })];
        }
        let owner = self.standing.priority == OWNER;
        if owner && self.may_lead() && self.standing.gate == Pass::Open {
            return self.become_master(Why::Owner, now);
        }
        let mut backup = Backup::new(self.options.interval, Wait::MasterDown, now);
        // An owner waits for nobody but its own gate.
        backup.overdue = owner && !self.may_lead();
        self.state = State::Backup(backup);
        vec![Action::Report(Event::Role { from, to: Role::Backup, why })]
    }

    /// The shutdown event, or a fault.
    fn leave(&mut self, state: State, why: Why) -> Vec<Action> {
        let from = self.role();
        self.state = state;
        let to = self.role();
        let mut actions = Vec::new();
        if from == Role::Master {
            // keepalived sends first. With a short skew, the next master could be there before this one has let go.
            actions.extend([Action::Release, Action::Send { priority: crate::wire::LEAVING }]);
        }
        if to == Role::Init {
            self.handed_over = false;
        }
        if from != to {
            actions.push(Action::Report(Event::Role { from, to, why }));
        }
        actions
    }

    fn stand(&mut self, standing: Standing, now: Moment) -> Vec<Action> {
        self.standing = standing;
        match (self.role(), standing.fault) {
            (Role::Init, _) | (Role::Fault, true) | (Role::Master, false) => Vec::new(),
            (Role::Backup | Role::Master, true) => self.leave(State::Fault, Why::Fault),
            (Role::Fault, false) => self.begin(Why::Fault, now),
            (Role::Backup, false) => self.admit(now),
        }
    }

    fn follow(&mut self, order: Order, now: Moment) -> Vec<Action> {
        match (self.role(), order) {
            (Role::Backup, Order::Lead) if self.may_lead() => self.become_master(Why::Group, now),
            (Role::Master, Order::Follow { longer }) => {
                self.handed_over = self.is_handing_over() && !self.maintenance;
                let wait = if longer { Wait::Longer } else { Wait::MasterDown };
                self.step_down(Backup::new(self.options.interval, wait, now), Why::Group)
            }
            (Role::Backup, Order::Follow { longer: true }) => {
                if let State::Backup(backup) = &mut self.state {
                    backup.wait_longer();
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Whether this node may be master at all, as far as it depends on itself.
    const fn may_lead(&self) -> bool {
        !self.maintenance && !matches!(self.standing.gate, Pass::Closed)
    }

    fn step_down(&mut self, backup: Backup, why: Why) -> Vec<Action> {
        self.state = State::Backup(backup);
        vec![Action::Release, Action::Report(Event::Role { from: Role::Master, to: Role::Backup, why })]
    }
}

#[cfg(test)]
mod tests;
