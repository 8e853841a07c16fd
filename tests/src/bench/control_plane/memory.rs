//! What the kernel says of the memory of a process, and of pinned tables.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::maps::MapData;

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfProcess {
    /// Resident, with the tables that it maps.
    pub(super) resident: u64,
    /// Without them.
    pub(super) own: u64,
    /// Heap and stacks.
    pub(super) anonymous: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfTable {
    pub(super) name: String,
    pub(super) bytes: u64,
}

pub(super) fn of_process(pid: u32) -> Result<OfProcess> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).with_context(|| path.clone())?;
    let of_process = parse_smaps(&smaps);
    ensure!(of_process.own > 0, "{path}: no resident memory");
    Ok(of_process)
}

/// The tables that are pinned below a directory, largest first.
pub(super) fn of_tables(pins: &Path) -> Result<Vec<OfTable>> {
    let mut tables = Vec::new();
    let mut dirs = vec![pins.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(map) = MapData::from_pin(&path)
                && let Some(bytes) = memlock(&map)?
            {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                tables.push(OfTable { name, bytes });
            }
        }
    }
    tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
    Ok(tables)
}

/// What the kernel has taken for a map; nothing for what is none, as links and programs, which are pinned beside.
fn memlock(map: &MapData) -> Result<Option<u64>> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let info = fs::read_to_string(&path).with_context(|| path.clone())?;
    let entry = |name| info.lines().find_map(|line| line.strip_prefix(name));
    if entry("map_type:").is_none() {
        return Ok(None);
    }
    let bytes = entry("memlock:").and_then(|bytes| bytes.trim().parse().ok());
    bytes.map(Some).with_context(|| format!("{path}: no memlock"))
}

fn parse_smaps(smaps: &str) -> OfProcess {
    let mut sum = OfProcess::default();
    let mut is_table = false;
    for line in smaps.lines() {
        let kib = |name: &str| -> Option<u64> {
            Some(1024 * line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
        };
        if let Some(resident) = kib("Rss:") {
            sum.resident += resident;
            sum.own += if is_table { 0 } else { resident };
        } else if let Some(anonymous) = kib("Anonymous:") {
            sum.anonymous += anonymous;
        } else if line.split_whitespace().next().is_some_and(|first| first.contains('-')) {
            is_table = line.ends_with("bpf-map");
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_tables_are_not_the_processs_own() {
        let smaps = "\
55d0c0a00000-55d0c0c00000 r-xp 00000000 fe:00 1234                       /usr/bin/ferrolev
Size:               2048 kB
Rss:                1000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0000200000 rw-s 00000000 00:0f 12                         anon_inode:bpf-map
Rss:                2000 kB
Anonymous:             0 kB
7f0000300000-7f0000500000 rw-p 00000000 00:00 0 
Rss:                 300 kB
Anonymous:           299 kB
";
        let expected = OfProcess { resident: 3300 * 1024, own: 1300 * 1024, anonymous: 299 * 1024 };
        assert_eq!(parse_smaps(smaps), expected);
    }

    #[test]
    fn this_process_has_memory() {
        let of_process = of_process(std::process::id()).unwrap();
        assert!(of_process.anonymous > 0 && of_process.own > of_process.anonymous, "{of_process:?}");
    }
}
