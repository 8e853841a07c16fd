//! The compiler and linker for the kernel side: which are there, and how cargo is told to use them.
//!
//! Building for BPF takes a compiler that accepts unstable options, the sources of `core`, and bpf-linker. Two sets are
//! known: a rustup nightly with `rust-src`, and Debian's `rustc-web` with `rust-web-src`.
//!
//! `lb-user/build.rs` includes this file too, so that an ordinary `cargo build` makes the kernel side without xtask;
//! hence it uses nothing but the standard library.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The triple of little-endian BPF.
const TARGET: &str = "bpfel-unknown-none";

/// Where [`BpfToolchain::build_command`] leaves the object `binary` below its target directory.
#[must_use]
pub(crate) fn object(target_dir: &Path, binary: &str) -> PathBuf {
    target_dir.join(TARGET).join("bpf").join(binary)
}

/// A complete set of tools for the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BpfToolchain {
    pub(crate) compiler: BpfCompiler,
    pub(crate) linker: BpfLinker,
}

/// A compiler with the sources of `core`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BpfCompiler {
    /// A rustup nightly with `rust-src`.
    Nightly { sysroot: PathBuf },
    /// Debian's packages `rustc-web` and `rust-web-src`.
    Debian,
}

/// bpf-linker, and what this build of it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BpfLinker {
    pub(crate) path: PathBuf,
    /// Loads and stores need not be aligned; builds on LLVM 22 or later.
    pub(crate) misaligned_access: bool,
}

/// What is missing for the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) compiler: bool,
    pub(crate) linker: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel side cannot be built: ")?;
        if self.compiler {
            f.write_str(
                "no compiler with the sources of core (a rustup nightly with rust-src, or Debian's rustc-web with rust-web-src)",
            )?;
        }
        if self.compiler && self.linker {
            f.write_str(" and ")?;
        }
        if self.linker {
            f.write_str("no bpf-linker in PATH or in cargo's bin directory")?;
        }
        f.write_str("; run: cargo xtask setup")
    }
}

impl std::error::Error for Missing {}

impl fmt::Display for BpfToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.compiler {
            BpfCompiler::Nightly { sysroot } => write!(f, "rustup nightly ({})", sysroot.display())?,
            BpfCompiler::Debian => write!(f, "Debian's rustc-web ({DEBIAN_RUSTC})")?,
        }
        write!(f, " with {}", self.linker.path.display())
    }
}

impl BpfToolchain {
    /// The first complete set.
    ///
    /// # Errors
    /// [`Missing`] says what there is none of.
    pub(crate) fn detect() -> Result<Self, Missing> {
        match (BpfCompiler::detect(), BpfLinker::detect()) {
            (Some(compiler), Some(linker)) => Ok(Self { compiler, linker }),
            (compiler, linker) => Err(Missing { compiler: compiler.is_none(), linker: linker.is_none() }),
        }
    }

    /// The cargo command that builds the object `binary` of the workspace at `root` into `target_dir`, which must not be a
    /// directory that an outer cargo has locked. `flags` go to the compiler beside those that every build takes.
    #[must_use]
    pub(crate) fn build_command(
        &self,
        binary: &str,
        root: &Path,
        target_dir: &Path,
        flags: &[&str],
    ) -> Command {
        let mut command = self.cargo();
        command
            .current_dir(root)
            .args(["build", "--package", "lb-ebpf", "--bin", binary])
            .args(["--profile", "bpf", "--target", TARGET, "-Z", "build-std=core"])
            .arg("--target-dir")
            .arg(target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(root, flags));
        command
    }

    /// Cargo with this compiler and none of the settings of a cargo, rustc or clippy that runs around it.
    fn cargo(&self) -> Command {
        let (mut command, rustc) = match &self.compiler {
            BpfCompiler::Nightly { sysroot } => {
                (Command::new(sysroot.join("bin/cargo")), sysroot.join("bin/rustc"))
            }
            BpfCompiler::Debian => {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
                (Command::new(cargo), PathBuf::from(DEBIAN_RUSTC))
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_build_setting) {
                command.env_remove(name);
            }
        }
        command.env("RUSTC", rustc);
        if self.compiler == BpfCompiler::Debian {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// Flags in the form of `CARGO_ENCODED_RUSTFLAGS`. Paths are cut to what is the same on every machine, so that the
    /// object is too.
    fn rustflags(&self, root: &Path, flags: &[&str]) -> OsString {
        // v3 brings 32-bit arithmetic and compact jumps; every kernel since 5.1 takes it.
        let mut all: Vec<OsString> =
            vec!["-Cdebuginfo=2".into(), "-Ctarget-cpu=v3".into(), "-Clink-arg=--btf".into()];
        if self.linker.misaligned_access {
            all.push("-Clink-arg=--cpu-features=+allows-misaligned-mem-access".into());
        }
        all.push(joined("-Clinker=", &self.linker.path, ""));
        all.push(joined("--remap-path-prefix=", root, "=."));
        if let Some(home) = cargo_home() {
            all.push(joined("--remap-path-prefix=", &home, "=cargo"));
        }
        all.extend(flags.iter().map(OsString::from));
        all.join(std::ffi::OsStr::new("\u{1f}"))
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/core";

impl BpfCompiler {
    #[must_use]
    pub(crate) fn detect() -> Option<Self> {
        Self::nightly().or_else(Self::debian)
    }

    fn nightly() -> Option<Self> {
        // Run through rustup and not as `rustc +nightly`: the latter would install what is missing.
        let output = Command::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
        let complete = sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
            && sysroot.join("bin/cargo").is_file()
            && sysroot.join("bin/rustc").is_file();
        complete.then_some(Self::Nightly { sysroot })
    }

    fn debian() -> Option<Self> {
        (Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_SOURCES).is_dir()).then_some(Self::Debian)
    }
}

impl BpfLinker {
    #[must_use]
    pub(crate) fn detect() -> Option<Self> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&search)
            .chain(cargo_home().map(|home| home.join("bin")))
            .map(|dir| dir.join("bpf-linker"))
            .find(|path| path.is_file())?;
        let help = Command::new(&path).arg("--help").output().ok()?.stdout;
        let help = String::from_utf8_lossy(&help);
        Some(Self { path, misaligned_access: help.contains("allows-misaligned-mem-access") })
    }
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

/// Whether an environment variable tells a cargo, rustc or clippy how to build, and would leak into the inner build.
fn is_build_setting(name: &str) -> bool {
    const KEPT: [&str; 2] = ["CARGO_HOME", "CARGO_TERM_COLOR"];
    const KEPT_GROUPS: [&str; 3] = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR"];
    const GROUPS: [&str; 4] = ["CARGO", "RUSTC", "RUSTDOC", "CLIPPY"];
    const SINGLE: [&str; 9] = [
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "NUM_JOBS",
        "OUT_DIR",
    ];
    !KEPT.contains(&name)
        && !KEPT_GROUPS.iter().any(|group| name.starts_with(group))
        && (SINGLE.contains(&name) || GROUPS.iter().any(|group| name.starts_with(group)))
}

fn joined(before: &str, path: &Path, after: &str) -> OsString {
    let mut text = OsString::from(before);
    text.push(path);
    text.push(after);
    text
}
