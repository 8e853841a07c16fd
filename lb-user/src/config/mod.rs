//! The configuration file: parsed, validated, and only then believed.
//!
//! ```text
//! text -> ConfigFile (values with their lines) -> Config (valid), or every problem of the file at once
//! ```
//!
//! `settings` is the one table of all keys: the reader refuses what is not in it, and docs/CONFIGURATION.md is written
//! from it. Nothing here looks at the host: interfaces and routes are checked by those who use them.
#![forbid(unsafe_code)]

mod address;
mod decode;
mod error;
mod file;
mod reader;
mod reference;
mod render;
mod settings;
mod validate;
mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::dataplane::{Limits, XdpMode};
use crate::state::{
    AccessRules, Affinity, Answers, DesiredAddress, Mode, Prefixes, ServerId, Tunnel, VipKey, VipOptions,
};

pub(crate) use address::why_unusable;
pub use error::{ConfigError, Problem};
pub use reference::reference;
pub use render::{affinity as affinity_word, mode as mode_word, xdp_mode as xdp_mode_word};
pub(crate) use validate::why_no_name;
pub use values::{Origin, Provenance, Value, path};

/// A backend's weight when nobody says otherwise.
pub const DEFAULT_WEIGHT: u32 = 100;
/// Outer TTL and hop limit when nobody says otherwise.
pub const DEFAULT_TTL: u8 = 64;

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub path: PathBuf,
    pub interfaces: Vec<String>,
    pub xdp_mode: XdpMode,
    pub hash_seed: u64,
    /// Where `/metrics` is served beside the unix socket.
    pub metrics_listen: Option<SocketAddr>,
    pub limits: Limits,
    pub tunnel: Tunnel,
    pub answers: Answers,
    /// For all vips; asked before a vip's own.
    pub access: AccessRules,
    /// Every address of a vip.
    pub addresses: BTreeMap<IpAddr, DesiredAddress>,
    pub backends: BTreeMap<String, BackendConfig>,
    pub vips: BTreeMap<VipKey, VipConfig>,
    /// Which of the values above the file gave.
    pub provenance: Provenance,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    pub address: IpAddr,
    pub weight: u32,
    /// Wins over the vip's.
    pub mode: Option<Mode>,
    pub server_id: Option<ServerId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipConfig {
    pub name: String,
    pub mode: Mode,
    pub ring_size: u32,
    pub affinity: Affinity,
    pub options: VipOptions,
    pub routes: Vec<RouteConfig>,
    /// Backend names, with the weight of this vip when it differs from the backend's.
    pub backends: BTreeMap<String, Option<u32>>,
}

/// Other backends for clients of some prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    pub name: String,
    pub sources: Prefixes,
    /// As in [`VipConfig`].
    pub backends: BTreeMap<String, Option<u32>>,
}

impl Config {
    /// Reads and validates the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or with all problems of its contents.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes =
            std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let good = &bytes[..error.valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count() as u32;
            let text = "not UTF-8; save the file in that encoding".to_owned();
            ConfigError::Invalid { path: path.to_owned(), problems: vec![Problem { line, text }] }
        })?;
        Self::parse(path, text)
    }

    /// Validates the text of a file; `path` is for messages and for [`Config::path`].
    ///
    /// # Errors
    /// With all problems of the text.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = reader::Source::new(text);
        let mut problems = error::Problems::default();
        let (table, wrong) = DeTable::parse_recoverable(text);
        for error in &wrong {
            let line = source.line(error.span().map_or(0, |span| span.start));
            problems.add(line, format!("not TOML: {}", error.message()));
        }
        if !wrong.is_empty() {
            return problems.or(path, None);
        }
        let file = file::ConfigFile::read(&source, table.get_ref(), &mut problems);
        let config = validate::validate(path, file, &mut problems);
        problems.or(path, config)
    }
}

#[cfg(test)]
mod tests;
