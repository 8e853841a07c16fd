//! A reload that is under way: reading the file and loading prefix lists may take seconds, which other threads spend while
//! the controller answers questions and follows next hops. Whatever else would change something waits for its end.

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::candidate::Candidate;
use super::engine::Refused;
use super::setup::LoadConfig;
use crate::api::types::ChangeResult;
use crate::config::Config;
use crate::dataplane::{DataplaneError, LoadJob};

/// A reload between two of its steps.
pub(super) struct UnderWay {
    pub(super) dry_run: bool,
    pub(super) reply: oneshot::Sender<Result<ChangeResult, Refused>>,
    step: Step,
}

enum Step {
    Reading(JoinHandle<Result<Config, String>>),
    Loading(Box<Candidate>, JoinHandle<Result<(), DataplaneError>>),
}

/// How a step has ended.
pub(super) enum Done {
    Read(Result<Box<Config>, Refused>),
    Loaded(Result<(), Refused>),
}

impl UnderWay {
    pub(super) fn read(
        dry_run: bool,
        reply: oneshot::Sender<Result<ChangeResult, Refused>>,
        load: LoadConfig,
    ) -> Self {
        Self { dry_run, reply, step: Step::Reading(spawn_blocking(move || load())) }
    }

    /// Goes on with loading lists.
    pub(super) fn load(self, candidate: Candidate, job: LoadJob) -> Self {
        Self { step: Step::Loading(Box::new(candidate), spawn_blocking(job)), ..self }
    }

    /// What the lists were loaded for.
    pub(super) fn into_candidate(
        self,
    ) -> (Option<Candidate>, oneshot::Sender<Result<ChangeResult, Refused>>) {
        match self.step {
            Step::Reading(_) => (None, self.reply),
            Step::Loading(candidate, _) => (Some(*candidate), self.reply),
        }
    }

    /// Waits for the end of the present step. Cancel safe; not to be called again once it has returned.
    pub(super) async fn done(&mut self) -> Done {
        match &mut self.step {
            Step::Reading(task) => Done::Read(match task.await {
                Ok(read) => read.map(Box::new).map_err(Refused::Config),
                Err(broken) => Err(Refused::Config(format!("reading the file broke down: {broken}"))),
            }),
            Step::Loading(_, task) => Done::Loaded(match task.await {
                Ok(loaded) => loaded.map_err(Refused::Dataplane),
                Err(broken) => {
                    let text = format!("loading prefix lists broke down: {broken}");
                    Err(Refused::Dataplane(DataplaneError::Other(text)))
                }
            }),
        }
    }
}

/// The end of the present step of what is under way; never, when nothing is.
pub(super) async fn done(under_way: &mut Option<UnderWay>) -> Done {
    match under_way {
        Some(under_way) => under_way.done().await,
        None => std::future::pending().await,
    }
}
