//! `cargo xtask vm-test`: the real `ferrolev` on other kernels, in qemu without hardware help.
//!
//! A Debian kernel is unpacked under `target/vm/`, never installed; the guest's file system is made of a few of this
//! machine's programs, the kernel's modules and the scripts in `tests/vm/`. The scripts decide what passes; here their
//! verdicts are shown and counted. With `--bench` it is measured instead, beside that kernel's own balancer.

mod bench;
mod initramfs;
mod kernel;
mod machine;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, find, succeed, target_dir};
use crate::setup;
use kernel::Kernel;
use machine::Verdicts;

/// Far above what the tests take on a slow machine; a guest that hangs is ended then.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// What a benchmark runs in the guest beside `ferrolev`.
const PEERS: [&str; 3] = ["ipvsadm", "nginx", "wrk"];

/// Which kernels to run, and what on them.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this kernel series, such as 6.1 or 6.12; may be given again. The newest Debian cloud kernel of it is taken
    #[arg(long, default_values = ["6.1", "6.12"])]
    kernel: Vec<String>,
    /// Take this `ferrolev` rather than building one for release
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Measure it beside IPVS, the kernel's own balancer, rather than testing it
    #[arg(long)]
    bench: bool,
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
    let own = if options.bench { "flood" } else { "fuzz" };
    succeed(cargo(["build", "--package", "tests", "--bin", own]))?;
    let mut programs = vec![("ferrolev", ferrolev), (own, target_dir().join("debug").join(own))];
    if options.bench {
        setup::vm_peers()?;
        for peer in PEERS {
            programs.push((peer, find(peer).with_context(|| format!("no {peer} on this machine"))?));
        }
    }
    let task = if options.bench { "bench.sh" } else { "guest.sh" };
    let mut total = Verdicts::default();
    for series in &options.kernel {
        total += run_on(series, &programs, task)?;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build() -> Result<PathBuf> {
    succeed(cargo(["build", "--release", "--package", "lb-user"]))?;
    Ok(target_dir().join("release/ferrolev"))
}

fn run_on(series: &str, programs: &[(&str, PathBuf)], task: &str) -> Result<Verdicts> {
    let dir = target_dir().join("vm");
    let kernel = Kernel::fetch(series, &dir)?;
    println!("vm-test: starting Linux {}", kernel.release);
    let started = Instant::now();
    let initramfs = initramfs::build(&kernel, programs, &dir)?;
    let verdicts = machine::run(&kernel.image(), &initramfs, task, TIME_LIMIT)?;
    print!("{}", bench::tables(&verdicts.samples));
    println!(
        "Linux {}: {} passed, {} failed, {:.0?}",
        kernel.release,
        verdicts.passed,
        verdicts.failed,
        started.elapsed()
    );
    Ok(verdicts)
}
