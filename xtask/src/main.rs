//! What a person does with the project: setup, build, demo, tests, benchmarks and checks.
//!
//! Every command first sees that what it needs is installed (`setup`), so any of them works on a fresh machine.
#![forbid(unsafe_code)]

mod check;
mod command;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::cargo;

/// Setup, build, demo, tests and benchmarks of Ferrolev.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing for the build, the demo and the tests
    Setup,
    /// Build target/release/ferrolev, one self-contained binary
    Build,
    /// Balance real HTTP traffic between network namespaces (needs root)
    Demo {
        /// Leave everything running afterwards and print commands to play with
        #[arg(long)]
        keep: bool,
        /// Only remove what an earlier --keep left running
        #[arg(long, conflicts_with = "keep")]
        clean: bool,
    },
    /// Run all tests: host, kernel and network namespaces
    Test(test::Selection),
    /// Run the real binary on other kernels in qemu, against those kernels' own tunnels (downloads Debian kernels)
    VmTest(vm::Options),
    /// Measure everything, or the sections that are named (needs root)
    Bench {
        /// Passed on to the benchmark, such as `--quick --html report.html` or `datapath`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Send the benchmark's packets out of a real interface, or count them where they arrive (needs root)
    // Its own --help says more.
    #[command(disable_help_flag = true)]
    Generate {
        /// Passed on to the generator, such as `--interface eth1 --next-hop-mac 02:00:00:00:00:01 --destination
        /// 192.0.2.1:443`, or `sink --interface eth2 --destination 192.0.2.1:443`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Random packets through both builds of the packet story, which must agree (needs root); or random bytes into one
    /// decoder
    Fuzz {
        /// Passed on to the fuzzer, such as `--short`, `--seed 7`, `--packets 1000` or `--target config`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Formatting, clippy, and the kernel side, with warnings as errors
    Check,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Setup => {
            let tools = setup::kernel_side()?;
            setup::lab()?;
            setup::peers();
            println!("setup: complete; the kernel side builds with {tools}");
        }
        Task::Build => {
            setup::kernel_side()?;
            command::succeed(cargo(["build", "--release", "--package", "lb-user"]))?;
            println!("{}", command::target_dir().join("release/ferrolev").display());
        }
        Task::Demo { keep, clean } => {
            let flags = [("--keep", keep), ("--clean", clean)];
            let given = flags.into_iter().filter(|(_, given)| *given);
            let given: Vec<_> = given.map(|(flag, _)| flag.to_owned()).collect();
            return in_lab("demo", &given, &[]);
        }
        Task::Test(selection) => return test::run(&selection),
        Task::VmTest(options) => return vm::run(&options),
        Task::Bench { arguments } => return bench(&arguments),
        Task::Generate { arguments } => return generate(&arguments),
        Task::Fuzz { arguments } => return fuzz(&arguments),
        Task::Check => check::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the benchmark's own kernel side, then runs the benchmark around the product's.
fn bench(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let object = bench_object()?;
    setup::peers();
    in_lab("bench", arguments, &[(BENCH_OBJECT, object)])
}

/// On a host that need be no lab.
fn generate(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let object = bench_object()?;
    command::succeed(cargo(["build", "--release", "--package", "tests", "--bin", "generate"]))?;
    let mut binary = std::process::Command::new(command::target_dir().join("release/generate"));
    binary.args(arguments).env(BENCH_OBJECT, object);
    Err(command::become_program(binary))
}

/// Tells a binary of the tests package where the benchmark's own programs are.
const BENCH_OBJECT: &str = "FERROLEV_BENCH_OBJECT";

/// Builds the benchmark's own programs for the kernel.
fn bench_object() -> anyhow::Result<PathBuf> {
    let tools = setup::kernel_side()?;
    let target_dir = command::target_dir().join("ebpf");
    let binary = "ferrolev-bench-ebpf";
    let mut build = tools.build_command(binary, command::root(), &target_dir, &[]);
    build.arg("--quiet");
    command::succeed(build)?;
    Ok(toolchain::object(&target_dir, binary))
}

/// Fuzzes the build for development: it panics where a number overflows.
fn fuzz(arguments: &[String]) -> anyhow::Result<ExitCode> {
    setup::kernel_side()?;
    command::succeed(cargo(["build", "--quiet", "--package", "tests", "--bin", "fuzz"]))?;
    let mut binary = std::process::Command::new(command::target_dir().join("debug/fuzz"));
    binary.args(arguments);
    Err(command::become_program(binary))
}

/// Builds a binary of the tests package and becomes it.
fn in_lab(name: &str, arguments: &[String], environment: &[(&str, PathBuf)]) -> anyhow::Result<ExitCode> {
    setup::kernel_side()?;
    setup::lab()?;
    let build = ["build", "--release", "--package", "lb-user", "--package", "tests", "--bins"];
    command::succeed(cargo(build))?;
    let release = command::target_dir().join("release");
    let mut binary = std::process::Command::new(release.join(name));
    binary.args(arguments).env("FERROLEV_BINARY", release.join("ferrolev"));
    binary.envs(environment.iter().map(|(name, value)| (name, value)));
    Err(command::become_program(binary))
}
