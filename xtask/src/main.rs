//! What a person does with the project: setup, build, demo, tests and benchmarks.
#![forbid(unsafe_code)]

mod toolchain;

use std::path::Path;

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    let tools = toolchain::BpfToolchain::detect()?;
    println!("kernel side: {tools}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in no workspace")?;
    let target_dir = root.join("target/ebpf");
    let status = tools.build_command(root, &target_dir, &[]).status()?;
    ensure!(status.success(), "the kernel side does not build");
    println!("{}", target_dir.join(toolchain::OBJECT).display());
    Ok(())
}
