//! Builds the kernel side and hands it to the crate, so that one ordinary `cargo build` makes one complete binary.
//!
//! The object is built in a directory of its own below the workspace's target directory: the outer cargo has locked its
//! own, and so debug, test and release builds share one object. Sets for the crate:
//!
//! - `FERROLEV_OBJECT`: path of the object in `OUT_DIR`
//! - `FERROLEV_OBJECT_SHA256`: its hash, hexadecimal
//! - `FERROLEV_REVISION`: the git revision, with `-dirty` when files differ from it; `unknown` without git

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use sha2::{Digest, Sha256};

/// The kernel side of the product.
const BINARY: &str = "ferrolev-ebpf";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let root = workspace_root()?;
    watch_sources(&root);

    let object = build_object(&root)?;
    let copy = PathBuf::from(std::env::var("OUT_DIR")?).join("ferrolev-ebpf");
    fs::write(&copy, &object)?;

    println!("cargo::rustc-env=FERROLEV_OBJECT={}", copy.display());
    println!("cargo::rustc-env=FERROLEV_OBJECT_SHA256={}", sha256(&object));
    println!("cargo::rustc-env=FERROLEV_REVISION={}", revision(&root));
    Ok(())
}

fn workspace_root() -> Result<PathBuf, Box<dyn Error>> {
    let package = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    Ok(package.parent().ok_or("lb-user lies in no workspace")?.to_owned())
}

fn watch_sources(root: &Path) {
    for source in [
        "Cargo.lock",
        "Cargo.toml",
        "lb-common/Cargo.toml",
        "lb-common/src",
        "lb-ebpf/Cargo.toml",
        "lb-ebpf/src",
        "lb-user/build.rs",
        "lb-user/src",
        "xtask/src/toolchain.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
}

fn build_object(root: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let tools = toolchain::BpfToolchain::detect()?;
    println!("cargo::rerun-if-changed={}", tools.linker.path.display());
    let target_dir =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("ebpf");
    // The compiler's messages go to this script's stderr, which cargo shows when the script fails.
    let status = tools.build_command(BINARY, root, &target_dir, &[]).status()?;
    if !status.success() {
        return Err(format!("the eBPF program (lb-ebpf) does not build with {tools}: see above").into());
    }
    Ok(fs::read(toolchain::object(&target_dir, BINARY))?)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn revision(root: &Path) -> String {
    let Some(revision) = git(root, &["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // A line is added to this log whenever HEAD moves. Edits that make the tree dirty are sources, watched already.
    if let Some(log) = git(root, &["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])
        .filter(|log| Path::new(log).is_file())
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let clean = git(root, &["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| changes.is_empty());
    if clean { revision } else { format!("{revision}-dirty") }
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
