//! Who runs on which core: the client on the last one, everybody else on the others.

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

#[cfg(test)]
mod tests {
    use super::*;

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
