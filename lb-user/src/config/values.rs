//! Every value of a configuration, and whether the file gave it.

use std::collections::BTreeSet;
use std::fmt;

use super::{AccessSource, Config, RouteConfig, VipConfig, render, words};
use crate::state::{Prefix, VipKey, VipOptions};

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
        values.extend(self.check_values());
        for (name, backend) in &self.backends {
            values.push(self.value(&["backend", name, "address"], backend.address));
            values.push(self.value(&["backend", name, "weight"], backend.weight));
            values.push(self.value(&["backend", name, "mode"], backend.mode.map_or("", words::mode)));
            let slow_start = backend.slow_start.map(render::duration);
            values.push(self.value(&["backend", name, "slow_start"], slow_start.unwrap_or_default()));
            let check = backend.check.clone().unwrap_or_default();
            values.push(self.value(&["backend", name, "check"], check));
            let agent = backend.agent.clone().unwrap_or_default();
            values.push(self.value(&["backend", name, "agent"], agent));
            let id = backend.server_id.map(|id| id.to_string());
            values.push(self.value(&["backend", name, "server_id"], id.unwrap_or_default()));
        }
        for (key, vip) in &self.vips {
            values.extend(self.vip_values(*key, vip));
            let place = ["vip", vip.name.as_str()];
            values.extend(vip.backends.iter().map(|(name, own)| self.member_weight(&place, name, *own)));
            for route in &vip.routes {
                values.extend(self.route_values(&place, route));
            }
        }
        values.push(self.value(&["vrrp", "start_limit"], render::duration(self.vrrp.gate_limit)));
        for (kind, name, texts) in render::vrrp_texts(&self.vrrp) {
            let texts = texts.into_iter();
            values.extend(texts.map(|text| self.value(&["vrrp", kind, name, text.key], text.plain)));
        }
        for (name, peer) in &self.peers.peers {
            values.push(self.value(&["peer", name, "address"], peer.address));
            values.push(self.value(&["peer", name, "fingerprint"], peer.fingerprint));
        }
        values.extend(self.hook_values());
        values
    }

    fn settings(&self) -> Vec<Value> {
        let Self { tunnel, limits, answers, flows, .. } = self;
        let metrics_listen = self.metrics_listen.map(|socket| socket.to_string());
        let peer_listen = self.peers.listen.map(|socket| socket.to_string());
        let mut values = vec![
            self.value(&["interfaces"], self.interfaces.join(", ")),
            self.value(&["xdp_mode"], words::xdp_mode(self.xdp_mode)),
            self.value(&["hash_seed"], self.hash_seed),
            self.value(&["metrics_listen"], metrics_listen.unwrap_or_default()),
            self.value(&["peer_listen"], peer_listen.unwrap_or_default()),
            self.value(&["tunnel", "source4"], tunnel.source4.map(render::source).unwrap_or_default()),
            self.value(&["tunnel", "source6"], tunnel.source6.map(render::source).unwrap_or_default()),
            self.value(&["tunnel", "ttl"], tunnel.ttl),
            self.value(&["tunnel", "dscp"], render::dscp(tunnel.dscp)),
            self.value(&["tunnel", "gue_port"], tunnel.gue_port),
            self.value(&["tunnel", "gue_variant"], render::gue_variant(tunnel.gue_variant)),
            self.value(&["tunnel", "oversize"], words::oversize(tunnel.oversize)),
            self.value(&["tunnel", "probe4"], self.probes.v4),
            self.value(&["tunnel", "probe6"], self.probes.v6),
            self.value(&["limits", "dests"], limits.dests),
            self.value(&["limits", "ring_memory"], render::bytes(limits.ring_memory)),
            self.value(&["limits", "fragments"], limits.fragments),
            self.value(&["limits", "flows"], limits.flows),
            self.value(&["limits", "replies_per_second"], answers.replies_per_second),
            self.value(&["limits", "fragments_per_second"], answers.fragments_per_second),
            self.value(&["limits", "fragment_timeout"], render::duration(answers.fragment_timeout)),
        ];
        values.extend(render::flow_times(flows).map(|(key, time)| self.value(&["flows", key], time)));
        values.extend(self.access_values(&["access"], &self.access_source));
        values
    }

    fn check_values(&self) -> Vec<Value> {
        let texts = |name: &String, check| {
            let texts = render::check_texts(check).into_iter();
            texts.map(|text| self.value(&["check", name, text.key], text.plain)).collect::<Vec<_>>()
        };
        self.checks.iter().flat_map(|(name, check)| texts(name, check)).collect()
    }

    fn hook_values(&self) -> Vec<Value> {
        let texts = |name: &String, hook| {
            let texts = render::hook_texts(hook).into_iter();
            texts.map(|text| self.value(&["hook", name, text.key], text.plain)).collect::<Vec<_>>()
        };
        self.hooks.iter().flat_map(|(name, hook)| texts(name, hook)).collect()
    }

    fn access_values(&self, place: &[&str], source: &AccessSource) -> [Value; 4] {
        let prefixes = |prefixes: &[Prefix]| joined(prefixes.iter().map(Prefix::to_string));
        let at = |key| [place, &[key]].concat();
        [
            self.value(&at("allow"), prefixes(&source.allow)),
            self.value(&at("allow_file"), source.allow_file.clone().unwrap_or_default()),
            self.value(&at("deny"), prefixes(&source.deny)),
            self.value(&at("deny_file"), source.deny_file.clone().unwrap_or_default()),
        ]
    }

    fn vip_values(&self, key: VipKey, vip: &VipConfig) -> Vec<Value> {
        let name = vip.name.as_str();
        let value = |what, text: String| self.value(&["vip", name, what], text);
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let VipOptions { group, fragments, limits, quic, tracking, access: _ } = &vip.options;
        let mut values = vec![
            value("name", name.to_owned()),
            value("address", key.address.to_string()),
            value("port", key.port.to_string()),
            value("protocol", key.protocol.to_string()),
            value("mode", words::mode(vip.mode).to_owned()),
            value("ring_size", vip.ring_size.to_string()),
            value("affinity", words::affinity(vip.affinity).to_owned()),
            value("backends", joined(vip.backends.keys())),
            value("group", group.clone().unwrap_or_default()),
            value("fragments", words::fragments(*fragments).to_owned()),
            value("tracking", words::tracking(*tracking).to_owned()),
            value("slow_start", render::duration(vip.slow_start)),
        ];
        let pool = render::pool_texts(&vip.health).into_iter();
        values.extend(pool.map(|text| value(text.key, text.plain)));
        values.extend([
            value("new_flows_per_second", number(limits.vip_per_second)),
            value("source_new_flows_per_second", number(limits.source_per_second)),
            value("source_prefix4", limits.source_prefix4.to_string()),
            value("source_prefix6", limits.source_prefix6.to_string()),
        ]);
        values.extend(self.access_values(&["vip", name], &vip.access_source));
        values.push(value("quic_server_id_length", number(quic.map(|quic| quic.server_id_len.into()))));
        values.push(value("quic_config_id", number(quic.map(|quic| quic.config_id.into()))));
        values.extend(self.address_values(key, name));
        values
    }

    fn address_values(&self, key: VipKey, name: &str) -> Vec<Value> {
        let Some(address) = self.addresses.get(&key.address) else {
            return Vec::new();
        };
        let value = |what: &str, value: String| Value {
            path: path(&["vip", name, what]),
            value,
            origin: if self.address_setting_is_from_file(key, what) { Origin::File } else { Origin::Default },
        };
        vec![
            value("announce", words::announce(address.announce).to_owned()),
            value("announce_on", joined(address.announce_on.iter())),
            value("unknown_ports", words::unknown_ports(address.unknown_ports).to_owned()),
            value("ping", address.ping.to_string()),
            value("withdraw_when_down", address.withdraw_when_down.to_string()),
        ]
    }

    /// Whether any vip of the address of `key` says `what`, which then counts for all of them.
    pub(super) fn address_setting_is_from_file(&self, key: VipKey, what: &str) -> bool {
        self.of_same_address(key)
            .any(|(_, vip)| self.provenance.is_from_file(&path(&["vip", &vip.name, what])))
    }

    pub(super) fn of_same_address(&self, key: VipKey) -> impl Iterator<Item = (&VipKey, &VipConfig)> {
        self.vips.iter().filter(move |(other, _)| other.address == key.address)
    }

    fn route_values(&self, vip: &[&str], route: &RouteConfig) -> Vec<Value> {
        let place = [vip, &["route", &route.name]].concat();
        let at = |key| [&place[..], &[key]].concat();
        let mut values = vec![
            self.value(&at("sources"), joined(route.sources.iter().map(Prefix::to_string))),
            self.value(&at("backends"), joined(route.backends.keys())),
        ];
        values.extend(route.backends.iter().map(|(name, own)| self.member_weight(&place, name, *own)));
        values
    }

    /// The weight of a backend in a vip or route. Without one of its own it comes from where the backend's weight does.
    fn member_weight(&self, place: &[&str], backend: &str, own: Option<u32>) -> Value {
        let inherited = || self.backends.get(backend).map_or(super::DEFAULT_WEIGHT, |known| known.weight);
        let origin = match own {
            Some(_) => Origin::File,
            None => self.provenance.origin(&path(&["backend", backend, "weight"])),
        };
        Value {
            path: path(&[place, &["backends", backend, "weight"]].concat()),
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

fn joined(texts: impl Iterator<Item = impl Into<String>>) -> String {
    texts.map(Into::into).collect::<Vec<_>>().join(", ")
}
