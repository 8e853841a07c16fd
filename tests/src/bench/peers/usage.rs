//! How much processor time this program and all that it starts take, the kernel's work on their packets included, whatever else
//! the machine does meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A control group of its own for the calling process and what it starts; until it is dropped, when the rest must have ended.
///
/// The kernel handles packets in the name of whoever runs when they arrive, which on veths is their sender, or by a thread of
/// its own on each core.
#[derive(Debug)]
pub(super) struct Usage {
    group: PathBuf,
    parent: PathBuf,
    /// Of the kernel's threads for packets.
    threads: Vec<PathBuf>,
}

impl Usage {
    /// # Errors
    /// When there are no control groups of version 2, or none can be made.
    pub(super) fn begin() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let parent = own_group(&read("/proc/self/mounts")?, &read("/proc/self/cgroup")?)
            .context("no control groups of version 2 are mounted, by which processor time is counted")?;
        let group = parent.join(format!("ferrolev-bench-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        let usage = Self { group, parent, threads: packet_threads()? };
        enter(&usage.group)?;
        Ok(usage)
    }

    /// Seconds so far.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(self.group.join("cpu.stat")).context("cannot read cpu.stat")?;
        let own = microseconds(&stat).with_context(|| format!("cpu.stat without usage:\n{stat}"))?;
        let of = |thread: &PathBuf| {
            let text = fs::read_to_string(thread).unwrap_or_default();
            text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0)
        };
        Ok(own / 1e6 + self.threads.iter().map(of).sum::<f64>() / 1e9)
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let _ = enter(&self.parent);
        let _ = fs::remove_dir(&self.group);
    }
}

fn enter(group: &Path) -> Result<()> {
    // 0 is whoever writes it.
    fs::write(group.join("cgroup.procs"), "0").with_context(|| format!("cannot enter {}", group.display()))
}

/// The directory of the group that this process is in.
fn own_group(mounts: &str, groups: &str) -> Option<PathBuf> {
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|words| words.get(2) == Some(&"cgroup2"))?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount.get(1)?).join(group))
}

fn microseconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

/// Where the kernel says how long each has run.
fn packet_threads() -> Result<Vec<PathBuf>> {
    let processes = fs::read_dir("/proc").context("cannot read /proc")?.flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
    };
    Ok(processes.filter(is_one).map(|path| path.join("schedstat")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_beside_those_of_version_1() {
        let mounts =
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let group = |groups| own_group(mounts, groups);
        assert_eq!(group("1:cpu:/\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(group("0::/user.slice/a\n"), Some("/sys/fs/cgroup/unified/user.slice/a".into()));
        assert_eq!(group("1:cpu:/\n"), None);
        assert_eq!(own_group("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", "0::/\n"), None);
    }

    #[test]
    fn usage_is_in_the_first_line_of_its_name() {
        assert_eq!(microseconds("usage_usec 1500\nuser_usec 7\n"), Some(1500.0));
        assert_eq!(microseconds("user_usec 7\n"), None);
    }
}
