//! Runs a command: exit status 0 is a pass. With `dynamic_weight`, 2 to 255 are passes too and ask for the weight that is two
//! less, as keepalived's MISC_CHECK with `misc_dynamic` does.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

use super::{Failure, Pass, Peer, Stage, Weight};
use crate::process_group::ProcessGroup;

/// A command and its arguments. It finds the backend in the environment (`FERROLEV_ADDRESS`, `FERROLEV_PORT`), and no shell is
/// in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecProbe {
    /// The path of the program, and what it is given.
    pub command: Vec<String>,
    pub dynamic_weight: bool,
}

impl ExecProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::Setup("there is no command".to_owned()));
        };
        stage.enter("running the command");
        let mut child = Command::new(program)
            .args(arguments)
            .env("FERROLEV_ADDRESS", peer.at.ip().to_string())
            .env("FERROLEV_PORT", peer.at.port().to_string())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What it has begun ends with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| match Failure::host(&error) {
                Failure::Setup(why) => Failure::Command(format!("{program}: {why}")),
                short => short,
            })?;
        let group = ProcessGroup::of(&child);
        let status = child.wait().await.map_err(|error| Failure::host(&error))?;
        group.forget();
        self.meaning(status)
    }

    fn meaning(&self, status: ExitStatus) -> Result<Pass, Failure> {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(Pass::default()),
            (Some(code @ 2..=255), _) if self.dynamic_weight => Ok(Pass::with(Weight::Of(code as u32 - 2))),
            (Some(code), _) => Err(Failure::Exit(code)),
            (None, signal) => Err(Failure::Signal(signal.unwrap_or_default())),
        }
    }
}
