//! Backends and vips: names, addresses, duplicates, and who names whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Check;
use crate::config::address::why_unusable;
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{BackendFile, MemberFile, VipFile};
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::config::{BackendConfig, DEFAULT_WEIGHT, VipConfig};
use crate::state::VipKey;

const NAME_LEN_MAX: usize = 64;

/// The valid backends and vips, and where in the file they stand.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) backends: BTreeMap<String, BackendConfig>,
    pub(super) vips: BTreeMap<VipKey, VipConfig>,
    pub(super) backend_lines: BTreeMap<String, u32>,
    pub(super) vip_lines: BTreeMap<VipKey, u32>,
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

    /// The valid vips as the file has them.
    pub(super) fn in_file<'a>(
        &'a self,
        vips: &'a [VipFile],
    ) -> impl Iterator<Item = (VipKey, &'a VipFile, &'a VipConfig)> {
        vips.iter().filter_map(|file| {
            let key = file.key().filter(|key| self.vip_lines.get(key) == Some(&file.line))?;
            Some((key, file, self.vips.get(&key)?))
        })
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
        let backend = BackendConfig {
            address: address.value,
            weight,
            mode: check.take(&["backend", &name.value, "mode"], file.mode.clone()),
            server_id: check.take(&["backend", &name.value, "server_id"], file.server_id.clone()),
            slow_start: check.take(&["backend", &name.value, "slow_start"], file.slow_start.clone()),
            check: check.take(&["backend", &name.value, "check"], file.check.clone()),
            agent: check.take(&["backend", &name.value, "agent"], file.agent.clone()),
        };
        self.backends.insert(name.value.clone(), backend);
    }

    /// The backends that a vip or one of its routes names.
    pub(super) fn members(
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

pub(super) fn usable(check: &mut Check<'_>, object: &str, address: &Located<IpAddr>) {
    if let Some(why) = why_unusable(address.value) {
        check.problems.add(address.line, format!("{object}: address: {} {why}", address.value));
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
