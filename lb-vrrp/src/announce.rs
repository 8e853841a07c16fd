//! When a master tells the link where its addresses are, as keepalived's `garp_master_*` options say. Decides how many
//! rounds and when; never what a round consists of.
//!
//! ```text
//! becomes master: repeat rounds · after delay: repeat rounds · then every refresh: refresh_repeat rounds
//! ```

use std::time::Duration;

use crate::Moment;

/// keepalived's options of the same names; zero switches a part off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Rounds when the node becomes master, and once more after `delay`.
    pub repeat: u8,
    pub delay: Duration,
    pub refresh: Duration,
    pub refresh_repeat: u8,
    /// Rounds when another master of lower priority was heard, or is gone (`garp_lower_prio_repeat`).
    pub lower_priority_repeat: u8,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_priority_repeat: 5,
        }
    }
}

/// Where a master is in its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Announcing {
    again: Option<Moment>,
    refresh: Option<Moment>,
}

impl Announcing {
    /// The first set is due at once, and is the caller's.
    pub(crate) fn begin(schedule: &Schedule, now: Moment) -> Self {
        let after = |span: Duration| (!span.is_zero()).then(|| now + span);
        Self { again: after(schedule.delay), refresh: after(schedule.refresh) }
    }

    /// Where it is in another schedule: the second set stays due when it was, refreshes begin now.
    pub(crate) fn follow(self, schedule: &Schedule, now: Moment) -> Self {
        let begun = Self::begin(schedule, now);
        Self { again: self.again.filter(|_| begun.again.is_some()), refresh: begun.refresh }
    }

    pub(crate) fn due(&self) -> Option<Moment> {
        self.again.into_iter().chain(self.refresh).min()
    }

    /// Rounds that are due now.
    pub(crate) fn tick(&mut self, schedule: &Schedule, now: Moment) -> u8 {
        let mut rounds = 0;
        if self.refresh.is_some_and(|due| due <= now) {
            self.refresh = Some(now + schedule.refresh);
            rounds = schedule.refresh_repeat;
        }
        if self.again.is_some_and(|due| due <= now) {
            self.again = None;
            rounds = schedule.repeat;
        }
        rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds_by_second(schedule: &Schedule, seconds: u64) -> Vec<(u64, u8)> {
        let at = |second: u64| Moment::default() + Duration::from_secs(second);
        let mut announcing = Announcing::begin(schedule, at(0));
        let mut rounds = Vec::new();
        while let Some(due) = announcing.due().filter(|due| *due <= at(seconds)) {
            rounds.push((due.since(at(0)).as_secs(), announcing.tick(schedule, due)));
        }
        rounds
    }

    #[test]
    fn by_default_a_second_set_follows_after_five_seconds_and_nothing_else() {
        assert_eq!(rounds_by_second(&Schedule::default(), 1_000), [(5, 5)]);
    }

    #[test]
    fn refreshes_come_again_and_again() {
        let schedule = Schedule {
            refresh: Duration::from_secs(60),
            refresh_repeat: 2,
            repeat: 3,
            ..Schedule::default()
        };
        assert_eq!(rounds_by_second(&schedule, 200), [(5, 3), (60, 2), (120, 2), (180, 2)]);
    }

    #[test]
    fn zero_switches_a_part_off() {
        let schedule = Schedule { delay: Duration::ZERO, ..Schedule::default() };
        assert_eq!(rounds_by_second(&schedule, 1_000), []);
    }
}
