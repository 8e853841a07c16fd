//! All that a map of the kernel holds, to compare it with what it holds later.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use aya::maps::{MapData, MapType};
use aya::programs::Xdp;

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;

/// Values by keys.
pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// The part of `union bpf_attr` for elements.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    /// Where the value goes, or the next key.
    out: u64,
    flags: u64,
}

/// What the maps of a program hold, by their names, as far as all cores have the same values. Maps of values for each core are
/// left out, and those of programs, and constants.
///
/// # Errors
/// When the kernel refuses to read one.
pub fn shared(program: &Xdp) -> Result<BTreeMap<String, Contents>> {
    const OWN: [MapType; 4] =
        [MapType::PerCpuArray, MapType::PerCpuHash, MapType::LruPerCpuHash, MapType::ProgramArray];
    let mut all = BTreeMap::new();
    for id in program.info()?.map_ids()?.context("this kernel does not name a program's maps")? {
        let map = MapData::from_id(id)?;
        let info = map.info()?;
        let name = info.name_as_str().unwrap_or_default().to_owned();
        if !OWN.contains(&info.map_type()?) && name != ".rodata" {
            all.insert(name.clone(), contents(&map).context(name)?);
        }
    }
    Ok(all)
}

fn contents(map: &MapData) -> Result<Contents> {
    let info = map.info()?;
    let (key_size, value_size) = (info.key_size() as usize, info.value_size() as usize);
    let mut contents = Contents::new();
    let mut last: Option<Vec<u8>> = None;
    loop {
        let mut key = vec![0; key_size];
        if !element(map, BPF_MAP_GET_NEXT_KEY, last.as_deref(), &mut key)? {
            return Ok(contents);
        }
        let mut value = vec![0; value_size];
        // An entry of a device map may be empty.
        if element(map, BPF_MAP_LOOKUP_ELEM, Some(&key), &mut value)? {
            contents.insert(key.clone(), value);
        }
        last = Some(key);
    }
}

/// False: there is none.
fn element(map: &MapData, command: libc::c_int, key: Option<&[u8]>, out: &mut [u8]) -> io::Result<bool> {
    let attributes = Element {
        map: map.fd().as_fd().as_raw_fd().cast_unsigned(),
        padding: 0,
        key: key.map_or(0, |key| key.as_ptr() as u64),
        out: out.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: `attributes` is laid out as these commands' part of `union bpf_attr`; the key and the buffer are as long as the
    // map's own keys and values, and outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<Element>()) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error) }
}
