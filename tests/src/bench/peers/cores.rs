//! Who runs on which core (the client on the last one, everybody else on the others), and how much of all cores' time was used.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, and nobody else.
const SELF: Pid = Pid::from_raw(0);

/// Until it is dropped, the calling thread and what it starts keep off the client's core.
#[derive(Debug)]
pub(super) struct Cores {
    all: CpuSet,
    client: CpuSet,
    others: CpuSet,
}

impl Cores {
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn split() -> Result<Self> {
        let all = sched_getaffinity(SELF).context("cannot see on which cores this may run")?;
        let numbers: Vec<usize> = (0..CpuSet::count()).filter(|core| all.is_set(*core) == Ok(true)).collect();
        let (mut client, mut others) = (CpuSet::new(), all);
        let last = *numbers.last().context("no core at all")?;
        client.set(last)?;
        if numbers.len() > 1 {
            others.unset(last)?;
        }
        sched_setaffinity(SELF, &others).context("cannot keep off the client's core")?;
        Ok(Self { all, client, others })
    }

    /// Does something on the client's core; so do programs that it starts.
    ///
    /// # Errors
    /// When the kernel refuses, and those of `work`.
    pub(super) fn as_client<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(SELF, &self.client)?;
        let result = work();
        sched_setaffinity(SELF, &self.others)?;
        result
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        let _ = sched_setaffinity(SELF, &self.all);
    }
}

/// Seconds that all cores together have worked since the machine started, interrupts included; without programs that others run
/// at a lower priority than this one, as people do with builds.
///
/// # Errors
/// When the kernel does not say.
pub(super) fn busy_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let own = std::fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let nice = own.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(16)?.parse().ok()).unwrap_or(0);
    busy(&stat, nice > 0).with_context(|| format!("/proc/stat without a line of all cores:\n{stat}"))
}

/// `nice`: whether this program has a low priority itself.
fn busy(stat: &str, nice: bool) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, low, system, _idle, _waiting, interrupts, soft_interrupts, ..] = ticks[..] else {
        return None;
    };
    let low = if nice { low } else { 0.0 };
    // USER_HZ
    Some((user + low + system + interrupts + soft_interrupts) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_idle_cores_and_of_other_people_is_no_work() {
        let stat = "cpu  100 2000 300 40000 500000 6 70 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        assert_eq!(busy(stat, false), Some(4.76));
        assert_eq!(busy(stat, true), Some(24.76));
        assert_eq!(busy("intr 5\n", false), None);
    }

    #[test]
    fn the_client_has_a_core_of_its_own_and_gives_it_back() {
        // A thread of its own: others share this one.
        let check = || {
            let before = sched_getaffinity(SELF).unwrap();
            let cores = Cores::split().unwrap();
            let others = sched_getaffinity(SELF).unwrap();
            let client = cores.as_client(|| Ok(sched_getaffinity(SELF)?)).unwrap();
            let several = (0..CpuSet::count()).filter(|core| before.is_set(*core).unwrap()).count() > 1;
            assert_eq!(client == others, !several);
            assert_eq!(sched_getaffinity(SELF).unwrap(), others);
            drop(cores);
            assert_eq!(sched_getaffinity(SELF).unwrap(), before);
        };
        std::thread::spawn(check).join().unwrap();
    }
}
