//! The real keepalived in a namespace.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lab_dir::Lab;
use super::namespace::Namespace;
use super::process::Process;

/// A running keepalived with VRRP alone.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    /// The file with its child's number.
    child: PathBuf,
}

impl Keepalived {
    /// Starts it; `instances` are its `vrrp_instance` blocks.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(lab: &Lab, namespace: &Namespace, name: &str, instances: &str) -> Result<Self> {
        let dir = lab.dir().join(format!("keepalived-{name}"));
        fs::create_dir_all(&dir)?;
        let config = dir.join("keepalived.conf");
        fs::write(
            &config,
            format!("global_defs {{\n    vrrp_garp_master_delay 1\n    script_user root\n}}\n{instances}"),
        )?;
        let child = dir.join("vrrp.pid");
        let mut command = Command::new("keepalived");
        command
            .args(["--vrrp", "--dont-fork", "--log-console", "--log-detail"])
            .arg("--use-file")
            .arg(&config)
            .arg("--pid")
            .arg(dir.join("keepalived.pid"))
            .arg("--vrrp_pid")
            .arg(&child);
        let process = Process::start("keepalived", namespace, command, dir.join("keepalived.log"))?;
        Ok(Self { process, child })
    }

    /// Ends it as a service manager does: it sends priority 0.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<()> {
        self.process.end(Signal::SIGTERM)
    }

    /// Kills it: it takes nothing back, and says nothing.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        // The child does the work. It would end in an orderly way without its parent, and be started again by it.
        let child: i32 = fs::read_to_string(&self.child)?.trim().parse()?;
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGSTOP)?;
        kill(Pid::from_raw(child), Signal::SIGKILL)?;
        self.process.end(Signal::SIGKILL)
    }

    /// What it said last.
    #[must_use]
    pub fn log(&self) -> String {
        format!("log of keepalived:\n{}", self.process.log_tail())
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its child would stay when it is killed.
        let _ = self.process.end(Signal::SIGTERM);
    }
}
