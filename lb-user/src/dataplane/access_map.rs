//! `ACCESS`: prefix lists loaded and removed many entries a system call, where the kernel can (5.14 and later), else one by
//! one. A list is loaded before anything names it and removed after nothing does, so neither has to be quick.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::MapData;
use bytemuck::{Pod, Zeroable};
use lb_common::abi::{AccessKey, AccessRule};
use lb_common::headers::words_v6;

use super::PrefixHits;
use super::layout::{List, RetiredList};
use crate::state::{Prefix, identity};

/// Entries a system call: few enough that none takes long.
const BATCH: usize = 4096;

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_UPDATE_BATCH: libc::c_long = 26;
const MAP_DELETE_BATCH: libc::c_long = 27;
/// The kernel's own ENOTSUPP, which some of its versions let out.
const ENOTSUPP: i32 = 524;

/// The map of all prefix lists.
#[derive(Debug)]
pub(super) struct AccessMap {
    map: MapData,
    /// By list: what prefixes had decided about in the lists before this one.
    carried: Mutex<HashMap<u32, HashMap<Prefix, u64>>>,
}

impl AccessMap {
    pub(super) fn new(map: MapData) -> Self {
        Self { map, carried: Mutex::default() }
    }

    /// Loads a list that nothing names yet. When the kernel refuses, nothing of it stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn load(&self, list: &List) -> io::Result<()> {
        let loaded = chunks(list).try_for_each(|(keys, rules)| self.insert(&keys, &rules));
        if loaded.is_err() {
            // What cannot be removed lies under a number that nobody will name.
            let _ = self.remove(list);
        }
        loaded
    }

    /// Removes a list that nothing names any more; what is not there is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn remove(&self, list: &List) -> io::Result<()> {
        self.carried().remove(&list.id);
        chunks(list).try_for_each(|(keys, _)| self.delete(&keys))
    }

    /// Keeps a list's hits for the prefixes that a successor has with the same verdict. Whatever counts for the list after that
    /// is lost.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn hand_on_hits(&self, retired: &RetiredList) -> io::Result<()> {
        if retired.successors.is_empty() {
            return Ok(());
        }
        let hits = self.hits(&retired.list)?;
        for successor in &retired.successors {
            let stays = |hit: &&PrefixHits| {
                hit.hits > 0 && successor.content.verdict(&hit.prefix) == Some(hit.verdict)
            };
            let mut carried = self.carried();
            let of_successor = carried.entry(successor.id).or_default();
            for hit in hits.iter().filter(stays) {
                *of_successor.entry(hit.prefix).or_default() += hit.hits;
            }
        }
        Ok(())
    }

    fn carried(&self) -> MutexGuard<'_, HashMap<u32, HashMap<Prefix, u64>>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list's prefixes with their hits, those in the lists before it included.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn hits(&self, list: &List) -> io::Result<Vec<PrefixHits>> {
        let carried = self.carried().get(&list.id).cloned().unwrap_or_default();
        let read = |(prefix, verdict)| {
            let (key, mut rule) = (key(list.id, prefix), AccessRule::zeroed());
            let mut element = Element::new(self.fd(), &key, &raw mut rule);
            // SAFETY: key and value are as large as the map's; the kernel reads one and writes the other.
            unsafe { bpf(MAP_LOOKUP_ELEM, &mut element) }?;
            let before = carried.get(&prefix).copied().unwrap_or_default();
            Ok(PrefixHits { prefix, verdict, hits: before + rule.hits })
        };
        list.content.rules().map(read).collect()
    }

    fn insert(&self, keys: &[AccessKey], rules: &[AccessRule]) -> io::Result<()> {
        let mut batch = Batch::new(self.fd(), keys, rules.as_ptr());
        // SAFETY: the arrays have `count` keys and values of the map's sizes, which the kernel only reads.
        match unsafe { bpf(MAP_UPDATE_BATCH, &mut batch) } {
            Err(error) if is_unsupported(&error) => {
                keys.iter().zip(rules).try_for_each(|(key, rule)| {
                    let mut element = Element::new(self.fd(), key, rule);
                    // SAFETY: key and value are as large as the map's, and the kernel only reads them.
                    unsafe { bpf(MAP_UPDATE_ELEM, &mut element) }
                })
            }
            result => result,
        }
    }

    fn delete(&self, mut keys: &[AccessKey]) -> io::Result<()> {
        while !keys.is_empty() {
            let mut batch = Batch::new(self.fd(), keys, std::ptr::null());
            // SAFETY: the array has `count` keys of the map's size, which the kernel only reads.
            match unsafe { bpf(MAP_DELETE_BATCH, &mut batch) } {
                Ok(()) => return Ok(()),
                Err(error) if is_unsupported(&error) => return self.delete_each(keys),
                // The kernel stops at a key that is not there, and says how many it has removed before.
                Err(error) if is_missing(&error) => {
                    keys = keys.get(batch.count as usize + 1..).unwrap_or_default();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn delete_each(&self, keys: &[AccessKey]) -> io::Result<()> {
        keys.iter().try_for_each(|key| {
            let mut element = Element::new(self.fd(), key, std::ptr::null());
            // SAFETY: the key is as large as the map's, and the kernel only reads it.
            match unsafe { bpf(MAP_DELETE_ELEM, &mut element) } {
                Err(error) if is_missing(&error) => Ok(()),
                result => result,
            }
        })
    }

    fn fd(&self) -> RawFd {
        self.map.fd().as_fd().as_raw_fd()
    }
}

/// A list's entries, [`BATCH`] at a time.
fn chunks(list: &List) -> impl Iterator<Item = (Vec<AccessKey>, Vec<AccessRule>)> + '_ {
    let mut rules = list.content.rules();
    std::iter::from_fn(move || {
        let part = rules
            .by_ref()
            .take(BATCH)
            .map(|(prefix, verdict)| (key(list.id, prefix), AccessRule { verdict, ..AccessRule::default() }));
        let part: (Vec<_>, Vec<_>) = part.unzip();
        (!part.0.is_empty()).then_some(part)
    })
}

/// The key of a prefix in list `list`.
#[must_use]
pub fn key(list: u32, prefix: Prefix) -> AccessKey {
    let is_v4 = prefix.address.is_ipv4();
    let before = AccessKey::LIST_BITS + if is_v4 { 96 } else { 0 };
    let address = words_v6(identity(prefix.address));
    AccessKey { prefix_len: before + u32::from(prefix.len), ..AccessKey::of(list, is_v4, address) }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

/// `union bpf_attr` of the batch commands. Pointers are 64 bits wide whatever the machine.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    /// In: entries; out: entries that were done.
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

impl Batch {
    fn new(map: RawFd, keys: &[AccessKey], values: *const AccessRule) -> Self {
        Self {
            keys: keys.as_ptr().expose_provenance() as u64,
            values: values.expose_provenance() as u64,
            count: keys.len() as u32,
            map_fd: map as u32,
            ..Self::zeroed()
        }
    }
}

/// `union bpf_attr` of the commands for one entry.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    fn new(map: RawFd, key: &AccessKey, value: *const AccessRule) -> Self {
        Self {
            map_fd: map as u32,
            key: std::ptr::from_ref(key).expose_provenance() as u64,
            value: value.expose_provenance() as u64,
            ..Self::zeroed()
        }
    }
}

/// bpf(2).
///
/// # Safety
/// `attributes` is what `command` takes, and the pointers in it are valid for what the command does.
unsafe fn bpf<A: Pod>(command: libc::c_long, attributes: &mut A) -> io::Result<()> {
    // SAFETY: as demanded of the caller; the kernel reads and writes at most `size_of::<A>()` bytes of the attributes.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, len: u8) -> Prefix {
        Prefix { address: text.parse().unwrap(), len }
    }

    #[test]
    fn keys_hold_the_list_before_the_address_and_keep_families_apart() {
        let v4 = key(7, prefix("10.1.0.0", 16));
        assert_eq!((v4.prefix_len, v4.list), (32 + 96 + 16, 7 | AccessKey::V4));
        assert_eq!(v4.address, words_v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, 0]));
        let v6 = key(7, prefix("::", 0));
        assert_eq!((v6.prefix_len, v6.list, v6.address), (32, 7, [0, 0]));
    }
}
