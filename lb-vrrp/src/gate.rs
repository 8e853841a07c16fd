//! The sync gate: may this node be master yet? Without it, a node that comes back takes over by its priority while it has
//! nothing to forward with.
//!
//! | | a master is heard | none is heard |
//! |---|---|---|
//! | tables not loaded | no | no |
//! | first round of checks not in, within the time limit | no | no |
//! | flows not in step with the master's, within the time limit | no | yes: nobody knows better |
//! | else | by priority | yes |
//!
//! The time limit does not hold for the tables: without them everything would be lost.

use std::time::Duration;

use crate::Moment;

/// What a gate lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// This node does not become master.
    #[default]
    Closed,
    /// It becomes master when there is none, but takes over from no living one.
    NoPreempt,
    Open,
}

/// What the daemon knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Readiness {
    pub tables_loaded: bool,
    /// Every health check has had a result, or there are none.
    pub first_round_done: bool,
    pub flows: Flows,
}

/// How the flow records here compare with the master's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flows {
    /// Flows are not copied.
    #[default]
    NotCopied,
    Behind,
    InStep,
}

/// A gate since the start of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    limit: Duration,
    started: Moment,
    /// The first round was in, or not waited for any longer: that counts once.
    started_up: bool,
    behind_since: Option<Moment>,
}

impl Gate {
    /// What is not complete `limit` after it was begun is not waited for.
    #[must_use]
    pub const fn new(limit: Duration, started: Moment) -> Self {
        Self { limit, started, started_up: false, behind_since: None }
    }

    /// To be asked when `readiness` changes and at [`Self::due`].
    pub fn pass(&mut self, readiness: Readiness, now: Moment) -> Pass {
        self.behind_since = match readiness.flows {
            Flows::Behind => self.behind_since.or(Some(now)),
            Flows::NotCopied | Flows::InStep => None,
        };
        if !readiness.tables_loaded {
            return Pass::Closed;
        }
        self.started_up |= readiness.first_round_done || now >= self.started + self.limit;
        let waits_for_flows = self.behind_since.is_some_and(|since| now < since + self.limit);
        match (self.started_up, waits_for_flows) {
            (false, _) => Pass::Closed,
            (true, true) => Pass::NoPreempt,
            (true, false) => Pass::Open,
        }
    }

    /// When time alone may change the answer.
    #[must_use]
    pub fn due(&self, now: Moment) -> Option<Moment> {
        let start = (!self.started_up).then(|| self.started + self.limit);
        let flows = self.behind_since.map(|since| since + self.limit);
        start.into_iter().chain(flows).filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const READY: Readiness =
        Readiness { tables_loaded: true, first_round_done: true, flows: Flows::NotCopied };

    fn at(second: u64) -> Moment {
        Moment::default() + Duration::from_secs(second)
    }

    #[test]
    fn a_gate_opens_when_tables_and_the_first_round_are_in() {
        let mut gate = Gate::new(LIMIT, at(0));
        assert_eq!(gate.pass(Readiness::default(), at(0)), Pass::Closed);
        assert_eq!(gate.pass(Readiness { first_round_done: false, ..READY }, at(1)), Pass::Closed);
        assert_eq!(gate.pass(READY, at(2)), Pass::Open);
        assert_eq!(gate.due(at(2)), None);
    }

    #[test]
    fn a_first_round_that_does_not_come_is_waited_for_until_the_limit() {
        let mut gate = Gate::new(LIMIT, at(0));
        let waiting = Readiness { first_round_done: false, ..READY };
        assert_eq!(gate.pass(waiting, at(29)), Pass::Closed);
        assert_eq!(gate.due(at(29)), Some(at(30)));
        assert_eq!(gate.pass(waiting, at(30)), Pass::Open);
    }

    #[test]
    fn a_node_without_tables_is_waited_for_without_limit() {
        let mut gate = Gate::new(LIMIT, at(0));
        let without = Readiness { tables_loaded: false, ..READY };
        assert_eq!(gate.pass(without, at(1_000)), Pass::Closed);
        assert_eq!(gate.pass(READY, at(1_001)), Pass::Open);
        assert_eq!(gate.pass(without, at(1_002)), Pass::Closed, "lost again");
    }

    #[test]
    fn a_later_round_of_checks_closes_nothing() {
        let mut gate = Gate::new(LIMIT, at(0));
        gate.pass(READY, at(1));
        assert_eq!(gate.pass(Readiness { first_round_done: false, ..READY }, at(2)), Pass::Open);
    }

    #[test]
    fn flows_that_are_behind_keep_from_preempting_until_the_limit_but_not_from_an_orphaned_address() {
        let mut gate = Gate::new(LIMIT, at(0));
        let behind = Readiness { flows: Flows::Behind, ..READY };
        assert_eq!(gate.pass(behind, at(5)), Pass::NoPreempt);
        assert_eq!(gate.due(at(5)), Some(at(35)));
        assert_eq!(gate.pass(behind, at(34)), Pass::NoPreempt);
        assert_eq!(gate.pass(behind, at(35)), Pass::Open);
        assert_eq!(gate.pass(Readiness { flows: Flows::InStep, ..READY }, at(36)), Pass::Open);
        assert_eq!(gate.pass(behind, at(100)), Pass::NoPreempt, "behind anew");
    }
}
