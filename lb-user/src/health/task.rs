//! Runs the checks: a task for each target, so that one that waits for its time to be over delays no other.
//!
//! What a probe has led to goes into [`Standings`], where it is kept for those who look; the receivers are woken only when
//! something follows from it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::probe::Report;
use super::standing::{Standing, Standings};
use super::{Event, Machine, Outcome, Spec, State, Target};

/// What is to be checked, and how.
pub type Wanted = BTreeMap<Target, Spec>;

/// The ends of the task that others hold. Checks end when `wanted` is dropped.
#[derive(Debug)]
pub struct Checker {
    pub wanted: watch::Sender<Wanted>,
    pub standings: watch::Receiver<Standings>,
}

/// Starts the task that runs checks; to be called within a tokio runtime.
#[must_use]
pub fn spawn() -> Checker {
    let (wanted, asked) = watch::channel(Wanted::new());
    let (sender, standings) = watch::channel(Standings::new());
    tokio::spawn(supervise(asked, sender));
    Checker { wanted, standings }
}

/// Begins and ends checks as they are wanted. What has not changed goes on undisturbed, and a check that runs otherwise from now
/// on begins with the state that is known.
async fn supervise(mut wanted: watch::Receiver<Wanted>, standings: watch::Sender<Standings>) {
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
            let known = standings.borrow().get(&target).map(Standing::state);
            let machine = Machine::new(spec.rhythm.clone(), known);
            standings.send_modify(|standings| {
                standings.entry(target.clone()).or_default().begin(&machine, SystemTime::now());
            });
            let check =
                Check { target: target.clone(), spec: spec.clone(), machine, standings: standings.clone() };
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
}

impl Check {
    async fn run(mut self) {
        let random = RandomState::new();
        let jitter = |count: u64| random.hash_one(count) as u16;
        let mut next = self.machine.first(Instant::now(), jitter(0));
        for count in 1.. {
            tokio::time::sleep_until(next.into()).await;
            let began = Instant::now();
            let report = self.spec.probe.run(self.target.address, self.target.port, self.spec.timeout).await;
            let outcome =
                report.result.as_ref().map_or_else(super::probe::Failure::outcome, |_| Outcome::Passed);
            let actions =
                self.machine.on_event(Event { outcome, began, jitter: jitter(count) }, Instant::now());
            self.tell(report, actions.changed_from);
            next = actions.next;
        }
    }

    fn tell(&self, report: Report, changed_from: Option<State>) {
        let Target { check, address, port } = &self.target;
        let (state, took) = (self.machine.state(), report.took);
        match (&report.result, changed_from) {
            (Ok(_), Some(_)) => info!(check, %address, port, ?took, "backend is healthy"),
            (Err(reason), Some(_)) => warn!(check, %address, port, %reason, "backend is unhealthy"),
            (Ok(_), None) => {}
            (Err(reason), None) => debug!(check, %address, port, %reason, "check failed"),
        }
        let progress = self.machine.progress();
        self.standings.send_if_modified(|standings| {
            // A check that is not wanted any more says nothing.
            let Some(standing) = standings.get_mut(&self.target) else { return false };
            standing.take_in(report, state, progress, SystemTime::now())
        });
    }
}

#[cfg(test)]
mod tests;
