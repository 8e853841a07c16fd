//! The eBPF object that the build script made, as part of this binary.

/// The object: an ELF file, aligned as such.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("FERROLEV_OBJECT"));
