//! Every value of a configuration, and whether the file gave it.

use std::collections::BTreeSet;
use std::fmt;

use super::{Config, VipConfig, render};
use crate::state::VipKey;

/// The paths of the values that a file gave, such as `vip.web.ring_size`; all others are defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance(BTreeSet<String>);

impl Provenance {
    pub(super) fn note(&mut self, path: String) {
        self.0.insert(path);
    }

    /// Whether the file gave the value at `path`.
    #[must_use]
    pub fn is_from_file(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        if self.is_from_file(path) { Origin::File } else { Origin::Default }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
        })
    }
}

/// One value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Such as `vip.web.backends.web-1.weight`.
    pub path: String,
    /// As the file would say it, texts without quotes; empty for a setting without a value.
    pub value: String,
    pub origin: Origin,
}

/// Joins `parts` with dots; parts that are no bare TOML keys are quoted, so that different values never share a path.
#[must_use]
pub fn path(parts: &[&str]) -> String {
    let bare = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let parts: Vec<_> =
        parts.iter().map(|part| if bare(part) { (*part).to_owned() } else { render::quoted(part) }).collect();
    parts.join(".")
}

impl Config {
    /// Every value in effect, in the order of the file's reference.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        let mut values = self.settings();
        for (name, backend) in &self.backends {
            values.push(self.value(&["backend", name, "address"], backend.address));
            values.push(self.value(&["backend", name, "weight"], backend.weight));
        }
        for (key, vip) in &self.vips {
            values.extend(self.vip_values(*key, vip));
            values.extend(vip.backends.iter().map(|(backend, own)| self.member_weight(vip, backend, *own)));
        }
        values
    }

    fn settings(&self) -> Vec<Value> {
        let Self { tunnel, limits, .. } = self;
        let metrics_listen = self.metrics_listen.map(|socket| socket.to_string());
        vec![
            self.value(&["interfaces"], self.interfaces.join(", ")),
            self.value(&["xdp_mode"], render::xdp_mode(self.xdp_mode)),
            self.value(&["hash_seed"], self.hash_seed),
            self.value(&["metrics_listen"], metrics_listen.unwrap_or_default()),
            self.value(&["tunnel", "source4"], tunnel.source4.map(render::source).unwrap_or_default()),
            self.value(&["tunnel", "source6"], tunnel.source6.map(render::source).unwrap_or_default()),
            self.value(&["tunnel", "ttl"], tunnel.ttl),
            self.value(&["tunnel", "dscp"], render::dscp(tunnel.dscp)),
            self.value(&["limits", "dests"], limits.dests),
            self.value(&["limits", "ring_memory"], render::bytes(limits.ring_memory)),
        ]
    }

    fn vip_values(&self, key: VipKey, vip: &VipConfig) -> [Value; 8] {
        let name = vip.name.as_str();
        let members: Vec<_> = vip.backends.keys().map(String::as_str).collect();
        [
            self.value(&["vip", name, "name"], name),
            self.value(&["vip", name, "address"], key.address),
            self.value(&["vip", name, "port"], key.port),
            self.value(&["vip", name, "protocol"], key.protocol),
            self.value(&["vip", name, "mode"], render::mode(vip.mode)),
            self.value(&["vip", name, "ring_size"], vip.ring_size),
            self.value(&["vip", name, "affinity"], render::affinity(vip.affinity)),
            self.value(&["vip", name, "backends"], members.join(", ")),
        ]
    }

    /// The weight of a backend in a vip. Without one of its own it comes from where the backend's weight does.
    fn member_weight(&self, vip: &VipConfig, backend: &str, own: Option<u32>) -> Value {
        let inherited = || self.backends.get(backend).map_or(super::DEFAULT_WEIGHT, |known| known.weight);
        let origin = match own {
            Some(_) => Origin::File,
            None => self.provenance.origin(&path(&["backend", backend, "weight"])),
        };
        Value {
            path: path(&["vip", &vip.name, "backends", backend, "weight"]),
            value: own.unwrap_or_else(inherited).to_string(),
            origin,
        }
    }

    fn value(&self, parts: &[&str], value: impl ToString) -> Value {
        let path = path(parts);
        let origin = self.provenance.origin(&path);
        Value { path, value: value.to_string(), origin }
    }
}
