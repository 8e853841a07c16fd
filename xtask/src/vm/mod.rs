//! `cargo xtask vm-test`: the real `ferrolev` on another kernel, in qemu without hardware help.
//!
//! A Debian kernel is unpacked under `target/vm/`, never installed; the guest's file system is made of a few of this
//! machine's programs, the kernel's modules and the scripts in `tests/vm/`. The scripts decide what passes; here their
//! verdicts are shown and counted.

mod initramfs;
mod kernel;
mod machine;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{cargo, succeed, target_dir};
use crate::setup;
use kernel::Kernel;

/// Far above what the tests take on a slow machine; a guest that hangs is ended then.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// Which kernel to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The kernel series, such as 6.1 or 6.12; the newest Debian cloud kernel of it is taken
    #[arg(long, default_value = "6.1")]
    kernel: String,
}

/// Runs the guest's tests and prints a last line `N passed, N failed`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("vm-test runs on x86-64 only: the guest is made of this machine's programs");
    }
    setup::kernel_side()?;
    setup::vm()?;
    succeed(cargo(["build", "--release", "--package", "lb-user"]))?;

    let dir = target_dir().join("vm");
    let kernel = Kernel::fetch(&options.kernel, &dir)?;
    let started = Instant::now();
    let initramfs = initramfs::build(&kernel, &target_dir().join("release/ferrolev"), &dir)?;
    println!("vm-test: starting Linux {}", kernel.release);
    let verdicts = machine::run(&kernel.image(), &initramfs, TIME_LIMIT)?;
    println!("Linux {}: {:.0?}", kernel.release, started.elapsed());
    println!("{} passed, {} failed", verdicts.passed, verdicts.failed);
    Ok(if verdicts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
