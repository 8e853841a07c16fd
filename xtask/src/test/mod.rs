//! All tests, ring by ring: host, then kernel, then network namespaces.
//!
//! Everything is built once; then the test programs run one after the other, their output kept back unless they fail.
//! The test programs of the `tests` package tell by their name which ring they belong to: `kernel_…` and `namespace_…`
//! need root, all others run anywhere.

mod program;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, is_root, succeed, target_dir};
use crate::setup;
use program::{Outcome, TestProgram};

/// Test programs that are named for taking the most time of their ring.
const SLOWEST: usize = 8;

/// Which tests to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Only these rings; all by default
    #[arg(long, value_enum)]
    ring: Vec<Ring>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Ring {
    /// Unit, property and packet tests; no privileges needed
    Host,
    /// Programs and maps in this kernel
    Kernel,
    /// Real traffic between network namespaces
    Namespaces,
}

impl Ring {
    const ALL: [Self; 3] = [Self::Host, Self::Kernel, Self::Namespaces];

    fn of(program: &str) -> Self {
        if program.starts_with("kernel_") {
            Self::Kernel
        } else if program.starts_with("namespace_") {
            Self::Namespaces
        } else {
            Self::Host
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::Namespaces => "namespaces",
        }
    }

    /// Tests of a program that run at once; `None`: as many as there are cores. Labs with a dozen processes each do
    /// not gain by sharing few cores.
    const fn parallel(self) -> Option<u32> {
        match self {
            Self::Host | Self::Kernel => None,
            Self::Namespaces => Some(2),
        }
    }
}

/// Runs the tests and prints a last line `N passed, N failed`.
pub(crate) fn run(selection: &Selection) -> Result<ExitCode> {
    setup::kernel_side()?;
    prepare_lab()?;
    let started = Instant::now();
    let programs = build()?;
    println!("build: {} test programs, {:.0?}", programs.len(), started.elapsed());

    let mut total = Outcome::default();
    for ring in Ring::ALL {
        if selection.ring.is_empty() || selection.ring.contains(&ring) {
            total += run_ring(ring, &programs, selection.filter.as_deref())?;
        }
    }
    if total.skipped > 0 {
        println!(
            "{} skipped, for want of root or of something in this kernel; `cargo xtask test` as root on another kernel has them",
            total.skipped
        );
    }
    if total.passed + total.failed == 0 {
        bail!("no test has that name");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The namespace tests need their tools only where they can run.
fn prepare_lab() -> Result<()> {
    if is_root() {
        return setup::lab();
    }
    if std::env::var("CI").is_ok_and(|value| value == "true") {
        bail!("not root: the kernel and namespace tests cannot run, and CI=true asks for all of them");
    }
    println!("not root: kernel and namespace tests will be skipped");
    Ok(())
}

/// Builds every test program, and the daemon that the namespace tests start.
fn build() -> Result<Vec<TestProgram>> {
    succeed(cargo(["build", "--quiet", "--package", "lb-user", "--package", "tests", "--bins"]))?;
    let mut command = cargo(["test", "--quiet", "--workspace", "--lib", "--bins", "--tests", "--no-run"]);
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the tests do not build: see above");
    }
    TestProgram::from_cargo_messages(&output.stdout).context("cannot read what cargo built")
}

fn run_ring(ring: Ring, programs: &[TestProgram], filter: Option<&str>) -> Result<Outcome> {
    let started = Instant::now();
    let daemon = target_dir().join("debug/ferrolev");
    let mut total = Outcome::default();
    let mut times = Vec::new();
    for program in programs.iter().filter(|program| Ring::of(&program.name) == ring) {
        let mut command = program.command(filter, ring.parallel());
        command.env("FERROLEV_BINARY", &daemon);
        let began = Instant::now();
        total += program.run(command)?;
        times.push((began.elapsed(), &program.name));
    }
    println!("{}: {} passed, {} failed, {:.0?}", ring.label(), total.passed, total.failed, started.elapsed());
    times.sort_unstable_by(|a, b| b.cmp(a));
    let slowest: Vec<_> =
        times.iter().take(SLOWEST).map(|(time, name)| format!("{name} {time:.0?}")).collect();
    println!("{}: slowest {}", ring.label(), slowest.join(", "));
    Ok(total)
}
