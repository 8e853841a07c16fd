//! Runs the checks: a task for each target, so that one that waits for its time to be over delays no other.
//!
//! What a probe has led to goes into [`Standings`], where it is kept for those who look; the receivers are woken only when
//! something follows from it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::look_around::{address, look_around, way_is_known};
use super::probe::{Failure, Report};
use super::standing::{Standing, Standings};
use super::{Around, Diagnosis, Event, Machine, Outcome, Spec, State, Target, Ways, diagnose};

/// What is to be checked, and how.
pub type Wanted = BTreeMap<Target, Spec>;

/// The ends of the task that others hold. Checks end when `wanted` is dropped.
#[derive(Debug)]
pub struct Checker {
    pub wanted: watch::Sender<Wanted>,
    pub standings: watch::Receiver<Standings>,
}

/// Whether targets were healthy when an earlier daemon ended.
pub type Known = BTreeMap<Target, bool>;

/// Starts the task that runs checks, each from the state that is `known`; to be called within a tokio runtime. `ways`: the
/// addresses of those through tunnels.
#[must_use]
pub fn spawn(known: Known, ways: watch::Receiver<Ways>) -> Checker {
    let (wanted, asked) = watch::channel(Wanted::new());
    let (sender, standings) = watch::channel(Standings::new());
    tokio::spawn(supervise(asked, sender, known, ways));
    Checker { wanted, standings }
}

/// Begins and ends checks as they are wanted. What has not changed goes on undisturbed, and a check that runs otherwise from now
/// on begins with the state that is known.
async fn supervise(
    mut wanted: watch::Receiver<Wanted>,
    standings: watch::Sender<Standings>,
    mut known: Known,
    ways: watch::Receiver<Ways>,
) {
    let mut running: BTreeMap<Target, Running> = BTreeMap::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        running.retain(|target, check| now.get(target) == Some(&check.spec));
        standings.send_if_modified(|standings| {
            let before = standings.len();
            standings.retain(|target, _| now.contains_key(target));
            before != standings.len()
        });
        for (target, spec) in now {
            if running.contains_key(&target) {
                continue;
            }
            let mut standing = standings.borrow().get(&target).cloned();
            standing = standing.or_else(|| known.remove(&target).map(Standing::known));
            let machine = Machine::new(spec.rhythm.clone(), standing.as_ref().map(Standing::state));
            let mut standing = standing.unwrap_or_default();
            standing.begin(&machine, SystemTime::now());
            standings.send_modify(|standings| {
                standings.insert(target.clone(), standing);
            });
            let check = Check {
                target: target.clone(),
                spec: spec.clone(),
                machine,
                standings: standings.clone(),
                ways: ways.clone(),
            };
            let task = tokio::spawn(check.run()).abort_handle();
            running.insert(target, Running { spec, task });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// A check's task, which ends with it.
struct Running {
    spec: Spec,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Check {
    target: Target,
    spec: Spec,
    machine: Machine,
    standings: watch::Sender<Standings>,
    ways: watch::Receiver<Ways>,
}

impl Check {
    async fn run(mut self) {
        way_is_known(&self.target, &mut self.ways).await;
        let random = RandomState::new();
        let jitter = |count: u64| random.hash_one(count) as u16;
        let mut next = self.machine.first(Instant::now(), jitter(0));
        for count in 1.. {
            tokio::time::sleep_until(next.into()).await;
            let began = Instant::now();
            // A backend that fails is looked at from all sides at once, so that it is known at the end why.
            let is_doubtful = self.machine.progress().0 > 0 || self.machine.state() == State::Unhealthy;
            let (report, around) = if is_doubtful {
                tokio::join!(self.ask(), self.look_around())
            } else {
                (self.ask().await, None)
            };
            let failure = report.result.as_ref().err().cloned();
            let outcome = report.result.as_ref().map_or_else(Failure::outcome, |_| Outcome::Passed);
            let actions =
                self.machine.on_event(Event { outcome, began, jitter: jitter(count) }, Instant::now());
            let meaning = failure.as_ref().and_then(|failure| self.diagnose(failure, around.as_ref()));
            self.tell(report, actions.changed_from, meaning);
            if let Some(failure) = failure.filter(|_| self.target.way.is_some() && !is_doubtful) {
                let around = self.look_around().await;
                self.explain(self.diagnose(&failure, around.as_ref()), actions.changed_from);
            }
            next = actions.next;
        }
    }

    async fn ask(&self) -> Report {
        match address(&self.target, &self.ways) {
            Ok(address) => self.spec.probe.run(address, self.target.port, self.spec.timeout).await,
            Err(failure) => Report { result: Err(failure), took: Duration::ZERO },
        }
    }

    async fn look_around(&self) -> Option<Around> {
        look_around(&self.target, &self.spec, &self.ways).await
    }

    /// `None` too when it takes a look around that nobody has taken yet.
    fn diagnose(&self, failure: &Failure, around: Option<&Around>) -> Option<Diagnosis> {
        if self.target.way.is_some() && around.is_none() {
            return None;
        }
        diagnose(failure, around, self.spec.probe.connects())
    }

    /// Adds to what was told what it means.
    fn explain(&self, diagnosis: Option<Diagnosis>, changed_from: Option<State>) {
        let Some(meaning) = diagnosis else { return };
        if changed_from.is_some() {
            let Target { check, address, port, .. } = &self.target;
            warn!(check, %address, port, diagnosis = %meaning, "why the backend is unhealthy");
        }
        self.standings.send_if_modified(|standings| {
            let Some(standing) = standings.get_mut(&self.target) else { return false };
            standing.explain(diagnosis);
            false
        });
    }

    fn tell(&self, report: Report, changed_from: Option<State>, diagnosis: Option<Diagnosis>) {
        let Target { check, address, port, .. } = &self.target;
        let meaning = diagnosis.map(tracing::field::display);
        let (state, took) = (self.machine.state(), report.took);
        match (&report.result, changed_from) {
            (Ok(_), Some(_)) => info!(check, %address, port, ?took, "backend is healthy"),
            (Err(reason), Some(_)) => {
                warn!(check, %address, port, %reason, diagnosis = meaning, "backend is unhealthy");
            }
            (Ok(_), None) => {}
            (Err(reason), None) => debug!(check, %address, port, %reason, "check failed"),
        }
        let progress = self.machine.progress();
        self.standings.send_if_modified(|standings| {
            // A check that is not wanted any more says nothing.
            let Some(standing) = standings.get_mut(&self.target) else { return false };
            let wakes = standing.take_in(report, state, progress, SystemTime::now());
            standing.explain(diagnosis);
            wakes
        });
    }
}

#[cfg(test)]
mod tests;
