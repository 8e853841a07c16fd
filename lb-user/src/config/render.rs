//! A configuration as a file would say it. What was left to the defaults stays left to them.

mod check;
mod hook;
mod peer;
mod pool;
mod vip;
mod vrrp;

use std::fmt::Display;

use super::values::path;
use super::words::{mode, oversize, xdp_mode};
use super::{AccessSource, BackendConfig, Config, DEFAULT_TTL, DEFAULT_WEIGHT};
pub(super) use check::check_texts;
pub(super) use hook::hook_texts;
pub(super) use pool::pool_texts;
pub(super) use vrrp::vrrp_texts;

use crate::dataplane::{Limits, XdpMode};
use crate::state::{Answers, Dscp, FlowTimes, GueVariant, Prefix, SourcePrefix, Tunnel};
use crate::tunnel_probes::DEFAULT_PREFIXES;

impl Config {
    /// The text of a file that reads back as this configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        line(&mut out, "interfaces", list(self.interfaces.iter()));
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
        if let Some(socket) = self.peers.listen {
            line(&mut out, "peer_listen", quoted(&socket.to_string()));
        }
        self.section(&mut out, "tunnel", Self::tunnel);
        self.section(&mut out, "limits", Self::limits);
        self.section(&mut out, "flows", Self::flows);
        self.section(&mut out, "access", |config, out| {
            config.access(out, &["access"], &config.access_source)
        });
        for (name, check) in &self.checks {
            self.check(&mut out, name, check);
        }
        for (name, backend) in &self.backends {
            self.backend(&mut out, name, backend);
        }
        for (key, vip) in &self.vips {
            self.vip(&mut out, *key, vip);
        }
        self.vrrp(&mut out);
        for (name, peer) in &self.peers.peers {
            Self::peer(&mut out, name, peer);
        }
        for (name, hook) in &self.hooks {
            self.hook(&mut out, name, hook);
        }
        out
    }

    fn section(&self, out: &mut String, title: &str, write: impl Fn(&Self, &mut String)) {
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
        let default = Tunnel::default();
        self.some(out, &["tunnel", "gue_port"], tunnel.gue_port, tunnel.gue_port != default.gue_port);
        let variant = gue_variant(tunnel.gue_variant);
        self.some(out, &["tunnel", "gue_variant"], variant, tunnel.gue_variant != default.gue_variant);
        let large = quoted(oversize(tunnel.oversize));
        self.some(out, &["tunnel", "oversize"], large, tunnel.oversize != default.oversize);
        for (key, prefix, default) in
            [("probe4", self.probes.v4, DEFAULT_PREFIXES.v4), ("probe6", self.probes.v6, DEFAULT_PREFIXES.v6)]
        {
            self.some(out, &["tunnel", key], quoted(&prefix.to_string()), prefix != default);
        }
    }

    fn limits(&self, out: &mut String) {
        let default = Limits::default();
        let limits = &self.limits;
        self.some(out, &["limits", "dests"], limits.dests, limits.dests != default.dests);
        let memory = quoted(&bytes(limits.ring_memory));
        self.some(out, &["limits", "ring_memory"], memory, limits.ring_memory != default.ring_memory);
        self.some(out, &["limits", "fragments"], limits.fragments, limits.fragments != default.fragments);
        self.some(out, &["limits", "flows"], limits.flows, limits.flows != default.flows);
        let (answers, default) = (self.answers, Answers::default());
        let replies = answers.replies_per_second;
        self.some(out, &["limits", "replies_per_second"], replies, replies != default.replies_per_second);
        let begun = answers.fragments_per_second;
        self.some(out, &["limits", "fragments_per_second"], begun, begun != default.fragments_per_second);
        let timeout = quoted(&duration(answers.fragment_timeout));
        let differs = answers.fragment_timeout != default.fragment_timeout;
        self.some(out, &["limits", "fragment_timeout"], timeout, differs);
    }

    fn flows(&self, out: &mut String) {
        let default = FlowTimes::default();
        let usual = FlowTimes { quiet: FlowTimes::usual_quiet(self.flows.transition), ..default };
        for ((key, time), (_, usual)) in flow_times(&self.flows).into_iter().zip(flow_times(&usual)) {
            self.some(out, &["flows", key], quoted(&time), time != usual);
        }
    }

    /// The lists of the table at `parts`, as they are written.
    pub(super) fn access(&self, out: &mut String, parts: &[&str], source: &AccessSource) {
        let at = |key| [parts, &[key]].concat();
        self.some(
            out,
            &at("allow"),
            list(source.allow.iter().map(Prefix::to_string)),
            !source.allow.is_empty(),
        );
        if let Some(name) = &source.allow_file {
            line(out, "allow_file", quoted(name));
        }
        self.some(out, &at("deny"), list(source.deny.iter().map(Prefix::to_string)), !source.deny.is_empty());
        if let Some(name) = &source.deny_file {
            line(out, "deny_file", quoted(name));
        }
    }

    fn backend(&self, out: &mut String, name: &str, backend: &BackendConfig) {
        out.push_str("\n[[backend]]\n");
        line(out, "name", quoted(name));
        line(out, "address", quoted(&backend.address.to_string()));
        self.some(out, &["backend", name, "weight"], backend.weight, backend.weight != DEFAULT_WEIGHT);
        if let Some(own) = backend.mode {
            line(out, "mode", quoted(mode(own)));
        }
        if let Some(span) = backend.slow_start {
            line(out, "slow_start", quoted(&duration(span)));
        }
        if let Some(check) = &backend.check {
            line(out, "check", quoted(check));
        }
        if let Some(agent) = &backend.agent {
            line(out, "agent", quoted(agent));
        }
        if let Some(id) = backend.server_id {
            line(out, "server_id", quoted(&id.to_string()));
        }
    }

    /// Writes a value that the file gave or that is not the default.
    pub(super) fn some(&self, out: &mut String, parts: &[&str], value: impl Display, differs: bool) {
        if differs || self.provenance.is_from_file(&path(parts)) {
            line(out, parts[parts.len() - 1], value);
        }
    }
}

pub(super) fn line(out: &mut String, key: &str, value: impl Display) {
    out.push_str(&format!("{key} = {value}\n"));
}

pub(super) fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// A list of texts.
pub(super) fn list(texts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let texts: Vec<_> = texts.map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

pub(super) fn gue_variant(variant: GueVariant) -> u8 {
    match variant {
        GueVariant::Header => 0,
        GueVariant::Direct => 1,
    }
}

pub(super) fn duration(span: std::time::Duration) -> String {
    humantime::format_duration(span).to_string()
}

/// In the order of the reference.
pub(super) fn flow_times(times: &FlowTimes) -> [(&'static str, String); 7] {
    let FlowTimes { tcp_idle, udp_idle, opened, closing, transition, quiet, udp_learning } = *times;
    [
        ("tcp_idle", tcp_idle),
        ("udp_idle", udp_idle),
        ("opened", opened),
        ("closing", closing),
        ("transition", transition),
        ("quiet", quiet),
        ("udp_learning", udp_learning),
    ]
    .map(|(key, time)| (key, duration(time)))
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
