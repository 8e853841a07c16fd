//! Formatting and lints, for the host and for the kernel side.

use anyhow::{Result, bail};

use crate::command::{cargo, root, succeed, target_dir};
use crate::setup;

/// Everything short of the tests.
pub(crate) fn run() -> Result<()> {
    let tools = setup::kernel_side()?;
    succeed(cargo(["fmt", "--all", "--check"]))?;
    println!("check: formatting is right");

    let mut clippy = cargo(["clippy", "--quiet", "--workspace", "--all-targets"]);
    clippy.args(["--", "-D", "warnings"]);
    succeed(clippy)?;
    println!("check: clippy has no complaint");

    // Other flags make other artifacts: a directory of its own keeps those of the ordinary build.
    for binary in ["ferrolev-ebpf", "ferrolev-bench-ebpf"] {
        let mut kernel_side =
            tools.build_command(binary, root(), &target_dir().join("ebpf-check"), &["-Dwarnings"]);
        kernel_side.arg("--quiet");
        if !kernel_side.status()?.success() {
            bail!("the kernel side has warnings or errors");
        }
    }
    println!("check: the kernel side has no warnings");
    Ok(())
}
