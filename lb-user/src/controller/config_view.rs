//! `config show`: the running configuration, value by value, with the runtime changes on top of the file.

use std::collections::BTreeMap;

use super::engine::Engine;
use crate::api::types::{ConfigShow, ConfigValue};
use crate::config::{BackendConfig, Config, path};
use crate::dataplane::Dataplane;
use crate::state::{ChangeMark, MemberOverride, Override, VipKey};

impl<D: Dataplane> Engine<D> {
    pub(super) fn config_show(&self) -> ConfigShow {
        let running = self.running_config();
        let mut shown = Runtime::default();
        for (key, backend, change) in self.overrides_in_effect() {
            if let Some(vip) = self.desired.vips.get(&key) {
                shown.note(&vip.name, backend, change, &self.setup.config);
            }
        }
        let origin = |path: &str, written: String| match path {
            "xdp_mode" if self.setup.xdp_mode.is_some() => "command line".to_owned(),
            path => shown.origins.get(path).map_or(written, runtime),
        };
        let values = running.values().into_iter().map(|value| ConfigValue {
            origin: origin(&value.path, value.origin.to_string()),
            path: value.path,
            value: value.value,
        });
        let values = values.chain(shown.drained.iter().map(|(path, mark)| ConfigValue {
            path: path.clone(),
            value: "true".to_owned(),
            origin: runtime(mark),
        }));
        ConfigShow { toml: self.drain_comments() + &running.to_toml(), values: values.collect() }
    }

    /// The file with the runtime changes written into it.
    fn running_config(&self) -> Config {
        let mut config = self.setup.config.clone();
        config.xdp_mode = self.setup.xdp_mode.unwrap_or(config.xdp_mode);
        for (key, backend, change) in self.overrides_in_effect() {
            let (Some(vip), Some(desired)) = (config.vips.get_mut(&key), self.desired.vips.get(&key)) else {
                continue;
            };
            let Some(member) = desired.members.get(backend) else {
                vip.backends.remove(backend);
                continue;
            };
            let defined = config.backends.entry(backend.to_owned());
            let defined = defined.or_insert(BackendConfig {
                address: member.address,
                weight: member.weight,
                mode: None,
                server_id: member.server_id,
                slow_start: None,
                check: None,
                agent: None,
            });
            if change.weight.is_some() || change.member.is_some() {
                let own = (member.weight != defined.weight).then_some(member.weight);
                vip.backends.insert(backend.to_owned(), own);
            }
        }
        config
    }

    fn overrides_in_effect(&self) -> impl Iterator<Item = (VipKey, &str, &Override)> {
        self.overlay.iter().filter(|(key, backend, _)| {
            let sleeps = |dormant: &crate::state::Dormant| dormant.vip == *key && dormant.backend == *backend;
            !self.dormant.iter().any(sleeps)
        })
    }

    /// A file has no word for drained.
    fn drain_comments(&self) -> String {
        let vips = self.desired.vips.values();
        let drained = vips.flat_map(|vip| {
            let members = vip.members.iter().filter(|(_, member)| member.drained);
            members.map(|(name, _)| format!("# drained at run time: {name} in {}\n", vip.name))
        });
        drained.collect()
    }
}

/// The paths that runtime changes set.
#[derive(Default)]
struct Runtime<'a> {
    origins: BTreeMap<String, &'a ChangeMark>,
    drained: BTreeMap<String, &'a ChangeMark>,
}

impl<'a> Runtime<'a> {
    fn note(&mut self, vip: &str, backend: &str, change: &'a Override, file: &Config) {
        let weight = path(&["vip", vip, "backends", backend, "weight"]);
        if let Some(member) = &change.member {
            self.newest(path(&["vip", vip, "backends"]), member.mark());
        }
        if let Some(added @ MemberOverride::Added { .. }) = &change.member {
            self.newest(weight.clone(), added.mark());
            if !file.backends.contains_key(backend) {
                self.newest(path(&["backend", backend, "address"]), added.mark());
                self.newest(path(&["backend", backend, "weight"]), added.mark());
            }
        }
        if let Some(change) = &change.weight {
            self.newest(weight, &change.mark);
        }
        if let Some(drain) = &change.drained {
            self.drained.insert(path(&["vip", vip, "backends", backend, "drained"]), &drain.mark);
        }
    }

    fn newest(&mut self, path: String, mark: &'a ChangeMark) {
        let known = self.origins.entry(path).or_insert(mark);
        if known.at < mark.at {
            *known = mark;
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "maps hand out references to references")]
fn runtime(mark: &&ChangeMark) -> String {
    format!("runtime: {}, {}", mark.by, mark.at)
}
