//! An instance's directory on the bpffs, and what an earlier daemon has left there.
//!
//! ```text
//! <instance>/prog        the attached balancer
//! <instance>/link/IF     the attachment to interface IF (dots as `:`), with `:generic` or `:offload` when not native
//! <instance>/maps/NAME   the maps that the program uses
//! <instance>/flows       the flow cache, which successive programs share
//! <instance>/leases      until when virtual routers' addresses are answered for, which they share, too
//! ```
//!
//! New maps are pinned in `maps-new` and renamed when the program that uses them is attached.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::abi::{ABI_VERSION, Control, Dest, Directory, FlowBucket};

use super::carried::{Carried, add_to};
use super::layout::EntryKey;
use super::links::remove_link;
use super::memory::MappedArray;
use super::tables::{add_policy, add_reasons, counters_of, policy_counters_of};
use super::{DataplaneError, Totals, XdpMode, found};
use crate::state::VipKey;

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// An instance's directory.
#[derive(Clone, Debug)]
pub(super) struct PinDir(PathBuf);

impl PinDir {
    /// Makes the directory, and mounts the bpffs at its usual place when it is missing there.
    pub(super) fn create(path: &Path) -> Result<Self, DataplaneError> {
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains('.')) {
            let what = format!("{}: the kernel allows no dots in names on a bpffs", path.display());
            return Err(DataplaneError::Other(what));
        }
        if !is_bpffs(path) {
            mount_bpffs(path)?;
        }
        let dir = Self(path.to_owned());
        for part in [dir.links(), dir.maps()] {
            fs::create_dir_all(&part).map_err(|source| kernel(&part, source))?;
        }
        Ok(dir)
    }

    pub(super) fn open(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn links(&self) -> PathBuf {
        self.0.join("link")
    }

    pub(super) fn link(&self, interface: &str, mode: XdpMode) -> PathBuf {
        let suffix = match mode {
            XdpMode::Native => "",
            XdpMode::Generic => ":generic",
            XdpMode::Offload => ":offload",
        };
        self.links().join(format!("{}{suffix}", interface.replace('.', ":")))
    }

    /// The interfaces that have an attachment here. No name of an interface has a colon.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let pins = fs::read_dir(self.links()).into_iter().flatten().flatten();
        let names = pins.map(|pin| pin.file_name().to_string_lossy().into_owned());
        let names = names.map(|name| {
            let interface = [":generic", ":offload"].iter().find_map(|mode| name.strip_suffix(mode));
            interface.unwrap_or(&name).replace(':', ".")
        });
        names.collect()
    }

    pub(super) fn program(&self) -> PathBuf {
        self.0.join("prog")
    }

    pub(super) fn maps(&self) -> PathBuf {
        self.0.join("maps")
    }

    pub(super) fn flows(&self) -> PathBuf {
        self.0.join("flows")
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.0.join("leases")
    }

    /// Where a flow cache of so many buckets is pinned, or will be. One of another size or format is given up.
    pub(super) fn flows_for(&self, buckets: u32) -> Result<PathBuf, DataplaneError> {
        let path = self.flows();
        let Ok(found) = MapData::from_pin(&path) else { return Ok(path) };
        let same_size = found.info().is_ok_and(|info| {
            info.max_entries() == buckets && info.value_size() as usize == size_of::<FlowBucket>()
        });
        if !same_size || !self.is_of_this_version() {
            tracing::warn!(
                "the flow cache has another size or format than before: flows are remembered anew"
            );
            remove_file(&path)?;
        }
        Ok(path)
    }

    /// Whether the maps in place are laid out as this daemon knows them.
    pub(super) fn is_of_this_version(&self) -> bool {
        let Some(map) = map(&self.maps(), "DIRECTORY") else { return false };
        MappedArray::<Directory>::new(&map)
            .is_ok_and(|directory| directory.read_at::<Control>(0).abi_version == ABI_VERSION)
    }

    /// An empty directory for new maps.
    pub(super) fn new_maps(&self) -> Result<PathBuf, DataplaneError> {
        let path = self.0.join("maps-new");
        remove_dir(&path)?;
        fs::create_dir(&path).map_err(|source| kernel(&path, source))?;
        Ok(path)
    }

    /// Puts the new program and maps in the places of the old ones.
    pub(super) fn adopt_new(&self, program: &mut aya::programs::Xdp) -> Result<(), DataplaneError> {
        let (new, old) = (self.0.join("prog-new"), self.program());
        remove_file(&new)?;
        program.pin(&new).map_err(|error| DataplaneError::other("prog", error))?;
        fs::rename(&new, &old).map_err(|source| kernel(&old, source))?;
        remove_dir(&self.maps())?;
        fs::rename(self.0.join("maps-new"), self.maps()).map_err(|source| kernel(&self.maps(), source))
    }

    /// After a failed start: removes what was new, and the directories when nothing was there before.
    pub(super) fn discard_new(&self) {
        let leftover =
            remove_dir(&self.0.join("maps-new")).and_then(|()| remove_file(&self.0.join("prog-new")));
        if let Err(error) = leftover {
            tracing::warn!(%error, "a failed start left pins behind");
        }
        if !self.program().exists()
            && let Err(error) = remove_file(&self.flows()).and_then(|()| remove_file(&self.leases()))
        {
            tracing::warn!(%error, "a failed start left the flow cache or leases behind");
        }
        for dir in [self.links(), self.maps(), self.0.clone()] {
            // Fails, as it should, where an instance runs.
            _ = fs::remove_dir(dir);
        }
    }

    /// Removes everything. Programs end with their last link.
    pub(super) fn remove(&self) -> Result<(), DataplaneError> {
        remove_entries(&self.links(), remove_link)?;
        for part in [self.maps(), self.0.join("maps-new")] {
            remove_dir(&part)?;
        }
        remove_file(&self.program())?;
        remove_file(&self.flows())?;
        remove_file(&self.leases())?;
        remove_file(&self.0.join("prog-new"))?;
        match fs::remove_dir(&self.0) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(kernel(&self.0, source)),
            _ => Ok(()),
        }
    }

    /// What the maps in place have counted; nothing when there are none or they are of another ABI version.
    pub(super) fn totals(&self) -> Totals {
        let dir = self.maps();
        let carried = map(&dir, "CARRIED").and_then(|data| Carried::adopt(data).ok());
        let mut totals = carried.map(|carried| carried.read()).unwrap_or_default();
        if let Some(live) = LiveCounters::open(self) {
            live.add_to(&mut totals);
        }
        totals
    }
}

/// The maps of an earlier daemon that say what was counted for whom.
struct LiveCounters {
    directory: MappedArray<Directory>,
    /// Backends by their numbers in flow records.
    owned: BTreeMap<u16, (EntryKey, IpAddr)>,
    dests: MappedArray<Dest>,
    counters: Map,
    policies: Option<Map>,
    reasons: Map,
}

impl LiveCounters {
    fn open(pins: &PinDir) -> Option<Self> {
        let dir = &pins.maps();
        let directory: MappedArray<Directory> = MappedArray::new(&map(dir, "DIRECTORY")?).ok()?;
        if directory.read_at::<Control>(0).abi_version != ABI_VERSION {
            return None;
        }
        Some(Self {
            directory,
            owned: found::owned(pins),
            dests: MappedArray::new(&map(dir, "DESTS")?).ok()?,
            counters: Map::PerCpuArray(map(dir, "COUNTERS")?),
            policies: map(dir, "POLICY_COUNTERS").map(Map::PerCpuArray),
            reasons: Map::PerCpuArray(map(dir, "REASONS")?),
        })
    }

    fn add_to(self, totals: &mut Totals) {
        let vips = self.vips();
        if let Ok(counters) = PerCpuArray::try_from(self.counters) {
            for index in 0..self.dests.len() {
                let dest = self.dests.read(index);
                let backend = self.owned.get(&dest.owner).map(|(_, backend)| *backend);
                let backend = backend.or_else(|| found::outer_destination(&dest));
                let (Some(vip), Some(backend)) = (vips.get(&dest.vip), backend) else { continue };
                if let Ok(counted) = counters_of(&counters, index) {
                    add_to(&mut totals.dests, (*vip, backend), counted);
                }
            }
        }
        if let Some(Ok(policies)) = self.policies.map(PerCpuArray::try_from) {
            for (number, vip) in &vips {
                if let Ok(counted) = policy_counters_of(&policies, *number) {
                    add_policy(totals, *vip, counted);
                }
            }
        }
        if let Ok(reasons) = PerCpuArray::try_from(self.reasons)
            && let Err(error) = add_reasons(totals, &reasons)
        {
            tracing::warn!(%error, "the reasons counted by the previous program are lost");
        }
    }

    /// Numbers of vips and of their routes, and the vips that they stand for.
    fn vips(&self) -> BTreeMap<u32, VipKey> {
        found::entries(&self.directory).into_iter().map(|(entry, target)| (target.vip, entry.vip)).collect()
    }
}

pub(super) fn map(dir: &Path, name: &str) -> Option<MapData> {
    MapData::from_pin(dir.join(name)).ok()
}

fn is_bpffs(path: &Path) -> bool {
    path.ancestors().find(|ancestor| ancestor.exists()).is_some_and(|existing| {
        let Ok(existing) = CString::new(existing.as_os_str().as_encoded_bytes()) else { return false };
        let mut info = std::mem::MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the path is a C string, and the kernel fills at most one `statfs`.
        let result = unsafe { libc::statfs(existing.as_ptr(), info.as_mut_ptr()) };
        // SAFETY: zeroed and then filled: all of it is initialised plain data.
        let info = unsafe { info.assume_init() };
        result == 0 && info.f_type == BPF_FS_MAGIC
    })
}

fn mount_bpffs(path: &Path) -> Result<(), DataplaneError> {
    const USUAL: &str = "/sys/fs/bpf";
    if !path.starts_with(USUAL) {
        let what =
            format!("{} is not on a bpffs; mount one there: mount -t bpf bpf DIRECTORY", path.display());
        return Err(DataplaneError::Other(what));
    }
    // SAFETY: all pointers are C strings or null, as mount(2) wants them.
    let result = unsafe {
        libc::mount(c"bpf".as_ptr(), c"/sys/fs/bpf".as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null())
    };
    if result == 0 { Ok(()) } else { Err(kernel(Path::new(USUAL), io::Error::last_os_error())) }
}

pub(super) fn remove_file(path: &Path) -> Result<(), DataplaneError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(kernel(path, source)),
        _ => Ok(()),
    }
}

/// Removes a directory of pins.
fn remove_dir(path: &Path) -> Result<(), DataplaneError> {
    remove_entries(path, remove_file)
}

/// Removes a directory and, by `remove`, all that is in it.
fn remove_entries(
    path: &Path,
    remove: impl Fn(&Path) -> Result<(), DataplaneError>,
) -> Result<(), DataplaneError> {
    let entries = match fs::read_dir(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(kernel(path, source)),
        Ok(entries) => entries,
    };
    for entry in entries {
        remove(&entry.map_err(|source| kernel(path, source))?.path())?;
    }
    fs::remove_dir(path).map_err(|source| kernel(path, source))
}

pub(super) fn kernel(path: &Path, source: io::Error) -> DataplaneError {
    DataplaneError::Kernel { what: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pin_tells_its_interface() {
        let directory = tempfile::tempdir().unwrap();
        let pins = PinDir::open(directory.path());
        assert_eq!(pins.interfaces(), Vec::<String>::new());
        fs::create_dir(pins.links()).unwrap();
        for (interface, mode) in
            [("eth0", XdpMode::Native), ("eth1.42", XdpMode::Generic), ("eth2", XdpMode::Offload)]
        {
            fs::write(pins.link(interface, mode), "").unwrap();
        }
        let mut interfaces = pins.interfaces();
        interfaces.sort();
        assert_eq!(interfaces, ["eth0", "eth1.42", "eth2"]);
    }
}
