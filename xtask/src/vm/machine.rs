//! Running the guest: its console is read line by line until it turns itself off.

use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::bench::Sample;

/// What the guest's tests said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdicts {
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// Of a benchmark.
    pub(super) samples: Vec<Sample>,
    finished: bool,
}

/// Boots, has the script `task` run, prints the console, and counts.
///
/// Emulated, not virtualised: `/dev/kvm` is often missing where this runs.
pub(super) fn run(image: &Path, initramfs: &Path, task: &str, limit: Duration) -> Result<Verdicts> {
    // `timeout` ends qemu even when this program was killed.
    let mut machine = Command::new("timeout");
    machine.arg("--kill-after=5").arg(limit.as_secs().to_string()).arg("qemu-system-x86_64");
    machine.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"]);
    machine.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    machine.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    let common = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off tsc=reliable";
    machine.arg("-append").arg(format!("{common} task={task}"));
    let mut child = machine
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu-system-x86_64")?;
    let console = BufReader::new(child.stdout.take().context("qemu has no console")?);
    let mut verdicts = Verdicts::default();
    for line in console.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        verdicts.read(line);
        println!("  {line}");
    }
    let status = child.wait()?;
    if !verdicts.finished {
        bail!("the machine ended before its tests did ({status}; the limit is {limit:?}): see above");
    }
    Ok(verdicts)
}

impl AddAssign for Verdicts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.finished = other.finished;
    }
}

impl Verdicts {
    fn read(&mut self, line: &str) {
        if line.starts_with("PASS ") {
            self.passed += 1;
        } else if line.starts_with("FAIL ") {
            self.failed += 1;
        } else if let Some(sample) = Sample::parse(line) {
            self.samples.push(sample);
        } else if line == "END" {
            self.finished = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_and_an_end_is_asked_for() {
        let mut verdicts = Verdicts::default();
        for line in ["booting", "PASS one", "FAIL two: PASS me", "PASS three"] {
            verdicts.read(line);
        }
        assert_eq!(verdicts, Verdicts { passed: 2, failed: 1, ..Verdicts::default() });
        verdicts.read("END");
        assert!(verdicts.finished);
    }
}
