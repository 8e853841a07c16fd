//! The processes of a command that is under way: one that is given up ends with all that it has begun.
#![forbid(unsafe_code)]

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// The group that a child leads; dropped before its end was waited for, all of it is ended.
#[derive(Debug)]
pub(crate) struct ProcessGroup(Option<u32>);

impl ProcessGroup {
    /// Of a command that leads a group of its own.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// The child was waited for: its number may be another process's.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader {
            // The leader has not been waited for, so that nobody else can have its number.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}
