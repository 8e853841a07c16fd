//! The identity of a lab and the directory of its files, by which its remains are found when its process was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace::Namespace;
use super::process::run;

/// A directory for each lab, named `PID-NUMBER` after the process that made it. Short, for the paths of sockets.
const REGISTRY: &str = "/run/ferrolev-lab";
const BPFFS: &str = "/sys/fs/bpf";

/// Owns the names of everything in one lab. Dropped last, it removes the files and the pins.
#[derive(Debug)]
pub struct Lab {
    id: String,
    dir: PathBuf,
    keep: bool,
}

impl Lab {
    /// A new lab; what dead processes left of theirs is removed first.
    ///
    /// # Errors
    /// When its directory or bpffs cannot be made.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self::sweep(false);
        mount_bpffs()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let dir = Path::new(REGISTRY).join(&id);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let lab = Self { id, dir, keep: false };
        fs::create_dir_all(lab.bpffs()).context("cannot make a directory on bpffs")?;
        Ok(lab)
    }

    /// A directory for the files of this lab.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory on bpffs for the pins of this lab.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        Path::new(BPFFS).join(format!("ferrolev-lab-{}", self.id))
    }

    /// A namespace of this lab.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn namespace(&self, role: &str) -> Result<Namespace> {
        Namespace::create(&format!("{}{role}", prefix(&self.id)))
    }

    /// Leaves the files and pins when the lab is dropped, and has [`Self::sweep`] pass it over.
    ///
    /// # Errors
    /// When that cannot be noted in the lab's directory.
    pub fn keep(&mut self) -> Result<()> {
        fs::write(self.dir.join("kept"), "")?;
        self.keep = true;
        Ok(())
    }

    /// Removes labs whose process is gone, with `kept` also those that were left on purpose. Returns how many.
    pub fn sweep(kept: bool) -> usize {
        let Ok(labs) = fs::read_dir(REGISTRY) else {
            return 0;
        };
        labs.flatten()
            .filter(|lab| {
                let owner = lab.file_name().to_string_lossy().split('-').next().map(str::to_owned);
                let alive = owner.is_some_and(|pid| Path::new("/proc").join(pid).exists());
                !alive && (kept || !lab.path().join("kept").exists())
            })
            .map(|lab| remove(&lab.file_name().to_string_lossy(), &lab.path()))
            .count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep {
            remove(&self.id, &self.dir);
        }
    }
}

fn prefix(id: &str) -> String {
    format!("fl-{id}-")
}

/// Removes all that bears a lab's name. Another process may be at the same, so what is gone already is fine.
fn remove(id: &str, dir: &Path) {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        if name.starts_with(&prefix(id)) {
            end_processes_in(&name);
            let _ = run(Command::new("ip").args(["netns", "delete", &name]));
        }
    }
    let _ = fs::remove_dir_all(Path::new(BPFFS).join(format!("ferrolev-lab-{id}")));
    let _ = fs::remove_dir_all(dir);
}

/// Ends what still runs in a namespace that only this lab has.
fn end_processes_in(name: &str) {
    let pids = run(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    for pid in pids.lines().filter_map(|pid| pid.trim().parse().ok()) {
        if pid != std::process::id().cast_signed() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(BPFFS) && line.split(' ').nth(2) == Some("bpf"));
    if !mounted {
        run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))?;
    }
    Ok(())
}
