//! The object file of the benchmark's own programs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, bail};

#[path = "../../../../xtask/src/toolchain.rs"]
mod toolchain;

/// Of the benchmark's programs.
const BINARY: &str = "ferrolev-bench-ebpf";

/// Where the object file is: what `FERROLEV_BENCH_OBJECT` names, or built now.
///
/// # Errors
/// When it does not build.
pub fn object() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(object) = std::env::var_os("FERROLEV_BENCH_OBJECT") {
        return Ok(object.into());
    }
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// Beside the product's kernel side, as `cargo xtask bench` does.
fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target_dir =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("ebpf");
    let tools = toolchain::BpfToolchain::detect()?;
    let output = tools.build_command(BINARY, &root, &target_dir, &[]).arg("--quiet").output()?;
    if !output.status.success() {
        bail!("{BINARY} does not build with {tools}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(toolchain::object(&target_dir, BINARY))
}
