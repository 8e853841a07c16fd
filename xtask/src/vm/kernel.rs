//! A Debian kernel, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{find, output, succeed_quietly};

/// An unpacked kernel with its modules.
#[derive(Debug)]
pub(super) struct Kernel {
    dir: PathBuf,
    /// Such as `6.1.0-56-cloud-amd64`.
    pub(super) release: String,
}

const PREFIX: &str = "linux-image-";
const SUFFIX: &str = "-cloud-amd64-unsigned";

impl Kernel {
    /// Downloads the newest kernel of a series into a directory of its own below `cache`, unless it is there.
    pub(super) fn fetch(series: &str, cache: &Path) -> Result<Self> {
        let package = newest(series)?;
        let dir = cache.join(&package);
        if !dir.is_dir() {
            println!("vm-test: downloading {package}");
            download(&package, &dir)?;
        }
        let modules = fs::read_dir(dir.join("lib/modules"))?.next();
        let release = modules.with_context(|| format!("{package} has no modules"))??.file_name();
        let kernel = Self { dir, release: release.to_string_lossy().into_owned() };
        kernel.index_modules()?;
        Ok(kernel)
    }

    pub(super) fn image(&self) -> PathBuf {
        self.dir.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The files of a module and of all it needs, in the order of loading; none when it is built in.
    pub(super) fn module_files(&self, module: &str) -> Result<Vec<PathBuf>> {
        let mut modprobe = Command::new(find("modprobe").context("no modprobe; install kmod")?);
        modprobe.arg("-d").arg(&self.dir).args(["-S", &self.release, "--show-depends", module]);
        let lines = output(modprobe)?;
        Ok(lines
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
            .map(|path| path.trim().into())
            .collect())
    }

    /// Packages leave the index of dependencies to be made where they are installed.
    fn index_modules(&self) -> Result<()> {
        if self.dir.join("lib/modules").join(&self.release).join("modules.dep").is_file() {
            return Ok(());
        }
        let mut depmod = Command::new(find("depmod").context("no depmod; install kmod")?);
        depmod.arg("-b").arg(&self.dir).arg(&self.release);
        succeed_quietly(depmod)
    }
}

/// The newest package of a series that Debian offers; older ones vanish from its archive.
fn newest(series: &str) -> Result<String> {
    let mut search = Command::new("apt-cache");
    search.args(["search", "--names-only", "--", SUFFIX]);
    let found = output(search)?;
    let packages = found.lines().filter_map(|line| line.split_whitespace().next());
    let start = format!("{PREFIX}{series}.");
    let of_series = packages.filter(|name| name.starts_with(&start) && name.ends_with(SUFFIX));
    let Some(newest) = of_series.max_by_key(|name| numbers(name)) else {
        bail!("Debian offers no {start}*{SUFFIX}; run `apt-get update`, or name another series by --kernel");
    };
    Ok(newest.to_owned())
}

/// All numbers in a name, which order versions as people do.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The directory appears when it is complete.
fn download(package: &str, dir: &Path) -> Result<()> {
    let partial = dir.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let unpacked = partial.join("unpacked");
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    let mut get = Command::new("apt-get");
    get.current_dir(&partial).args(["--quiet", "-o", "APT::Sandbox::User=root", "download", package]);
    succeed_quietly(get)?;
    let file = fs::read_dir(&partial)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download {package} left no file"))?;
    let mut unpack = Command::new("dpkg");
    unpack.arg("-x").arg(file).arg(&unpacked);
    succeed_quietly(unpack)?;
    fs::rename(&unpacked, dir)?;
    fs::remove_dir_all(&partial)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let name = |version: &str| numbers(&format!("{PREFIX}{version}{SUFFIX}"));
        assert!(name("6.1.0-9") < name("6.1.0-56"));
        assert!(name("6.12.99+deb12") < name("6.12.117+deb12"));
    }
}
