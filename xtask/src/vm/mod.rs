//! `cargo xtask vm-test`: the real `ferrolev` on other kernels, in qemu without hardware help.
//!
//! A Debian kernel is unpacked under `target/vm/`, never installed; the guest's file system is made of a few of this
//! machine's programs, the kernel's modules and the scripts in `tests/vm/`. The scripts decide what passes; here their
//! verdicts are shown and counted.

mod initramfs;
mod kernel;
mod machine;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{cargo, succeed, target_dir};
use crate::setup;
use kernel::Kernel;
use machine::Verdicts;

/// Far above what the tests take on a slow machine; a guest that hangs is ended then.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Which kernels to run, and what on them.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this kernel series, such as 6.1 or 6.12; may be given again. The newest Debian cloud kernel of it is taken
    #[arg(long, default_values = ["6.1", "6.12"])]
    kernel: Vec<String>,
    /// Take this `ferrolev` rather than building one for release
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the guest's tests on each kernel and prints a last line `N passed, N failed`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("vm-test runs on x86-64 only: the guest is made of this machine's programs");
    }
    setup::kernel_side()?;
    setup::vm()?;
    let ferrolev = match &options.binary {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    succeed(cargo(["build", "--package", "tests", "--bin", "fuzz"]))?;
    let programs = [("ferrolev", ferrolev), ("fuzz", target_dir().join("debug/fuzz"))];
    let mut total = Verdicts::default();
    for series in &options.kernel {
        total += run_on(series, &programs)?;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build() -> Result<PathBuf> {
    succeed(cargo(["build", "--release", "--package", "lb-user"]))?;
    Ok(target_dir().join("release/ferrolev"))
}

fn run_on(series: &str, programs: &[(&str, PathBuf)]) -> Result<Verdicts> {
    let dir = target_dir().join("vm");
    let kernel = Kernel::fetch(series, &dir)?;
    println!("vm-test: starting Linux {}", kernel.release);
    let started = Instant::now();
    let initramfs = initramfs::build(&kernel, programs, &dir)?;
    let verdicts = machine::run(&kernel.image(), &initramfs, TIME_LIMIT)?;
    println!(
        "Linux {}: {} passed, {} failed, {:.0?}",
        kernel.release,
        verdicts.passed,
        verdicts.failed,
        started.elapsed()
    );
    Ok(verdicts)
}
