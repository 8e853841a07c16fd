//! One vip by itself: its key, its name, its ring, its options.

use std::net::IpAddr;

use lb_common::maglev::{DEFAULT_RING_SIZE, RING_SIZES, is_ring_size, nearest_ring_sizes};

use super::objects::{Objects, usable, why_no_name};
use super::{Check, access, pool};
use crate::config::VipConfig;
use crate::config::file::VipFile;
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::state::{FlowLimits, VipKey, VipOptions};

impl Objects {
    pub(super) fn vip(&mut self, check: &mut Check<'_>, file: &VipFile) {
        let object = &file.object;
        if let Some(address) = &file.address {
            usable(check, object, address);
            self.no_backends_address(check, object, address);
        }
        if let Some(size) = &file.ring_size {
            ring_size(check, object, size);
        }
        let members = self.members(check, object, file.backends.as_deref().unwrap_or_default());
        let health = pool::policy(check, file, &members);
        let routes = self.routes(check, &file.routes);
        let (access, access_source) = access::rules(check, object, &file.access);
        let options = VipOptions {
            group: group(check, file),
            fragments: file.fragments.as_ref().map(|fragments| fragments.value).unwrap_or_default(),
            access,
            limits: flow_limits(check, file),
            quic: self.quic(check, file),
            tracking: file.tracking.as_ref().map(|tracking| tracking.value).unwrap_or_default(),
        };
        let Some(key) = file.key() else { return };
        if let Some(first) = self.vip_lines.get(&key) {
            let text = format!(
                "{object}: the same address, port and protocol are in line {first}; put all backends into one of the two"
            );
            check.problems.add(file.line, text);
            return;
        }
        self.vip_lines.insert(key, file.line);
        let Some(name) = self.vip_name(check, file, key) else {
            return;
        };
        note_origins(check, file, &name);
        let vip = VipConfig {
            mode: file.mode.as_ref().map(|mode| mode.value).unwrap_or_default(),
            ring_size: file
                .ring_size
                .as_ref()
                .map(|size| size.value)
                .filter(|size| is_ring_size(*size))
                .unwrap_or(DEFAULT_RING_SIZE),
            affinity: file.affinity.as_ref().map(|affinity| affinity.value).unwrap_or_default(),
            options,
            slow_start: file.slow_start.as_ref().map(|span| span.value).unwrap_or_default(),
            health,
            access_source,
            routes,
            backends: members,
            name,
        };
        self.vips.insert(key, vip);
    }

    fn vip_name(&self, check: &mut Check<'_>, file: &VipFile, key: VipKey) -> Option<String> {
        let object = &file.object;
        let (name, line) = match &file.name {
            Some(name) => (name.value.clone(), name.line),
            None => (key.to_string(), file.line),
        };
        let shown = printable(&name);
        if let Some(why) = why_no_name(&name) {
            check.problems.add(line, format!("{object}: name: '{shown}' {why}"));
            return None;
        }
        if name.parse::<VipKey>().is_ok_and(|other| other != key) {
            let text = format!(
                "{object}: name: '{shown}' reads like another vip's address; choose a name that is none"
            );
            check.problems.add(line, text);
            return None;
        }
        let taken = self.vips.iter().find(|(_, vip)| vip.name == name);
        if let Some((other, _)) = taken {
            let first = self.vip_lines.get(other).copied().unwrap_or(0);
            let text =
                format!("{object}: name: '{shown}' is taken by vip {other} in line {first}; choose another");
            check.problems.add(line, text);
            return None;
        }
        Some(name)
    }

    fn no_backends_address(&self, check: &mut Check<'_>, object: &str, address: &Located<IpAddr>) {
        let owner = self.backends.iter().find(|(_, backend)| backend.address == address.value);
        if let Some((name, _)) = owner {
            let line = self.backend_lines.get(name).copied().unwrap_or(0);
            let text = format!(
                "{object}: address: {} is also the address of backend {name} in line {line}; tunnels to it would end at the vip itself: give the vip an address of its own",
                address.value
            );
            check.problems.add(address.line, text);
        }
    }
}

fn ring_size(check: &mut Check<'_>, object: &str, size: &Located<u32>) {
    if is_ring_size(size.value) {
        return;
    }
    let why = if RING_SIZES.contains(&size.value) {
        "is not a prime".to_owned()
    } else {
        format!("is out of range ({} to {})", RING_SIZES.start(), RING_SIZES.end())
    };
    let (below, above) = nearest_ring_sizes(size.value);
    let near: Vec<_> = below.into_iter().chain(above).map(|prime| prime.to_string()).collect();
    let text = format!("{object}: ring_size: {} {why}; write {}", size.value, near.join(" or "));
    check.problems.add(size.line, text);
}

/// The name of the vip's group.
fn group(check: &mut Check<'_>, file: &VipFile) -> Option<String> {
    let Located { value: name, line } = file.group.as_ref()?;
    if let Some(why) = why_no_name(name) {
        check.problems.add(*line, format!("{}: group: '{}' {why}", file.object, printable(name)));
    }
    Some(name.clone())
}

fn flow_limits(check: &mut Check<'_>, file: &VipFile) -> FlowLimits {
    let limits = &file.flow_limits;
    let default = FlowLimits::default();
    let lines = [
        ("source_prefix4", limits.source_prefix4.as_ref().map(|bits| bits.line)),
        ("source_prefix6", limits.source_prefix6.as_ref().map(|bits| bits.line)),
    ];
    for (key, line) in lines.into_iter().filter_map(|(key, line)| Some((key, line?))) {
        if limits.source_new_flows_per_second.is_none() {
            let text = format!(
                "{}: {key}: there is no limit for sources to apply it to; add source_new_flows_per_second, or take {key} out",
                file.object
            );
            check.problems.add(line, text);
        }
    }
    FlowLimits {
        vip_per_second: limits.new_flows_per_second.as_ref().map(|rate| rate.value),
        source_per_second: limits.source_new_flows_per_second.as_ref().map(|rate| rate.value),
        source_prefix4: limits.source_prefix4.as_ref().map_or(default.source_prefix4, |bits| bits.value),
        source_prefix6: limits.source_prefix6.as_ref().map_or(default.source_prefix6, |bits| bits.value),
    }
}

fn note_origins(check: &mut Check<'_>, file: &VipFile, name: &str) {
    let VipFile { flow_limits, access, of_address, .. } = file;
    let given = [
        ("name", file.name.is_some()),
        ("address", true),
        ("port", true),
        ("protocol", true),
        ("mode", file.mode.is_some()),
        ("ring_size", file.ring_size.is_some()),
        ("affinity", file.affinity.is_some()),
        ("backends", file.backends.is_some()),
        ("group", file.group.is_some()),
        ("fragments", file.fragments.is_some()),
        ("tracking", file.tracking.is_some()),
        ("slow_start", file.slow_start.is_some()),
        ("new_flows_per_second", flow_limits.new_flows_per_second.is_some()),
        ("source_new_flows_per_second", flow_limits.source_new_flows_per_second.is_some()),
        ("source_prefix4", flow_limits.source_prefix4.is_some()),
        ("source_prefix6", flow_limits.source_prefix6.is_some()),
        ("allow", access.allow.is_some()),
        ("allow_file", access.allow_file.is_some()),
        ("deny", access.deny.is_some()),
        ("deny_file", access.deny_file.is_some()),
        ("quic_server_id_length", file.quic_server_id_length.is_some()),
        ("quic_config_id", file.quic_config_id.is_some()),
        ("announce", of_address.announce.is_some()),
        ("announce_on", of_address.announce_on.is_some()),
        ("unknown_ports", of_address.unknown_ports.is_some()),
        ("ping", of_address.ping.is_some()),
        ("withdraw_when_down", of_address.withdraw_when_down.is_some()),
    ];
    let given = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key);
    for key in given.chain(file.pool.given().map(|(key, _)| key)) {
        check.provenance.note(path(&["vip", name, key]));
    }
    for route in file.routes.iter().filter_map(|route| route.name.as_ref()) {
        for key in ["name", "sources", "backends"] {
            check.provenance.note(path(&["vip", name, "route", &route.value, key]));
        }
    }
}
