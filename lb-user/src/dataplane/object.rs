//! The eBPF object that the build script made, as part of this binary.

/// The object: an ELF file, aligned as such.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("FERROLEV_OBJECT"));

/// SHA-256 of [`OBJECT`], hexadecimal.
pub const OBJECT_SHA256: &str = env!("FERROLEV_OBJECT_SHA256");

/// The git revision of this build, with `-dirty` when files differed from it.
pub const REVISION: &str = env!("FERROLEV_REVISION");
