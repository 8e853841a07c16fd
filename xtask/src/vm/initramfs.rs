//! The guest's file system: programs of this machine with their libraries, kernel modules, and the scripts.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::command::{find, output, root};

/// Busybox brings the rest; its own shell would prefer its own, lesser `ip`.
const PROGRAMS: [&str; 6] = ["busybox", "dash", "ip", "ethtool", "curl", "nice"];
const MODULES: [&str; 9] = ["veth", "8021q", "ipip", "sit", "ip6_tunnel", "fou", "fou6", "ip_vs", "ip_vs_mh"];
const DIRECTORIES: [&str; 7] = ["bin", "etc", "proc", "sys", "dev", "run", "modules"];

/// Makes the file system below `dir`, with our own `programs` under their names, and packs it; returns the archive.
pub(super) fn build(kernel: &Kernel, programs: &[(&str, PathBuf)], dir: &Path) -> Result<PathBuf> {
    let guest = dir.join("guest");
    if guest.exists() {
        fs::remove_dir_all(&guest)?;
    }
    for name in DIRECTORIES {
        fs::create_dir_all(guest.join(name))?;
    }
    for script in ["init", "common.sh", "guest.sh", "answers.sh", "bench.sh"] {
        copy(&root().join("tests/vm").join(script), &guest.join(script))?;
    }
    for program in PROGRAMS {
        let path = find(program).with_context(|| format!("no {program} on this machine"))?;
        add_program(&path, program, &guest)?;
    }
    for (name, program) in programs {
        add_program(program, name, &guest)?;
    }
    add_modules(kernel, &guest.join("modules"))?;
    fs::write(guest.join("etc/passwd"), "root:x:0:0:root:/:/bin/dash\n")?;
    fs::write(guest.join("etc/group"), "root:x:0:\n")?;
    fs::write(guest.join("etc/services"), "http 80/tcp\n")?;
    symlink("../run", guest.join("var")).context("cannot link var")?;
    let archive = dir.join("guest.cpio");
    pack(&guest, &archive)?;
    Ok(archive)
}

/// A program into `bin`, and its libraries to where its loader looks for them.
fn add_program(program: &Path, name: &str, guest: &Path) -> Result<()> {
    copy(program, &guest.join("bin").join(name))?;
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    // A static program has none, which ldd calls a failure.
    let Ok(libraries) = output(ldd) else { return Ok(()) };
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = guest.join(library.trim_start_matches('/'));
        if !place.exists() {
            fs::create_dir_all(place.parent().unwrap_or(guest))?;
            copy(Path::new(library), &place)?;
        }
    }
    Ok(())
}

/// The modules, unpacked, and the file `order` that says how to load them.
fn add_modules(kernel: &Kernel, place: &Path) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut order = fs::File::create(place.join("order"))?;
    for module in MODULES {
        for file in kernel.module_files(module)? {
            if seen.insert(file.clone()) {
                writeln!(order, "{}", add_module(&file, place)?)?;
            }
        }
    }
    Ok(())
}

fn add_module(file: &Path, place: &Path) -> Result<String> {
    let packed = file.extension() == Some(OsStr::new("xz"));
    let name = if packed { file.file_stem() } else { file.file_name() };
    let name =
        name.with_context(|| format!("{} has no name", file.display()))?.to_string_lossy().into_owned();
    let target = place.join(&name);
    if !packed {
        copy(file, &target)?;
        return Ok(name);
    }
    let status = Command::new("xz").args(["-dc"]).arg(file).stdout(fs::File::create(&target)?).status()?;
    if !status.success() {
        bail!("cannot unpack {}: {status}", file.display());
    }
    Ok(name)
}

fn pack(guest: &Path, archive: &Path) -> Result<()> {
    let mut find = Command::new("find").arg(".").current_dir(guest).stdout(Stdio::piped()).spawn()?;
    let names = find.stdout.take().context("find has no output")?;
    let packed = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet"])
        .current_dir(guest)
        .stdin(names)
        .stdout(fs::File::create(archive)?)
        .status()
        .context("cannot run cpio")?;
    if !(find.wait()?.success() && packed.success()) {
        bail!("the guest's file system cannot be packed");
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
