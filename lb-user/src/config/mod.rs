//! The configuration file: parsed, validated, and only then believed.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::dataplane::{Limits, XdpMode};
use crate::state::{Affinity, Mode, Tunnel, VipKey};

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
    pub backends: BTreeMap<String, BackendConfig>,
    pub vips: BTreeMap<VipKey, VipConfig>,
    /// Which of the values above the file gave.
    pub provenance: Provenance,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    pub address: IpAddr,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipConfig {
    pub name: String,
    pub mode: Mode,
    pub ring_size: u32,
    pub affinity: Affinity,
    /// Backend names, with the weight of this vip when it differs from the backend's.
    pub backends: BTreeMap<String, Option<u32>>,
}

/// The paths of the values that a file gave, such as `vip.web.ring_size`; all others are defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance(BTreeSet<String>);
