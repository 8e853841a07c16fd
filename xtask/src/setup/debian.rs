//! Debian's packages. Installing one never starts a service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{find, is_root, succeed_quietly};

/// Whether this is Debian, or made of it, and we may install packages.
pub(super) fn can_install() -> bool {
    is_root() && find("apt-get").is_some()
}

/// Whether a package can be installed, after a look at the newest package lists when it is unknown.
pub(super) fn offers(package: &str) -> bool {
    known(package) || {
        update();
        known(package)
    }
}

fn known(package: &str) -> bool {
    Command::new("apt-cache")
        .args(["show", "--quiet", package])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What is enabled by the package that brings it, by the name of its program.
const SERVICES: [&str; 4] = ["nginx", "memcached", "haproxy", "ipvsadm"];

/// Brings the package lists up to date. That some source does not answer is no matter when the packages are found.
fn update() {
    let _ = apt_get().arg("update").output();
}

/// Installs packages without the services in them being started, now or at the next boot.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    update();
    let _no_services = NoServices::guard()?;
    let new: Vec<_> = SERVICES.into_iter().filter(|service| find(service).is_none()).collect();
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    succeed_quietly(install)?;
    for service in new.into_iter().filter(|service| find(service).is_some()) {
        disable(service)?;
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Keeps a service that came with a package from starting at boot.
fn disable(service: &str) -> Result<()> {
    let mut command;
    if find("systemctl").is_some() {
        command = Command::new("systemctl");
        command.args(["disable", service]);
    } else {
        command = Command::new("update-rc.d");
        command.args([service, "disable"]);
    }
    succeed_quietly(command)
}

/// While it lives, Debian's maintainer scripts start no service: `policy-rc.d` forbids it. An administrator's own
/// policy is left as it is.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn guard() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let guard = Self { ours: true };
        fs::write(POLICY, "#!/bin/sh\n# Made by `cargo xtask setup` while it installs packages.\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {POLICY}"))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
