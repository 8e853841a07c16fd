//! Backends and vips: names, addresses, duplicates, and who names whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::maglev::{DEFAULT_RING_SIZE, RING_SIZES, is_ring_size, nearest_ring_sizes};

use super::Check;
use crate::config::address::why_unusable;
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{BackendFile, MemberFile, VipFile};
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::config::{BackendConfig, DEFAULT_WEIGHT, VipConfig};
use crate::state::{VipKey, VipOptions};

const NAME_LEN_MAX: usize = 64;

/// The valid backends and vips, and where in the file they stand.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) backends: BTreeMap<String, BackendConfig>,
    pub(super) vips: BTreeMap<VipKey, VipConfig>,
    backend_lines: BTreeMap<String, u32>,
    vip_lines: BTreeMap<VipKey, u32>,
}

impl Objects {
    pub(super) fn read(check: &mut Check<'_>, backends: &[BackendFile], vips: &[VipFile]) -> Self {
        let mut objects = Self::default();
        for backend in backends {
            objects.backend(check, backend);
        }
        for vip in vips {
            objects.vip(check, vip);
        }
        objects
    }

    /// Every address in use, with the name of its owner.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, String)> {
        let backends =
            self.backends.iter().map(|(name, backend)| (backend.address, format!("backend {name}")));
        let vips = self.vips.keys().map(|key| (key.address, format!("vip {key}")));
        backends.chain(vips)
    }

    fn backend(&mut self, check: &mut Check<'_>, file: &BackendFile) {
        let object = &file.object;
        if let Some(address) = &file.address {
            usable(check, object, address);
        }
        let Some(name) = &file.name else { return };
        if let Some(why) = why_no_name(&name.value) {
            let text = format!("{object}: name: '{}' {why}", printable(&name.value));
            check.problems.add(name.line, text);
            return;
        }
        if let Some(first) = self.backend_lines.get(&name.value) {
            let text = format!(
                "{object}: the name is taken by the backend in line {first}; choose another or remove one"
            );
            check.problems.add(name.line, text);
            return;
        }
        self.backend_lines.insert(name.value.clone(), name.line);
        let Some(address) = &file.address else { return };
        let weight =
            check.take(&["backend", &name.value, "weight"], file.weight.clone()).unwrap_or(DEFAULT_WEIGHT);
        check.provenance.note(path(&["backend", &name.value, "address"]));
        let backend = BackendConfig { address: address.value, weight, mode: None, server_id: None };
        self.backends.insert(name.value.clone(), backend);
    }

    fn vip(&mut self, check: &mut Check<'_>, file: &VipFile) {
        let object = &file.object;
        if let Some(address) = &file.address {
            usable(check, object, address);
            self.no_backends_address(check, object, address);
        }
        if let Some(size) = &file.ring_size {
            ring_size(check, object, size);
        }
        let members = self.members(check, object, file.backends.as_deref().unwrap_or_default());
        let (Some(address), Some(port), Some(protocol)) = (&file.address, &file.port, &file.protocol) else {
            return;
        };
        let key = VipKey { address: address.value, port: port.value, protocol: protocol.value };
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
            options: VipOptions::default(),
            routes: Vec::new(),
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

    fn members(
        &self,
        check: &mut Check<'_>,
        object: &str,
        files: &[MemberFile],
    ) -> BTreeMap<String, Option<u32>> {
        let mut members = BTreeMap::new();
        let mut by_address: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for MemberFile { name: Located { value: name, line }, weight } in files {
            let shown = printable(name);
            if !self.backend_lines.contains_key(name) {
                let hint = nearest(name, self.backend_lines.keys().map(String::as_str));
                let way_out = match hint {
                    Some(_) => did_you_mean(hint),
                    None => format!("; add a [[backend]] with name = \"{shown}\""),
                };
                check
                    .problems
                    .add(*line, format!("{object}: backends: no backend is called '{shown}'{way_out}"));
                continue;
            }
            if members.insert(name.clone(), weight.as_ref().map(|weight| weight.value)).is_some() {
                let text = format!(
                    "{object}: backends: '{shown}' is named twice; remove one, and use weight for a larger share"
                );
                check.problems.add(*line, text);
                continue;
            }
            let Some(backend) = self.backends.get(name) else {
                continue;
            };
            if let Some(other) = by_address.insert(backend.address, name) {
                let text = format!(
                    "{object}: backends: '{other}' and '{shown}' have the same address {}; remove one, and use weight for a larger share",
                    backend.address
                );
                check.problems.add(*line, text);
            }
        }
        members
    }
}

fn usable(check: &mut Check<'_>, object: &str, address: &Located<IpAddr>) {
    if let Some(why) = why_unusable(address.value) {
        check.problems.add(address.line, format!("{object}: address: {} {why}", address.value));
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

fn note_origins(check: &mut Check<'_>, file: &VipFile, name: &str) {
    let given = [
        ("name", file.name.is_some()),
        ("address", true),
        ("port", true),
        ("protocol", true),
        ("mode", file.mode.is_some()),
        ("ring_size", file.ring_size.is_some()),
        ("affinity", file.affinity.is_some()),
        ("backends", file.backends.is_some()),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        check.provenance.note(path(&["vip", name, key]));
    }
}

/// Why a vip or a backend cannot have this name.
pub(crate) fn why_no_name(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/[]-".contains(c);
    if name.is_empty() {
        Some("is empty; write 1 to 64 characters".to_owned())
    } else if name.len() > NAME_LEN_MAX {
        Some(format!("has {} characters; write at most {NAME_LEN_MAX}", name.chars().count()))
    } else {
        let foreign = name.chars().find(|c| !allowed(*c))?;
        let shown = printable(&foreign.to_string());
        Some(format!("contains '{shown}'; use letters, digits and . _ : / [ ] -"))
    }
}
