//! A network namespace with a name.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use super::process::{enter_on_start, run};

/// A namespace; it goes with the lab that made it. Cloning gives another handle to the same.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
}

impl Namespace {
    /// With loopback up, IPv6 addresses usable at once, and no reverse path filter.
    pub(super) fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self { name: name.into() };
        namespace.sysctls(&[
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/all/accept_ra", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&*self.name)
    }

    pub(super) fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| format!("no namespace {}", self.name))
    }

    /// Runs `ip` commands, one a line.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-netns", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip in {}: {}\n{lines}", self.name, String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(())
    }

    /// Writes kernel settings, by their path below `/proc/sys`.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        self.inside(move || {
            for (key, value) in settings {
                let path = Path::new("/proc/sys").join(key);
                fs::write(&path, value).with_context(|| format!("cannot set {}", path.display()))?;
            }
            Ok(())
        })
    }

    /// A command that will start inside.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        enter_on_start(&mut command, self)?;
        Ok(command)
    }

    /// Calls a function on a thread inside, and waits for it.
    ///
    /// # Errors
    /// Those of the function; or when the namespace is gone.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = self.open()?;
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_| anyhow!("a thread in namespace {} panicked", self.name))?
    }
}
