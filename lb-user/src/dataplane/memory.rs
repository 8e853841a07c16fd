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
        self.write_at(index as usize * size_of::<T>(), values);
    }

    /// Writes parts of values that no packet can reach yet, `start` bytes from the map's beginning.
    pub(super) fn write_at<P: Pod>(&self, start: usize, parts: &[P]) {
        let bytes: &[u8] = bytemuck::cast_slice(parts);
        assert!(start + bytes.len() <= self.memory.len(), "byte {start} is beyond the map");
        // SAFETY: the target lies within the mapping, as just checked; the source is another object.
        unsafe {
            self.memory.as_mut_ptr().wrapping_add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }

    /// Reads one value. Values that the kernel changes meanwhile may be torn between their words.
    pub(super) fn read(&self, index: u32) -> T {
        self.read_at(index as usize * size_of::<T>())
    }

    /// Reads a part of a value, `start` bytes from the map's beginning.
    pub(super) fn read_at<P: Pod>(&self, start: usize) -> P {
        assert!(start + size_of::<P>() <= self.memory.len(), "byte {start} is beyond the map");
        assert!(start.is_multiple_of(align_of::<P>()), "byte {start} is not aligned");
        // SAFETY: the part lies within the mapping and is aligned, as just checked, and any bytes are a `P`.
        unsafe { self.memory.as_ptr().wrapping_add(start).cast::<P>().read_volatile() }
    }

    /// Stores a word, at once for every reader, `at` bytes from the map's beginning.
    pub(super) fn publish_u64(&self, at: usize, value: u64) {
        let word = self.word::<u64>(at);
        // SAFETY: `word` points at an aligned word within the mapping, which lives as long as `self`.
        unsafe { AtomicU64::from_ptr(word) }.store(value, Ordering::Release);
    }

    /// Puts a word in the place of `old`, unless somebody else was faster, `at` bytes from the map's beginning.
    pub(super) fn replace_u64(&self, at: usize, old: u64, new: u64) {
        let word = self.word::<u64>(at);
        // SAFETY: as in `publish_u64`.
        let word = unsafe { AtomicU64::from_ptr(word) };
        let _replaced = word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Stores a half word, at once for every reader, `at` bytes from the map's beginning.
    pub(super) fn publish_u32(&self, at: usize, value: u32) {
        let word = self.word::<u32>(at);
        // SAFETY: as in `publish_u64`.
        unsafe { AtomicU32::from_ptr(word) }.store(value, Ordering::Release);
    }

    fn word<W>(&self, at: usize) -> *mut W {
        assert!(at + size_of::<W>() <= self.memory.len() && at.is_multiple_of(align_of::<W>()));
        self.memory.as_mut_ptr().wrapping_add(at).cast()
    }
}

/// Has the allocator give each large buffer back to the kernel as soon as it is dropped. By default it keeps more and more of
/// them after the first one: what a change of many rings needs for a moment would never be given back.
pub fn give_large_buffers_back() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE_BYTES: libc::c_int = 64 << 10;
        // SAFETY: sets a number of the allocator's; any is allowed.
        let _done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
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
