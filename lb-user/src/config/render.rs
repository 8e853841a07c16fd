//! A configuration as a file would say it. What was left to the defaults stays left to them.

use std::fmt::Display;

use lb_common::maglev::DEFAULT_RING_SIZE;

use super::file::{AFFINITIES, MODES, XDP_MODES};
use super::values::path;
use super::{BackendConfig, Config, DEFAULT_TTL, DEFAULT_WEIGHT, VipConfig};
use crate::dataplane::{Limits, XdpMode};
use crate::state::{Affinity, Dscp, Mode, SourcePrefix, VipKey};

impl Config {
    /// The text of a file that reads back as this configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let interfaces: Vec<_> = self.interfaces.iter().map(|name| quoted(name)).collect();
        line(&mut out, "interfaces", format!("[{}]", interfaces.join(", ")));
        self.some(
            &mut out,
            &["xdp_mode"],
            quoted(xdp_mode(self.xdp_mode)),
            self.xdp_mode != XdpMode::default(),
        );
        self.some(&mut out, &["hash_seed"], self.hash_seed, self.hash_seed != 0);
        if let Some(socket) = self.metrics_listen {
            line(&mut out, "metrics_listen", quoted(&socket.to_string()));
        }
        self.section(&mut out, "tunnel", Self::tunnel);
        self.section(&mut out, "limits", Self::limits);
        for (name, backend) in &self.backends {
            self.backend(&mut out, name, backend);
        }
        for (key, vip) in &self.vips {
            self.vip(&mut out, *key, vip);
        }
        out
    }

    fn section(&self, out: &mut String, title: &str, write: fn(&Self, &mut String)) {
        let mut body = String::new();
        write(self, &mut body);
        if !body.is_empty() {
            out.push_str(&format!("\n[{title}]\n{body}"));
        }
    }

    fn tunnel(&self, out: &mut String) {
        let tunnel = &self.tunnel;
        if let Some(prefix) = tunnel.source4 {
            line(out, "source4", quoted(&source(prefix)));
        }
        if let Some(prefix) = tunnel.source6 {
            line(out, "source6", quoted(&source(prefix)));
        }
        self.some(out, &["tunnel", "ttl"], tunnel.ttl, tunnel.ttl != DEFAULT_TTL);
        let shown = match tunnel.dscp {
            Dscp::Copy => quoted("copy"),
            Dscp::Fixed(number) => number.to_string(),
        };
        self.some(out, &["tunnel", "dscp"], shown, tunnel.dscp != Dscp::Copy);
    }

    fn limits(&self, out: &mut String) {
        let default = Limits::default();
        let limits = &self.limits;
        self.some(out, &["limits", "dests"], limits.dests, limits.dests != default.dests);
        let memory = quoted(&bytes(limits.ring_memory));
        self.some(out, &["limits", "ring_memory"], memory, limits.ring_memory != default.ring_memory);
    }

    fn backend(&self, out: &mut String, name: &str, backend: &BackendConfig) {
        out.push_str("\n[[backend]]\n");
        line(out, "name", quoted(name));
        line(out, "address", quoted(&backend.address.to_string()));
        self.some(out, &["backend", name, "weight"], backend.weight, backend.weight != DEFAULT_WEIGHT);
    }

    fn vip(&self, out: &mut String, key: VipKey, vip: &VipConfig) {
        let name = vip.name.as_str();
        out.push_str("\n[[vip]]\n");
        self.some(out, &["vip", name, "name"], quoted(name), name != key.to_string());
        line(out, "address", quoted(&key.address.to_string()));
        line(out, "port", key.port);
        line(out, "protocol", quoted(&key.protocol.to_string()));
        self.some(out, &["vip", name, "mode"], quoted(mode(vip.mode)), vip.mode != Mode::default());
        self.some(out, &["vip", name, "ring_size"], vip.ring_size, vip.ring_size != DEFAULT_RING_SIZE);
        let stays = quoted(affinity(vip.affinity));
        self.some(out, &["vip", name, "affinity"], stays, vip.affinity != Affinity::default());
        let members: Vec<_> = vip
            .backends
            .iter()
            .map(|(backend, weight)| match weight {
                None => quoted(backend),
                Some(weight) => format!("{{ name = {}, weight = {weight} }}", quoted(backend)),
            })
            .collect();
        let list = format!("[{}]", members.join(", "));
        self.some(out, &["vip", name, "backends"], list, !members.is_empty());
    }

    /// Writes a value that the file gave or that is not the default.
    fn some(&self, out: &mut String, parts: &[&str], value: impl Display, differs: bool) {
        if differs || self.provenance.is_from_file(&path(parts)) {
            line(out, parts[parts.len() - 1], value);
        }
    }
}

fn line(out: &mut String, key: &str, value: impl Display) {
    out.push_str(&format!("{key} = {value}\n"));
}

pub(super) fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// The word for a mode in the configuration file.
#[must_use]
pub fn xdp_mode(mode: XdpMode) -> &'static str {
    word(XDP_MODES, mode)
}

/// The word for a forwarding mode in the configuration file.
#[must_use]
pub fn mode(mode: Mode) -> &'static str {
    word(MODES, mode)
}

/// The word for an affinity in the configuration file.
#[must_use]
pub fn affinity(affinity: Affinity) -> &'static str {
    word(AFFINITIES, affinity)
}

/// The word that the file has for `meaning`.
fn word<T: PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, known)| *known == meaning).map_or("", |(word, _)| word)
}

pub(super) fn dscp(dscp: Dscp) -> String {
    match dscp {
        Dscp::Copy => "copy".to_owned(),
        Dscp::Fixed(number) => number.to_string(),
    }
}

/// An address, or a prefix when it is not just one address.
pub(super) fn source<A: super::decode::Family>(prefix: SourcePrefix<A>) -> String {
    if prefix.prefix_len == A::BITS {
        prefix.address.to_string()
    } else {
        format!("{}/{}", prefix.address, prefix.prefix_len)
    }
}

/// Bytes in the largest unit that divides them.
pub(super) fn bytes(bytes: u64) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}
