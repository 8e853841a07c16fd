//! The configuration file: parsed, validated, and only then believed.
//!
//! ```text
//! text -> ConfigFile (values with their lines) -> Config (valid), or every problem of the file at once
//! ```
//!
//! `settings` is the one table of all keys: the reader refuses what is not in it, and docs/CONFIGURATION.md is written
//! from it. Nothing here looks at the host: interfaces and routes are checked by those who use them.
#![forbid(unsafe_code)]

mod access;
mod address;
mod decode;
mod error;
mod file;
mod prefix;
mod reader;
mod reference;
mod render;
mod settings;
mod validate;
mod values;
mod words;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::dataplane::{Limits, XdpMode};
use crate::health::probe::{self, Probe};
use crate::health::{Rhythm, Spec, Via};
use crate::hooks::Hook;
use crate::peers;
use crate::state::{
    AccessRules, Affinity, Answers, DesiredAddress, FlowTimes, Mode, PoolPolicy, Prefixes, ServerId, Tunnel,
    VipKey, VipOptions,
};
use crate::tunnel_probes::Prefixes as ProbePrefixes;
use crate::vrrp;

pub(crate) use address::why_unusable;
pub use error::{ConfigError, Problem};
pub use reference::reference;
pub(crate) use validate::why_no_name;
pub use values::{Origin, Provenance, Value, path};
pub use words::{
    affinity as affinity_word, announce as announce_word, fragments as fragments_word, known_mode,
    mode as mode_word, tracking as tracking_word, xdp_mode as xdp_mode_word,
};

/// A virtual router's priority when nobody says otherwise (RFC 9568 6.1).
pub const DEFAULT_PRIORITY: u8 = 100;
/// A backend's weight when nobody says otherwise.
pub const DEFAULT_WEIGHT: u32 = 100;
/// Outer TTL and hop limit when nobody says otherwise.
pub const DEFAULT_TTL: u8 = 64;
/// UDP port of GUE when nobody says otherwise; IANA has assigned it.
pub const DEFAULT_GUE_PORT: u16 = 6080;
/// How long a check's probe may take when nobody says otherwise.
pub const DEFAULT_CHECK_TIMEOUT: Duration = Duration::from_secs(1);

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
    pub flows: FlowTimes,
    /// For all vips; asked before a vip's own.
    pub access: AccessRules,
    pub access_source: AccessSource,
    /// Every address of a vip.
    pub addresses: BTreeMap<IpAddr, DesiredAddress>,
    pub checks: BTreeMap<String, CheckConfig>,
    /// Where addresses of checks through tunnels are taken from.
    pub probes: ProbePrefixes,
    pub backends: BTreeMap<String, BackendConfig>,
    pub vips: BTreeMap<VipKey, VipConfig>,
    /// Virtual routers, and addresses of other programs' elections.
    pub vrrp: vrrp::Wanted,
    /// Nodes that hold copies for each other.
    pub peers: peers::Wanted,
    /// Whom to tell what has happened.
    pub hooks: BTreeMap<String, Hook>,
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
    /// Wins over the vip's.
    pub slow_start: Option<Duration>,
    /// The name of a check; wins over the vip's.
    pub check: Option<String>,
    /// The name of a check that asks an agent beside that; wins over the vip's.
    pub agent: Option<String>,
}

/// How it is found out whether a backend does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    pub probe: Probe,
    pub origin: probe::Origin,
    /// In place of the vip's.
    pub port: Option<u16>,
    pub via: Via,
    pub rhythm: Rhythm,
    /// For a whole probe.
    pub timeout: Duration,
}

impl CheckConfig {
    /// Whether it is of no use without a port.
    #[must_use]
    pub const fn needs_port(&self) -> bool {
        self.probe.needs_port()
    }

    #[must_use]
    pub fn spec(&self) -> Spec {
        Spec {
            probe: self.probe.clone(),
            origin: self.origin.clone(),
            rhythm: self.rhythm.clone(),
            timeout: self.timeout,
            beside: false,
        }
    }
}

/// How a vip's backends are checked, and what follows from that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthPolicy {
    /// The name of a check, for backends without one of their own.
    pub check: Option<String>,
    /// The same for agents that are asked beside it.
    pub agent: Option<String>,
    pub pool: PoolPolicy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipConfig {
    pub name: String,
    pub mode: Mode,
    pub ring_size: u32,
    pub affinity: Affinity,
    pub options: VipOptions,
    /// So long a backend that begins to serve takes to get its whole share; zero: none.
    pub slow_start: Duration,
    pub health: HealthPolicy,
    /// Where `options.access` comes from.
    pub access_source: AccessSource,
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

/// How access rules are written: lists in the configuration file, and the names of files with more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSource {
    pub allow: Prefixes,
    pub deny: Prefixes,
    pub allow_file: Option<String>,
    pub deny_file: Option<String>,
}

impl Config {
    /// Reads and validates the file at `path`, and the lists that it names.
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
        Self::parse_with(path, text, &|list| std::fs::read(list))
    }

    /// Validates the text of a file that names no others; `path` is for messages and for [`Config::path`].
    ///
    /// # Errors
    /// With all problems of the text.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::parse_with(path, text, &|_| Err(std::io::ErrorKind::NotFound.into()))
    }

    /// Validates the text of a file; `read` gets the files that it names, `path` is where their relative paths begin.
    ///
    /// # Errors
    /// With all problems of the text and of the other files.
    pub fn parse_with(
        path: &Path,
        text: &str,
        read: &dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, ConfigError> {
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
        let config = validate::validate(path, file, access::Lists::new(path, read), &mut problems);
        problems.or(path, config)
    }
}

#[cfg(test)]
mod tests;
