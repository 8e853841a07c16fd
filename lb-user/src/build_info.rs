//! What this binary was built from.
#![forbid(unsafe_code)]

/// The version in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision, or `unknown` when the sources were not a git checkout.
pub const REVISION: &str = match option_env!("FERROLEV_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// SHA-256 of the embedded eBPF object, hexadecimal.
pub const OBJECT_SHA256: &str = match option_env!("FERROLEV_OBJECT_SHA256") {
    Some(hash) => hash,
    None => "unknown",
};
