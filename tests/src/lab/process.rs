//! Programs that a lab runs: in a namespace, and never longer than the lab.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace::Namespace;

static OUTLIVING: AtomicBool = AtomicBool::new(false);

/// Programs started from now on may outlive this process, so that [`Process::keep`] can leave them running.
pub fn allow_outliving() {
    OUTLIVING.store(true, Ordering::Relaxed);
}

/// A program that runs until it is ended or dropped. It is killed with the thread that started it, too, so it cannot
/// outlive a test that is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    keep: bool,
}

impl Process {
    /// Starts a program in a namespace, what it says going to the file `log`.
    ///
    /// # Errors
    /// When the file cannot be made or the program cannot be run.
    pub fn start(name: &str, namespace: &Namespace, mut command: Command, log: PathBuf) -> Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C is for the lab's owner, who ends its programs in order.
            .process_group(0);
        enter_on_start(&mut command, namespace)?;
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, keep: false })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error with the program's last words when it has ended.
    ///
    /// # Errors
    /// See above.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(Ended(format!("{} ended: {status}\n{}", self.name, self.log_tail())).into()),
        }
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Sends it a signal that ends it, and waits until it is gone.
    ///
    /// # Errors
    /// When it is gone already, or does not end in time.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        self.wait(Duration::from_secs(10)).map(drop)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {limit:?}\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Leaves it running when this is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.keep {
            // Both fail only when it has ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A program that should run has ended: waiting for it is in vain.
#[derive(Debug)]
pub(super) struct Ended(String);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Ended {}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be run, or fails: with all that it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        bail!("{command:?}: {}\n{}", output.status, said.trim_end());
    }
    Ok(text(&output.stdout))
}

/// Has the command start inside the namespace. Not by `ip netns exec`: that would give it a `/sys` of its own, without
/// the pins on bpffs.
pub(super) fn enter_on_start(command: &mut Command, namespace: &Namespace) -> Result<()> {
    let file = namespace.open()?;
    let tied = !OUTLIVING.load(Ordering::Relaxed);
    let enter = move || {
        setns(&file, CloneFlags::CLONE_NEWNET)?;
        if tied {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only two system calls are made; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(enter) };
    Ok(())
}
