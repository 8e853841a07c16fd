//! Array maps as memory: written by plain stores, published by aligned atomic ones.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aya::maps::MapData;
use bytemuck::Pod;
use memmap2::{MmapOptions, MmapRaw};

/// A mapped `ARRAY` of `T`.
#[derive(Debug)]
pub(super) struct MappedArray<T> {
    memory: MmapRaw,
    entries: u32,
    of: std::marker::PhantomData<T>,
}

impl<T: Pod> MappedArray<T> {
    /// Maps the whole of `map`, which was created with `BPF_F_MMAPABLE` and whose values are `T`s.
    ///
    /// # Errors
    /// When the sizes do not match, or the kernel refuses.
    pub(super) fn new(map: &MapData) -> io::Result<Self> {
        // The kernel lays values out at multiples of 8 bytes.
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let info = map.info().map_err(io::Error::other)?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(io::Error::other(format!(
                "a value has {} bytes instead of {}",
                info.value_size(),
                size_of::<T>()
            )));
        }
        let entries = info.max_entries();
        let file = File::from(map.fd().as_fd().try_clone_to_owned()?);
        let memory = MmapOptions::new().len(entries as usize * size_of::<T>()).map_raw(file.as_raw_fd())?;
        Ok(Self { memory, entries, of: std::marker::PhantomData })
    }

    pub(super) const fn len(&self) -> u32 {
        self.entries
    }

    /// Writes values that no packet can reach yet.
    pub(super) fn write(&self, index: u32, values: &[T]) {
        let start = index as usize * size_of::<T>();
        let bytes: &[u8] = bytemuck::cast_slice(values);
        assert!(start + bytes.len() <= self.memory.len(), "entries {index}.. are beyond the map");
        // SAFETY: the target lies within the mapping, as just checked; the source is another object.
        unsafe {
            self.memory.as_mut_ptr().wrapping_add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }

    /// Reads one value. Values that the kernel changes meanwhile may be torn between their words.
    pub(super) fn read(&self, index: u32) -> T {
        assert!(index < self.entries, "entry {index} is beyond the map");
        let start = index as usize * size_of::<T>();
        // SAFETY: the entry lies within the mapping, and any bytes are a `T`.
        unsafe { self.memory.as_ptr().wrapping_add(start).cast::<T>().read_volatile() }
    }

    /// Stores a word within an entry, at once for every reader.
    pub(super) fn publish_u64(&self, index: u32, offset: usize, value: u64) {
        let at = self.word::<u64>(index, offset);
        // SAFETY: `word` points at an aligned word within the mapping, which lives as long as `self`.
        unsafe { AtomicU64::from_ptr(at) }.store(value, Ordering::Release);
    }

    /// Stores a half word within an entry, at once for every reader.
    pub(super) fn publish_u32(&self, index: u32, offset: usize, value: u32) {
        let at = self.word::<u32>(index, offset);
        // SAFETY: as in `publish_u64`.
        unsafe { AtomicU32::from_ptr(at) }.store(value, Ordering::Release);
    }

    fn word<W>(&self, index: u32, offset: usize) -> *mut W {
        assert!(index < self.entries && offset + size_of::<W>() <= size_of::<T>());
        let at = index as usize * size_of::<T>() + offset;
        assert!(at.is_multiple_of(align_of::<W>()));
        self.memory.as_mut_ptr().wrapping_add(at).cast()
    }
}

/// Waits until every packet that is under way now has left the program.
///
/// # Errors
/// When the kernel has no `membarrier` system call.
pub(super) fn wait_for_packets() -> io::Result<()> {
    // SAFETY: the call takes two numbers and touches no memory. MEMBARRIER_CMD_GLOBAL waits for an RCU grace period, and an
    // XDP program runs within one read-side section.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
