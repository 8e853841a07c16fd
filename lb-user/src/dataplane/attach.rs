//! Attaching the balancer to interfaces: new links, and links whose program is replaced without a gap.

use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode as AyaMode};
use aya::programs::{ProgramError, Xdp};

use super::links::remove_link;
use super::pins::{PinDir, kernel};
use super::{Attachment, DataplaneError, OpenOptions, XdpMode};
use crate::net::link;

/// Puts `program` on every interface of `options`. On an error all interfaces run what they ran before.
pub(super) fn take_over(
    program: &mut Xdp,
    dir: &PinDir,
    options: &OpenOptions,
) -> Result<Vec<Attachment>, DataplaneError> {
    let wanted = resolve(options)?;
    let mut undo = Undo {
        previous: Xdp::from_pin(dir.program(), aya_obj::programs::XdpAttachType::Interface).ok(),
        steps: Vec::new(),
    };
    for attachment in &wanted {
        if let Err(error) = attach(program, dir, attachment, &mut undo) {
            undo.run(dir);
            return Err(error);
        }
    }
    Ok(wanted)
}

fn resolve(options: &OpenOptions) -> Result<Vec<Attachment>, DataplaneError> {
    options
        .interfaces
        .iter()
        .map(|interface| {
            let missing = |_| DataplaneError::NoInterface(interface.clone());
            let ifindex = link::ifindex(interface).map_err(missing)?;
            let driver = link::driver(interface);
            Ok(Attachment { interface: interface.clone(), ifindex, mode: options.mode, driver })
        })
        .collect()
}

fn attach(program: &mut Xdp, dir: &PinDir, to: &Attachment, undo: &mut Undo) -> Result<(), DataplaneError> {
    let path = dir.link(&to.interface, to.mode);
    if path.exists() {
        match replace(program, &path) {
            Ok(()) => {
                undo.steps.push(Step::Replaced(path));
                return Ok(());
            }
            // The device is gone, and its name has come back with another one.
            Err(error) => {
                tracing::info!(interface = to.interface, %error, "the pinned link is dead; attaching anew")
            }
        }
        remove_link(&path)?;
    }
    // The kernel runs one mode at a time on an interface.
    for mode in [XdpMode::Native, XdpMode::Generic, XdpMode::Offload] {
        let other = dir.link(&to.interface, mode);
        if other.exists() {
            remove_link(&other)?;
            undo.steps.push(Step::Detached { path: other, attachment: Attachment { mode, ..to.clone() } });
        }
    }
    create(program, to, path.clone())?;
    undo.steps.push(Step::Created(path));
    Ok(())
}

/// Gives a pinned link another program, at once for every packet.
fn replace(program: &mut Xdp, path: &Path) -> Result<(), DataplaneError> {
    let dead = |error| DataplaneError::other(&path.display().to_string(), error);
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(dead)?);
    let link = XdpLink::try_from(link).map_err(dead)?;
    program.attach_to_link(link).map_err(|error| DataplaneError::other("link update", error))?;
    // The pin keeps the link; the program need not own it.
    Ok(())
}

fn create(program: &mut Xdp, to: &Attachment, path: PathBuf) -> Result<(), DataplaneError> {
    let link = attach_unpinned(program, to)?;
    link.pin(&path).map_err(|error| refused(to, format!("{}: {error}", path.display())))?;
    Ok(())
}

/// A new link, which ends with its owner.
///
/// # Errors
/// When the interface refuses the program; the text names the driver.
pub(crate) fn attach_unpinned(program: &mut Xdp, to: &Attachment) -> Result<FdLink, DataplaneError> {
    let mode = match to.mode {
        XdpMode::Generic => AyaMode::Skb,
        XdpMode::Native => AyaMode::Driver,
        XdpMode::Offload => AyaMode::Hardware,
    };
    let id = program
        .attach_to_if_index(to.ifindex, mode)
        .map_err(|error| refused(to, explain(&error, to.mode)))?;
    let link = program.take_link(id).map_err(|error| refused(to, error.to_string()))?;
    // aya falls back to netlink where the kernel refuses a link; such an attachment would end with this process.
    FdLink::try_from(link).map_err(|_| refused(to, "the kernel gives no BPF link for it".into()))
}

fn refused(to: &Attachment, reason: String) -> DataplaneError {
    let Attachment { interface, driver, mode, .. } = to.clone();
    DataplaneError::Attach { interface, driver, mode, reason }
}

/// The kernel's reason, without aya's wrapping, and the way out.
fn explain(error: &ProgramError, mode: XdpMode) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    let other_way = match mode {
        XdpMode::Generic => "use another interface",
        XdpMode::Native | XdpMode::Offload => "use --xdp-mode generic or another interface",
    };
    match source.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
        Some(libc::EBUSY | libc::EEXIST) => {
            "another XDP program is attached there (`ip link` shows its number); take it off first".into()
        }
        Some(libc::EOPNOTSUPP) => format!("the driver does not support it; {other_way}"),
        _ => format!("{source}; {other_way}"),
    }
}

/// Removes the links of interfaces that are not wanted any more.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn remove_unwanted(dir: &PinDir, wanted: &[Attachment]) -> Result<(), DataplaneError> {
    let keep: Vec<_> = wanted.iter().map(|to| dir.link(&to.interface, to.mode)).collect();
    let links = dir.links();
    for entry in fs::read_dir(&links).map_err(|source| kernel(&links, source))? {
        let path = entry.map_err(|source| kernel(&links, source))?.path();
        if !keep.contains(&path) {
            remove_link(&path)?;
        }
    }
    Ok(())
}

/// How to get back when an interface refuses.
struct Undo {
    previous: Option<Xdp>,
    steps: Vec<Step>,
}

enum Step {
    Replaced(PathBuf),
    Created(PathBuf),
    Detached { path: PathBuf, attachment: Attachment },
}

impl Undo {
    fn run(mut self, dir: &PinDir) {
        while let Some(step) = self.steps.pop() {
            if let Err(error) = self.undo(&step) {
                tracing::error!(%error, pins = %dir.links().display(), "an interface could not be given back its program");
            }
        }
    }

    fn undo(&mut self, step: &Step) -> Result<(), DataplaneError> {
        match (step, &mut self.previous) {
            (Step::Created(path), _) => remove_link(path),
            (Step::Replaced(path), Some(previous)) => replace(previous, path),
            (Step::Detached { path, attachment }, Some(previous)) => {
                create(previous, attachment, path.clone())
            }
            (_, None) => Err(DataplaneError::other("prog", "the previous program's pin is gone")),
        }
    }
}
