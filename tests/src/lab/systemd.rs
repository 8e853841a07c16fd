//! A real systemd, which runs the balancer by the packaged unit with all that the unit takes away from it: a container of
//! its own, in a balancer's network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_user::api::types::Status;
use nix::sys::signal::Signal;

use super::daemon::{Cli, DaemonConfig, ferrolev};
use super::lab_dir::Lab;
use super::namespace::Namespace;
use super::process::Process;
use super::wait_until;

const PATIENCE: Duration = Duration::from_secs(30);
const CGROUPS: &str = "ferrolev-lab-";

/// The container. Ends with all that runs in it when it is dropped.
#[derive(Debug)]
pub struct Systemd {
    process: Process,
    /// Of its first process, as this machine counts.
    init: u32,
    cgroup: PathBuf,
}

impl Systemd {
    /// Starts a systemd in which the service is installed and not started.
    ///
    /// # Errors
    /// When this machine does not let it run.
    pub fn start(lab: &Lab, namespace: &Namespace, config: &DaemonConfig) -> Result<Self> {
        let dir = lab.dir().join(format!("systemd-{}", namespace.name()));
        let root = dir.join("root");
        fs::create_dir_all(&root)?;
        let config_file = dir.join("ferrolev.toml");
        fs::write(&config_file, config.text())?;
        let cgroups = cgroups()?;
        remove_left(&cgroups);
        let cgroup = cgroups.join(format!("{CGROUPS}{}", namespace.name()));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lab/systemd.sh");
        let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/ferrolev.service");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", script]);
        command.args([&root, &cgroup, &ferrolev()?, Path::new(unit), &config_file]);
        let process = Process::start("systemd", namespace, command, dir.join("log"))?;
        let mut systemd = Self { process, init: 0, cgroup };
        wait_until("systemd", PATIENCE, || {
            systemd.process.check_running()?;
            systemd.init = child_of(systemd.process.id())?;
            match systemd.ctl(["is-system-running"])?.stdout.trim() {
                "running" => Ok(()),
                other => bail!("systemd is {other}"),
            }
        })
        .with_context(|| systemd.process.log_tail())?;
        Ok(systemd)
    }

    /// Runs `systemctl`, however it ends.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn ctl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Cli> {
        let mut command = self.command("systemctl");
        command.args(arguments);
        Ok(command.output().context("cannot run systemctl")?.into())
    }

    /// The same; an error when it fails, with what the service said.
    ///
    /// # Errors
    /// See above.
    pub fn must<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.ctl(arguments)?.succeeded().with_context(|| self.log())
    }

    /// Runs a command of the balancer's command line; an error when it fails.
    ///
    /// # Errors
    /// See above.
    pub fn cli<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let mut command = self.command("ferrolev");
        command.args(arguments);
        let cli: Cli = command.output().context("cannot run ferrolev")?.into();
        cli.succeeded().with_context(|| self.log())
    }

    /// What `ferrolev status` says.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub fn status(&self) -> Result<Status> {
        let said = self.cli(["status", "--output", "json"])?;
        serde_json::from_str(&said).with_context(|| format!("not a status: {said}"))
    }

    /// Writes another configuration file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, text: &str) -> Result<()> {
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        Ok(fs::write(root.join("etc/ferrolev/ferrolev.toml"), text)?)
    }

    /// The last lines that the service wrote.
    #[must_use]
    pub fn log(&self) -> String {
        let path = format!("/proc/{}/root/var/log/ferrolev", self.init);
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// A program that will start in the container.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--mount", "--pid", "--cgroup", "--net"])
            .arg(program);
        command
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // Takes the container's first process with it, and that one all others.
        let _ = self.process.end(Signal::SIGKILL);
        let _ = wait_until("the end of the container", PATIENCE, || {
            remove_cgroup(&self.cgroup);
            if self.cgroup.exists() { bail!("processes are left") } else { Ok(()) }
        });
    }
}

/// Where the unified hierarchy of control groups is.
fn cgroups() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let of = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    };
    mounts.lines().find_map(of).context("no cgroup2 is mounted, which systemd needs")
}

/// Removes what killed tests have left; a group with processes stays.
fn remove_left(cgroups: &Path) {
    let Ok(entries) = fs::read_dir(cgroups) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(CGROUPS) {
            remove_cgroup(&entry.path());
        }
    }
}

/// Removes a group and those below it, as far as no process is left in them.
fn remove_cgroup(cgroup: &Path) {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup(&entry.path());
    }
    let _ = fs::remove_dir(cgroup);
}

/// The first child of a process.
fn child_of(parent: u32) -> Result<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone())?;
    children.split_whitespace().next().context("no child yet")?.parse().context(path)
}
