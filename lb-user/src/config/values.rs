//! Every value of a configuration, and whether the file gave it.

use std::collections::BTreeSet;
use std::fmt;

use super::Config;
use super::render::{self, bytes};

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
        let mut values = Vec::new();
        let mut add = |parts: &[&str], value: String| {
            let path = path(parts);
            let origin = self.provenance.origin(&path);
            values.push(Value { path, value, origin });
        };
        let shown = |value: Option<String>| value.unwrap_or_default();
        add(&["interfaces"], self.interfaces.join(", "));
        add(&["xdp_mode"], render::xdp_mode(self.xdp_mode).to_owned());
        add(&["hash_seed"], self.hash_seed.to_string());
        add(&["metrics_listen"], shown(self.metrics_listen.map(|socket| socket.to_string())));
        add(&["tunnel", "source4"], shown(self.tunnel.source4.map(render::source)));
        add(&["tunnel", "source6"], shown(self.tunnel.source6.map(render::source)));
        add(&["tunnel", "ttl"], self.tunnel.ttl.to_string());
        add(&["tunnel", "dscp"], render::dscp(self.tunnel.dscp));
        add(&["limits", "dests"], self.limits.dests.to_string());
        add(&["limits", "ring_memory"], bytes(self.limits.ring_memory));
        for (name, backend) in &self.backends {
            add(&["backend", name, "address"], backend.address.to_string());
            add(&["backend", name, "weight"], backend.weight.to_string());
        }
        for (key, vip) in &self.vips {
            let name = vip.name.as_str();
            add(&["vip", name, "name"], vip.name.clone());
            add(&["vip", name, "address"], key.address.to_string());
            add(&["vip", name, "port"], key.port.to_string());
            add(&["vip", name, "protocol"], key.protocol.to_string());
            add(&["vip", name, "mode"], render::mode(vip.mode).to_owned());
            add(&["vip", name, "ring_size"], vip.ring_size.to_string());
            add(&["vip", name, "affinity"], render::affinity(vip.affinity).to_owned());
            let members: Vec<_> = vip.backends.keys().map(String::as_str).collect();
            add(&["vip", name, "backends"], members.join(", "));
        }
        values.extend(self.member_weights());
        values
    }

    /// The weight of each backend in each vip. Without one of its own it comes from where the backend's weight does.
    fn member_weights(&self) -> impl Iterator<Item = Value> {
        self.vips.values().flat_map(move |vip| {
            vip.backends.iter().map(move |(backend, own)| {
                let inherited =
                    || self.backends.get(backend).map_or(super::DEFAULT_WEIGHT, |known| known.weight);
                let origin = match own {
                    Some(_) => Origin::File,
                    None => self.provenance.origin(&path(&["backend", backend, "weight"])),
                };
                Value {
                    path: path(&["vip", &vip.name, "backends", backend, "weight"]),
                    value: own.unwrap_or_else(inherited).to_string(),
                    origin,
                }
            })
        })
    }
}
