//! The real keepalived in a namespace.

use std::fs;
use std::process::Command;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::lab_dir::Lab;
use super::namespace::Namespace;
use super::process::Process;

/// A running keepalived with VRRP alone.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
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
        fs::write(&config, format!("global_defs {{\n    vrrp_garp_master_delay 1\n}}\n{instances}"))?;
        let mut command = Command::new("keepalived");
        command
            .args(["--vrrp", "--dont-fork", "--log-console", "--log-detail"])
            .arg("--use-file")
            .arg(&config)
            .arg("--pid")
            .arg(dir.join("keepalived.pid"))
            .arg("--vrrp_pid")
            .arg(dir.join("vrrp.pid"));
        let process = Process::start("keepalived", namespace, command, dir.join("keepalived.log"))?;
        Ok(Self { process })
    }

    /// Ends it as a service manager does: it sends priority 0.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<()> {
        self.process.end(Signal::SIGTERM)
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
