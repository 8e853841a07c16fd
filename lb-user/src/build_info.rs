//! What this binary was built from.
#![forbid(unsafe_code)]

/// The version in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision, or `unknown` when the sources were not a git checkout.
pub const REVISION: &str = env!("FERROLEV_REVISION");

/// SHA-256 of the embedded eBPF object, hexadecimal.
pub const OBJECT_SHA256: &str = env!("FERROLEV_OBJECT_SHA256");
