//! A backup: whom it listens to, and when it takes over (RFC 9568 6.4.2).

use crate::Moment;
use crate::gate::Pass;
use crate::timers;
use crate::wire::{Interval, LEAVING, Version};

use super::{Action, Event, Heard, Machine, Options, Preempt, State, Why};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Backup {
    /// The last one whose advert set the timer.
    pub(super) master: Option<Heard>,
    /// Its interval in version 3 (`Active_Adver_Interval`).
    master_interval: Interval,
    /// When the timer was set, and to what.
    since: Moment,
    wait: Wait,
    /// The timer has run out while this node may not become master.
    pub(super) overdue: bool,
    /// With a delay of preemption: when a living master of lower priority is not waited for any more.
    preempt_at: Option<Moment>,
    /// A living master of lower priority that is not waited for.
    pub(super) ignored: Option<Heard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    MasterDown,
    /// The skew: the master has left.
    Skew,
    /// An interval and the skew: after a standstill of this node, for the sign of life of whoever may have taken over.
    Listening,
    /// The master-down time and the skew once more.
    Longer,
}

impl Backup {
    pub(super) const fn new(interval: Interval, wait: Wait, now: Moment) -> Self {
        Self {
            master: None,
            master_interval: interval,
            since: now,
            wait,
            overdue: false,
            preempt_at: None,
            ignored: None,
        }
    }

    pub(super) fn under(master: Heard, options: &Options, now: Moment) -> Self {
        let mut backup = Self::new(options.interval, Wait::MasterDown, now);
        backup.listen(master, options, now);
        backup
    }

    pub(super) fn due(&self, options: &Options, priority: u8) -> Option<Moment> {
        let (version, interval) = (options.version, self.master_interval);
        let skew = timers::skew(version, interval, priority);
        let master_down = timers::master_down(version, interval, priority);
        let wait = match self.wait {
            Wait::MasterDown => master_down,
            Wait::Skew => skew,
            Wait::Listening => interval.duration() + skew,
            Wait::Longer => master_down + skew,
        };
        (!self.overdue).then(|| self.since + wait)
    }

    /// The interval of version 3 is that of the master that was heard.
    pub(super) fn follow_options(&mut self, before: &Options, options: &Options) {
        if options.version == Version::V2 || self.master.is_none() {
            self.master_interval = options.interval;
        }
        if before.preempt != options.preempt {
            self.preempt_at = None;
        }
    }

    fn listen(&mut self, master: Heard, options: &Options, now: Moment) {
        if options.version == Version::V3 {
            self.master_interval = master.interval;
        }
        self.master = Some(master);
        self.set_timer(Wait::MasterDown, now);
    }

    pub(super) fn wait_longer(&mut self) {
        if self.wait == Wait::MasterDown {
            self.wait = Wait::Longer;
        }
    }

    fn set_timer(&mut self, wait: Wait, now: Moment) {
        self.since = now;
        self.wait = wait;
        self.overdue = false;
    }
}

impl Machine {
    pub(super) fn heard_as_backup(&mut self, heard: Heard, now: Moment) -> Vec<Action> {
        let own = self.standing.priority;
        let lower_is_fine = heard.priority >= own || !self.may_preempt();
        let State::Backup(backup) = &mut self.state else { return Vec::new() };
        if heard.priority == LEAVING {
            backup.set_timer(Wait::Skew, now);
            return Vec::new();
        }
        if heard.priority >= own {
            backup.preempt_at = None;
        }
        if lower_is_fine || waits_to_preempt(backup, self.options.preempt, now) {
            let known = backup.master.is_some_and(|master| master.from == heard.from);
            backup.ignored = None;
            backup.listen(heard, &self.options, now);
            return if known { Vec::new() } else { vec![Action::Report(Event::NewMaster(heard))] };
        }
        let known = backup.ignored.is_some_and(|ignored| ignored.from == heard.from);
        backup.ignored = Some(heard);
        if known { Vec::new() } else { vec![Action::Report(Event::LowerIgnored(heard))] }
    }

    pub(super) fn tick_as_backup(&mut self, now: Moment) -> Vec<Action> {
        let may_lead = self.may_lead();
        let due = self.due().is_some_and(|due| due <= now);
        let State::Backup(backup) = &mut self.state else { return Vec::new() };
        if !due {
            return Vec::new();
        }
        if !may_lead {
            backup.overdue = true;
            return vec![Action::Report(Event::Held)];
        }
        let why = if backup.wait == Wait::Skew { Why::MasterLeft } else { Why::MasterDown };
        self.become_master(why, now)
    }

    /// What kept this node from becoming master may be over.
    pub(super) fn admit(&mut self, now: Moment) -> Vec<Action> {
        let overdue = matches!(&self.state, State::Backup(backup) if backup.overdue);
        if overdue && self.may_lead() { self.become_master(Why::Admitted, now) } else { Vec::new() }
    }

    /// Whether this node would take over from a living master of lower priority, sooner or later.
    fn may_preempt(&self) -> bool {
        self.may_lead()
            && self.standing.gate == Pass::Open
            && !self.handed_over
            && self.options.preempt != Preempt::Never
    }
}

/// Whether the delay of preemption is not over; the first advert of a master of lower priority begins it.
fn waits_to_preempt(backup: &mut Backup, preempt: Preempt, now: Moment) -> bool {
    let Preempt::After(delay) = preempt else { return false };
    now < *backup.preempt_at.get_or_insert(now + delay)
}
