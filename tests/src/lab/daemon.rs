//! The real `ferrolev`: the daemon in a balancer's namespace, and its command line.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_user::api::types::{BackendState, Status};
use nix::sys::signal::Signal;

use super::lab_dir::Lab;
use super::namespace::Namespace;
use super::process::Process;
use super::wait_until;

/// How long a start may take: most of it is the kernel's verifier, and other tests run beside.
const START: Duration = Duration::from_secs(90);

/// The binary under test: `FERROLEV_BINARY`, or built now, with the profile of this program.
///
/// # Errors
/// When it does not build.
pub fn ferrolev() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(binary) = std::env::var_os("FERROLEV_BINARY") {
        return Ok(binary.into());
    }
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let release = !cfg!(debug_assertions);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "lb-user", "--message-format=json-render-diagnostics"])
        .args(release.then_some("--release"));
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("ferrolev does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter::<serde_json::Value>()
        .flatten()
        .filter(|message| message["target"]["name"] == "ferrolev")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where ferrolev is")
}

/// A configuration file, piece by piece.
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// Whole lines for the top of the file.
    pub head: String,
    backends: String,
    vips: String,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self { head: "interfaces = [\"eth0\"]\n".to_owned(), backends: String::new(), vips: String::new() }
    }
}

impl DaemonConfig {
    #[must_use]
    pub fn backend(mut self, name: &str, address: impl std::fmt::Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.backends, "\n[[backend]]\nname = \"{name}\"\naddress = \"{address}\"\n");
        self
    }

    #[must_use]
    pub fn vip(
        mut self,
        name: &str,
        address: impl std::fmt::Display,
        port: u16,
        protocol: &str,
        backends: &[&str],
    ) -> Self {
        let _ = write!(
            self.vips,
            "\n[[vip]]\nname = \"{name}\"\naddress = \"{address}\"\nport = {port}\nprotocol = \"{protocol}\"\n\
             backends = {backends:?}\n"
        );
        self
    }

    /// More lines before the objects, such as a section.
    #[must_use]
    pub fn general_line(mut self, line: &str) -> Self {
        let _ = writeln!(self.head, "{line}");
        self
    }

    /// More lines for the backend that was added last.
    #[must_use]
    pub fn backend_line(mut self, line: &str) -> Self {
        let _ = writeln!(self.backends, "{line}");
        self
    }

    /// More lines for the vip that was added last.
    #[must_use]
    pub fn vip_line(mut self, line: &str) -> Self {
        let _ = writeln!(self.vips, "{line}");
        self
    }

    #[must_use]
    pub fn text(&self) -> String {
        [&*self.head, &self.backends, &self.vips].concat()
    }
}

/// A running daemon, with its own configuration file, socket, state and pins.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    namespace: Namespace,
    options: RunFlags,
}

#[derive(Clone, Debug)]
struct RunFlags {
    instance: String,
    dir: PathBuf,
    bpffs: PathBuf,
    extra: Vec<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Cli {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    /// What it said.
    ///
    /// # Errors
    /// When it ended with another code than 0.
    pub fn succeeded(self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}: {}{}", self.code, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

impl Daemon {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it ends, or is not ready in time: with its last words.
    pub fn start(
        lab: &Lab,
        namespace: &Namespace,
        instance: &str,
        config: &DaemonConfig,
        extra: &[&str],
    ) -> Result<Self> {
        let options = RunFlags::prepare(lab, instance, config, extra)?;
        let mut daemon = Self { process: options.spawn(namespace)?, namespace: namespace.clone(), options };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts a daemon that is expected to end by itself, and returns how it did.
    ///
    /// # Errors
    /// When it is still there after a while.
    pub fn start_in_vain(
        lab: &Lab,
        namespace: &Namespace,
        instance: &str,
        config: &DaemonConfig,
        extra: &[&str],
    ) -> Result<Cli> {
        let mut process = RunFlags::prepare(lab, instance, config, extra)?.spawn(namespace)?;
        let status = process.wait(Duration::from_secs(20))?;
        Ok(Cli { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: process.log_tail() })
    }

    /// Kills it without a chance to clean up. The kernel goes on forwarding.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.process.end(Signal::SIGKILL)
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<()> {
        self.process.end(Signal::SIGTERM)
    }

    /// Starts it again with the same options, and waits until it answers.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = self.options.spawn(&self.namespace)?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        wait_until("ferrolev run", START, || {
            self.process.check_running()?;
            self.status().map(drop)
        })
        .with_context(|| self.log())
    }

    /// Waits until the named backends are in the ring of every vip that has them.
    ///
    /// # Errors
    /// When they are not in time: with the states.
    pub fn wait_active(&self, backends: &[&str]) -> Result<()> {
        wait_until("backends in the ring", START, || {
            let status = self.status()?;
            for name in backends {
                let dests: Vec<_> = status
                    .vips
                    .iter()
                    .flat_map(|vip| &vip.backends)
                    .filter(|dest| dest.name == *name)
                    .collect();
                if dests.is_empty() || dests.iter().any(|dest| dest.state != BackendState::Healthy) {
                    bail!("{name} is not active everywhere: {dests:#?}");
                }
            }
            Ok(())
        })
        .with_context(|| self.log())
    }

    /// What `ferrolev status` says.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub fn status(&self) -> Result<Status> {
        let said = self.cli(["status", "--output", "json"])?;
        serde_json::from_str(&said).with_context(|| format!("not a status: {said}"))
    }

    /// Runs a command of the command line against this daemon; an error when it fails.
    ///
    /// # Errors
    /// When it exits with another code than 0: with what it said.
    pub fn cli<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.try_cli(arguments)?.succeeded()
    }

    /// Runs a command of the command line against this daemon, however it ends.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_cli<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Cli> {
        let mut command = Command::new(ferrolev()?);
        command.args(arguments).env("FERROLEV_SOCKET", self.socket());
        Ok(command.output().context("cannot run ferrolev")?.into())
    }

    /// By which peers know it.
    ///
    /// # Errors
    /// When the command fails.
    pub fn fingerprint(&self) -> Result<String> {
        let dir = self.options.dir.join("state").display().to_string();
        let text =
            self.try_cli(["peer", "fingerprint", "--state-dir", &dir, "--instance", &self.options.instance])?;
        Ok(text.succeeded()?.trim().to_owned())
    }

    /// Writes another configuration file; the daemon does not know until it is told to reload.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.options.config_path(), text)?)
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.options.dir.join("api.sock")
    }

    /// Where its program, links and maps are pinned.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.options.bpffs.join(&self.options.instance)
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it said last.
    #[must_use]
    pub fn log(&self) -> String {
        format!("log of ferrolev run:\n{}", self.process.log_tail())
    }

    /// Leaves it running.
    pub fn keep(&mut self) {
        self.process.keep();
    }
}

impl RunFlags {
    /// Makes the daemon's directory and its configuration file.
    fn prepare(lab: &Lab, instance: &str, config: &DaemonConfig, extra: &[&str]) -> Result<Self> {
        let flags = Self {
            instance: instance.to_owned(),
            dir: lab.dir().join(format!("daemon-{instance}")),
            bpffs: lab.bpffs(),
            extra: extra.iter().map(ToString::to_string).collect(),
        };
        fs::create_dir_all(&flags.dir)?;
        fs::write(flags.config_path(), config.text())?;
        Ok(flags)
    }

    fn config_path(&self) -> PathBuf {
        self.dir.join("ferrolev.toml")
    }

    fn spawn(&self, namespace: &Namespace) -> Result<Process> {
        let mut command = Command::new(ferrolev()?);
        command
            .arg("run")
            .arg("--config")
            .arg(self.config_path())
            .args(["--instance", &self.instance])
            .arg("--bpffs")
            .arg(&self.bpffs)
            .arg("--state-dir")
            .arg(self.dir.join("state"))
            .arg("--socket")
            .arg(self.dir.join("api.sock"))
            .args(&self.extra);
        Process::start("ferrolev run", namespace, command, self.dir.join("daemon.log"))
    }
}

impl From<Output> for Cli {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            // A command ended by a signal has no code; no command of ours means anything by -1.
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
