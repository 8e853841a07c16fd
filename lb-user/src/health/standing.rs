//! What is known of a target: its state, how it came to that, and what its probes have said so far.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::probe::{FailureKind, Report, Weight};
use super::{Diagnosis, Machine, Outcome, State, Target};

/// Everything that is known.
pub type Standings = BTreeMap<Target, Standing>;

/// Upper bounds of the buckets in which latencies are counted, in milliseconds.
pub const LATENCY_BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];
/// Transitions that are kept.
const TRANSITIONS: usize = 8;

/// What is known of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    state: Option<State>,
    /// Since when it is in that state.
    pub since: Option<SystemTime>,
    /// Results in a row that speak for another state, and how many it takes.
    pub progress: (u32, u32),
    /// Whether the last probe passed that said anything about the backend.
    pub passes: bool,
    /// The weight that the last pass asked for.
    pub weight: Option<Weight>,
    pub last: Option<Last>,
    /// The last ones, oldest first.
    pub transitions: VecDeque<Transition>,
    /// How many there were.
    pub changes: u64,
    pub tally: Tally,
}

/// The last result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub at: SystemTime,
    pub took: Duration,
    /// Why it did not pass, in words.
    pub failure: Option<String>,
    /// What that means, once it is known.
    pub diagnosis: Option<Diagnosis>,
}

/// A change of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub at: SystemTime,
    pub from: State,
    pub to: State,
    /// The probe that led to it.
    pub took: Duration,
    /// The failure that led to it.
    pub reason: Option<String>,
    /// What that means, once it is known.
    pub diagnosis: Option<Diagnosis>,
}

impl Transition {
    /// The failure behind what it means.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        Some(match self.diagnosis {
            Some(diagnosis) => format!("{diagnosis}: {reason}"),
            None => reason.clone(),
        })
    }
}

/// How probes went since the target is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passes: u64,
    pub failures: BTreeMap<FailureKind, u64>,
    /// Passes by latency: one for each bound, and one for all above.
    pub latencies: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Of all passes.
    pub latency_sum: Duration,
}

impl Standing {
    /// The present state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.unwrap_or(State::Initial(super::Start::Up))
    }

    /// Why the target is in its state.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let of_state = self.transitions.back().and_then(|transition| transition.reason.as_deref());
        let failure = self.last.as_ref().and_then(|last| last.failure.as_deref());
        failure.or(of_state)
    }

    /// As if probes had led to `state`; a reason that is empty is none.
    #[cfg(test)]
    pub(crate) fn played(state: State, reason: &str) -> Self {
        let at = SystemTime::UNIX_EPOCH;
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        let from = if state.is_up() { State::Unhealthy } else { State::Healthy };
        let transitions = VecDeque::from([Transition {
            at,
            from,
            to: state,
            took: Duration::ZERO,
            reason,
            diagnosis: None,
        }]);
        let passes = state == State::Healthy;
        Self { state: Some(state), since: Some(at), passes, transitions, changes: 1, ..Self::default() }
    }

    /// As an earlier daemon has left it.
    pub(super) fn known(healthy: bool) -> Self {
        let state = if healthy { State::Healthy } else { State::Unhealthy };
        Self { state: Some(state), passes: healthy, ..Self::default() }
    }

    /// A check begins, or goes on otherwise.
    pub(super) fn begin(&mut self, machine: &Machine, now: SystemTime) {
        if self.state != Some(machine.state()) {
            self.since = Some(now);
        }
        self.state = Some(machine.state());
        self.progress = machine.progress();
    }

    /// Takes a result in; says whether something follows from it for those who use the backend.
    pub(super) fn take_in(
        &mut self,
        report: Report,
        outcome: Outcome,
        state: State,
        progress: (u32, u32),
        now: SystemTime,
    ) -> bool {
        let before = (self.state, self.passes, self.weight);
        let failure = report.result.as_ref().err().map(ToString::to_string);
        match &report.result {
            Ok(pass) => {
                self.weight = pass.weight;
                self.passes = true;
                self.tally.pass(report.took);
            }
            Err(failure) => {
                self.passes &= outcome == Outcome::Inconclusive;
                *self.tally.failures.entry(failure.kind()).or_default() += 1;
            }
        }
        if self.state != Some(state) {
            let from = self.state();
            self.state = Some(state);
            self.since = Some(now);
            let reason = failure.clone();
            self.transitions.push_back(Transition {
                at: now,
                from,
                to: state,
                took: report.took,
                reason,
                diagnosis: None,
            });
            self.changes += 1;
            while self.transitions.len() > TRANSITIONS {
                self.transitions.pop_front();
            }
        }
        self.progress = progress;
        self.last = Some(Last { at: now, took: report.took, failure, diagnosis: None });
        before != (self.state, self.passes, self.weight)
    }

    /// Notes what the last result means, and the change that came with it.
    pub(super) fn explain(&mut self, diagnosis: Option<Diagnosis>) {
        let Some(last) = &mut self.last else { return };
        last.diagnosis = diagnosis;
        if let Some(transition) = self.transitions.back_mut().filter(|transition| transition.at == last.at) {
            transition.diagnosis = diagnosis;
        }
    }
}

impl Tally {
    fn pass(&mut self, took: Duration) {
        self.passes += 1;
        self.latency_sum += took;
        let bucket = LATENCY_BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.latencies[bucket] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe::{Failure, Pass};
    use super::*;

    fn report(result: Result<Pass, Failure>, millis: u64) -> Report {
        Report { result, took: Duration::from_millis(millis) }
    }

    #[test]
    fn latencies_are_counted_up_to_their_bounds() {
        let mut tally = Tally::default();
        for millis in [0, 1, 2, 3, 2500, 2501, 60_000] {
            tally.pass(Duration::from_millis(millis));
        }
        assert_eq!(tally.latencies, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((tally.passes, tally.latency_sum), (7, Duration::from_millis(65_007)));
    }

    #[test]
    fn only_another_state_weight_or_kind_of_result_wakes_and_the_last_transitions_are_kept() {
        let (mut standing, now) = (Standing::default(), SystemTime::UNIX_EPOCH);
        let take = |standing: &mut Standing, report: Report, state, progress, at| {
            let outcome = report.outcome();
            standing.take_in(report, outcome, state, progress, at)
        };
        let of = |weight| Some(Weight::Of(weight));
        let pass = |weight| report(Ok(Pass { weight, ..Pass::default() }), 1);
        assert!(take(&mut standing, pass(None), State::Healthy, (0, 3), now));
        assert!(!take(&mut standing, pass(None), State::Healthy, (0, 3), now));
        assert!(take(&mut standing, pass(of(5)), State::Healthy, (0, 3), now), "a weight");
        let local = report(Err(Failure::Local("no sockets".to_owned())), 1);
        assert!(!take(&mut standing, local, State::Healthy, (0, 3), now) && standing.passes);
        let failed = || report(Err(Failure::Refused), 1);
        assert!(take(&mut standing, failed(), State::Healthy, (1, 3), now), "the first that does not pass");
        assert!(!take(&mut standing, failed(), State::Healthy, (2, 3), now));
        assert_eq!(standing.weight, of(5), "a failure asks for no weight");
        assert_eq!(standing.reason(), Some("connection refused"));
        for round in 0..20 {
            let later = now + Duration::from_secs(round);
            assert!(take(&mut standing, failed(), State::Unhealthy, (0, 2), later));
            assert!(take(&mut standing, pass(of(5)), State::Healthy, (0, 3), later));
        }
        assert_eq!(standing.transitions.len(), TRANSITIONS);
        assert_eq!(standing.since, Some(now + Duration::from_secs(19)));
        assert_eq!(standing.tally.failures[&FailureKind::Refused], 22);
    }
}
