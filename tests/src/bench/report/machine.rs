//! What there is to know of the machine that measures.

use std::fs;
use std::thread::available_parallelism;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Better, Figure};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    /// That this process may use.
    pub cores: usize,
    /// In MiB.
    pub memory_mib: u64,
    pub virtual_machine: bool,
    /// The kernel's release.
    pub kernel: String,
    /// Whether programs are compiled.
    pub jit: bool,
    /// Against Spectre v2, as the kernel describes it: retpolines cost with each tail call.
    pub mitigations: String,
    /// Processes that wanted to run in the last minute, when the measurement began.
    pub load: f64,
    /// Of Ferrolev.
    pub version: String,
    /// Whether the programs in user space are compiled for speed.
    pub release_build: bool,
}

impl Machine {
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let entry = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory_kib = entry(&read("/proc/meminfo"), "MemTotal");
        let number = |text: &str| text.split_whitespace().next().and_then(|number| number.parse().ok());
        Self {
            cpu: entry(&cpuinfo, "model name"),
            cores: available_parallelism().map_or(0, usize::from),
            memory_mib: number(&memory_kib).unwrap_or(0.0) as u64 / 1024,
            virtual_machine: entry(&cpuinfo, "flags").split(' ').any(|flag| flag == "hypervisor"),
            kernel: read("/proc/sys/kernel/osrelease"),
            jit: read("/proc/sys/net/core/bpf_jit_enable") != "0",
            mitigations: read("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
            load: number(&read("/proc/loadavg")).unwrap_or(0.0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            release_build: !cfg!(debug_assertions),
        }
    }

    /// In what it differs from another one so that figures of the two say little about the program: `what: there, here`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = [
            ("processor", &other.cpu, &self.cpu),
            ("kernel", &other.kernel, &self.kernel),
            ("mitigations", &other.mitigations, &self.mitigations),
            ("cores", &other.cores.to_string(), &self.cores.to_string()),
            ("JIT", &other.jit.to_string(), &self.jit.to_string()),
            ("release build", &other.release_build.to_string(), &self.release_build.to_string()),
        ]
        .map(|(what, there, here)| (there != here).then(|| format!("{what}: {there}, now {here}")));
        pairs.into_iter().flatten().collect()
    }

    /// What a reader wants to know, by name.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let virtual_machine = if self.virtual_machine { ", virtual" } else { "" };
        vec![
            ("processor", format!("{}, {} cores{virtual_machine}", self.cpu, self.cores)),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("kernel", format!("{}, JIT {}", self.kernel, if self.jit { "on" } else { "off" })),
            ("mitigations", self.mitigations.clone()),
            ("load before", format!("{:.1}", self.load)),
            (
                "Ferrolev",
                format!("{}, {} build", self.version, if self.release_build { "release" } else { "debug" }),
            ),
        ]
    }
}

/// How fast it is now: a fixed piece of arithmetic and of memory in no order, by one core.
pub(super) fn pace() -> Figure {
    const WORDS: usize = 1 << 15;
    const STEPS: u32 = 1 << 20;
    let mut memory: Vec<u64> = (0..).take(WORDS).collect();
    let mut at = 1_u64;
    let mut turn = || {
        let began = Instant::now();
        for _ in 0..STEPS {
            at ^= at << 13;
            at ^= at >> 7;
            at ^= at << 17;
            let word = &mut memory[at as usize % WORDS];
            *word = word.wrapping_mul(at | 1);
            at ^= *word & 1;
        }
        began.elapsed().as_secs_f64() * 1000.0
    };
    let times: Vec<f64> = (0..10).map(|_| turn()).collect();
    Figure::of(&times, "ms", Better::Lower).expect("there are some")
}

/// A file of the kernel, or nothing where there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_and_like_itself() {
        let here = Machine::here();
        assert!(here.cores > 0 && here.memory_mib > 0 && !here.kernel.is_empty(), "{here:?}");
        assert_eq!(here.differences(&Machine { load: 99.0, ..here.clone() }), Vec::<String>::new());
    }

    #[test]
    fn another_kernel_and_fewer_cores_are_said() {
        let machine =
            |kernel: &str, cores| Machine { kernel: kernel.to_owned(), cores, ..Machine::default() };
        let said = machine("6.18.1", 2).differences(&machine("6.1.0", 4));
        assert_eq!(said, ["kernel: 6.1.0, now 6.18.1", "cores: 4, now 2"]);
    }
}
