//! Vips of one group have the same backends: what is changed at run time in one is changed in all.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::state::overlay::{Overlay, Override};
use crate::state::{Desired, VipKey};

/// `vips` and all vips of their groups.
pub(super) fn widened(config: &Config, vips: &[VipKey]) -> Vec<VipKey> {
    let groups: BTreeSet<_> = vips.iter().filter_map(|key| group(config, *key)).collect();
    let of_groups =
        config.vips.keys().filter(|key| group(config, **key).is_some_and(|of| groups.contains(of)));
    let all: BTreeSet<_> = vips.iter().chain(of_groups).copied().collect();
    all.into_iter().collect()
}

/// Says which vips of `after` were taken in only because their group was asked for.
pub(super) fn notes(config: &Config, asked: &[VipKey], all: &[VipKey], after: &Desired) -> Vec<String> {
    let mut added: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in all.iter().filter(|key| !asked.contains(key)) {
        if let (Some(group), Some(vip)) = (group(config, *key), after.vips.get(key)) {
            added.entry(group).or_default().push(&vip.name);
        }
    }
    let note = |(group, vips): (_, Vec<_>)| {
        format!(
            "group {group}: the change is made in {} too, since all vips of a group have the same backends",
            vips.join(", ")
        )
    };
    added.into_iter().map(note).collect()
}

fn group(config: &Config, key: VipKey) -> Option<&str> {
    config.vips.get(&key)?.options.group.as_deref()
}

impl Overlay {
    /// The overlay with the same changes in all vips of a group: where they differ, because the file has made or enlarged
    /// the group since, the newest counts for all.
    pub(in crate::state) fn alike_in_groups(&self, config: &Config) -> Self {
        let mut newest: BTreeMap<(&str, &str), &Override> = BTreeMap::new();
        for ((key, backend), change) in &self.overrides {
            let Some(group) = group(config, *key) else { continue };
            let at = |change: &Override| change.mark().map(|mark| mark.at.clone());
            let known = newest.entry((group, backend)).or_insert(change);
            if at(known) < at(change) {
                *known = change;
            }
        }
        let mut alike = self.clone();
        for ((group_name, backend), change) in newest {
            for key in config.vips.keys().filter(|key| group(config, **key) == Some(group_name)) {
                alike.overrides.insert((*key, backend.to_owned()), change.clone());
            }
        }
        alike
    }
}
