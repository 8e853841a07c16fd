//! Running other programs: cargo with this workspace, programs whose output only matters when they fail, and a search
//! in `PATH`.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's directory.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this program, in the workspace.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// Runs with this program's output; an error when it fails.
pub(crate) fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_run(&command))?;
    if !status.success() {
        bail!("`{}`: {status}", line(&command));
    }
    Ok(())
}

/// Runs without output; an error with all of it when it fails.
pub(crate) fn succeed_quietly(command: Command) -> Result<()> {
    output(command).map(drop)
}

/// What a program prints; an error with all of it when it fails.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_run(&command))?;
    if !output.status.success() {
        bail!(
            "`{}`: {}\n{}{}",
            line(&command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes the other program, so that its exit code, and Ctrl-C, are its own affair. Returns only when that fails.
pub(crate) fn become_program(mut command: Command) -> anyhow::Error {
    let error = command.exec();
    anyhow::Error::new(error).context(cannot_run(&command))
}

/// The program in `PATH`, or where administrators' programs are when `PATH` leaves those out. A whole path is itself.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

pub(crate) fn is_root() -> bool {
    // The owner of this process's directory is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

fn cannot_run(command: &Command) -> String {
    format!("cannot run {}", command.get_program().display())
}

fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}
