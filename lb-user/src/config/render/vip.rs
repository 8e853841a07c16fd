//! A vip as a file would say it.

use std::collections::BTreeMap;

use lb_common::maglev::DEFAULT_RING_SIZE;

use super::{duration, line, list, pool_texts, quoted};
use crate::config::words::{
    affinity, announce, fragments as fragments_word, mode, tracking as tracking_word, unknown_ports,
};
use crate::config::{Config, VipConfig};
use crate::state::{
    Affinity, Announce, FlowLimits, Fragments, Mode, Prefix, TrackingMode, UnknownPorts, VipKey, VipOptions,
};

impl Config {
    pub(super) fn vip(&self, out: &mut String, key: VipKey, vip: &VipConfig) {
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
        self.some(out, &["vip", name, "backends"], members(&vip.backends), !vip.backends.is_empty());
        self.vip_options(out, vip);
        self.of_address(out, key, name);
        for route in &vip.routes {
            out.push_str("\n[[vip.route]]\n");
            line(out, "name", quoted(&route.name));
            line(out, "sources", list(route.sources.iter().map(Prefix::to_string)));
            line(out, "backends", members(&route.backends));
        }
    }

    fn vip_options(&self, out: &mut String, vip: &VipConfig) {
        let name = vip.name.as_str();
        let VipOptions { group, fragments, limits, quic, tracking, access: _ } = &vip.options;
        if let Some(group) = group {
            line(out, "group", quoted(group));
        }
        let differs = *fragments != Fragments::default();
        self.some(out, &["vip", name, "fragments"], quoted(fragments_word(*fragments)), differs);
        let differs = *tracking != TrackingMode::default();
        self.some(out, &["vip", name, "tracking"], quoted(tracking_word(*tracking)), differs);
        let slow_start = quoted(&duration(vip.slow_start));
        self.some(out, &["vip", name, "slow_start"], slow_start, !vip.slow_start.is_zero());
        for text in pool_texts(&vip.health) {
            self.some(out, &["vip", name, text.key], text.toml, text.differs);
        }
        if let Some(rate) = limits.vip_per_second {
            line(out, "new_flows_per_second", rate);
        }
        if let Some(rate) = limits.source_per_second {
            line(out, "source_new_flows_per_second", rate);
        }
        let (bits4, bits6) = (limits.source_prefix4, limits.source_prefix6);
        let default = FlowLimits::default();
        self.some(out, &["vip", name, "source_prefix4"], bits4, bits4 != default.source_prefix4);
        self.some(out, &["vip", name, "source_prefix6"], bits6, bits6 != default.source_prefix6);
        self.access(out, &["vip", name], &vip.access_source);
        if let Some(quic) = quic {
            line(out, "quic_server_id_length", quic.server_id_len);
            self.some(out, &["vip", name, "quic_config_id"], quic.config_id, quic.config_id != 0);
        }
    }

    /// What the vip says of its address: what the file says there, and what nobody says with the address's first vip.
    fn of_address(&self, out: &mut String, key: VipKey, name: &str) {
        let Some(address) = self.addresses.get(&key.address) else { return };
        let first = self.of_same_address(key).next().is_some_and(|(first, _)| *first == key);
        let mut some = |what: &str, value: String, differs: bool| {
            let said = self.address_setting_is_from_file(key, what);
            self.some(out, &["vip", name, what], value, differs && first && !said);
        };
        some("announce", quoted(announce(address.announce)), address.announce != Announce::default());
        some("announce_on", list(address.announce_on.iter()), !address.announce_on.is_empty());
        let usual = UnknownPorts::beside(address.announce);
        some("unknown_ports", quoted(unknown_ports(address.unknown_ports)), address.unknown_ports != usual);
        some("ping", address.ping.to_string(), !address.ping);
        let withdraws = address.withdraw_when_down;
        some("withdraw_when_down", withdraws.to_string(), withdraws);
    }
}

fn members(backends: &BTreeMap<String, Option<u32>>) -> String {
    let members: Vec<_> = backends
        .iter()
        .map(|(backend, weight)| match weight {
            None => quoted(backend),
            Some(weight) => format!("{{ name = {}, weight = {weight} }}", quoted(backend)),
        })
        .collect();
    format!("[{}]", members.join(", "))
}
