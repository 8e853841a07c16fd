//! Vips of a group: equal in all that decides which backend a client gets.

use std::collections::BTreeMap;

use super::Check;
use super::objects::Objects;
use crate::config::file::VipFile;
use crate::config::words::{affinity, mode};
use crate::config::{DEFAULT_WEIGHT, RouteConfig, VipConfig};
use crate::state::{Affinity, VipKey};

type Grouped<'a> = (VipKey, &'a VipFile, &'a VipConfig);

pub(super) fn validate(check: &mut Check<'_>, files: &[VipFile], objects: &Objects) {
    let mut groups: BTreeMap<&str, Vec<Grouped<'_>>> = BTreeMap::new();
    for (key, file, vip) in objects.in_file(files) {
        if let Some(group) = &vip.options.group {
            groups.entry(group).or_default().push((key, file, vip));
        }
    }
    for (group, vips) in groups {
        for (_, file, vip) in vips.iter().filter(|(_, _, vip)| vip.affinity != Affinity::Source) {
            let line = file.affinity.as_ref().map_or(line(file), |affinity| affinity.line);
            let text = format!(
                "{}: group: {group}: affinity is \"{}\", by which a client gets another backend in each vip; write affinity = \"source\"",
                file.object,
                affinity(vip.affinity)
            );
            check.problems.add(line, text);
        }
        for (other, first) in vips.iter().skip(1).map(|other| (other, &vips[0])) {
            for difference in objects.differences(first.2, other.2) {
                let text = format!(
                    "{}: group: {group}: {difference} in {} in line {}; all vips of a group have the same",
                    other.1.object, first.1.object, first.1.line
                );
                check.problems.add(line(other.1), text);
            }
        }
    }
}

fn line(file: &VipFile) -> u32 {
    file.group.as_ref().map_or(file.line, |group| group.line)
}

impl Objects {
    /// In what `other` differs from `first`, to be read before "in vip …".
    fn differences(&self, first: &VipConfig, other: &VipConfig) -> Vec<String> {
        let mut found = Vec::new();
        if first.ring_size != other.ring_size {
            found.push(format!("ring_size is {}, but {}", other.ring_size, first.ring_size));
        }
        if first.mode != other.mode {
            found.push(format!("mode is \"{}\", but \"{}\"", mode(other.mode), mode(first.mode)));
        }
        found.extend(self.of_backends("", &first.backends, &other.backends));
        let routes = |vip| -> BTreeMap<&str, &RouteConfig> {
            let vip: &VipConfig = vip;
            vip.routes.iter().map(|route| (route.name.as_str(), route)).collect()
        };
        let (first, other) = (routes(first), routes(other));
        found.extend(
            other
                .keys()
                .filter(|name| !first.contains_key(*name))
                .map(|name| format!("has route {name}, which is not")),
        );
        for (name, wanted) in first {
            let Some(route) = other.get(name) else {
                found.push(format!("lacks route {name}, which is"));
                continue;
            };
            if wanted.sources != route.sources {
                found.push(format!("route {name} has other sources than"));
            }
            found.extend(self.of_backends(&format!("route {name}: "), &wanted.backends, &route.backends));
        }
        found
    }

    fn of_backends(
        &self,
        place: &str,
        first: &BTreeMap<String, Option<u32>>,
        other: &BTreeMap<String, Option<u32>>,
    ) -> Vec<String> {
        let weight = |name: &String, own: Option<u32>| {
            own.unwrap_or_else(|| self.backends.get(name).map_or(DEFAULT_WEIGHT, |known| known.weight))
        };
        let more = other.keys().filter(|name| !first.contains_key(*name));
        let mut found: Vec<_> =
            more.map(|name| format!("{place}has backend '{name}', which is not")).collect();
        for (name, own) in first {
            match other.get(name) {
                None => found.push(format!("{place}lacks backend '{name}', which is")),
                Some(others) if weight(name, *own) != weight(name, *others) => found.push(format!(
                    "{place}backend '{name}' has weight {}, but {}",
                    weight(name, *others),
                    weight(name, *own)
                )),
                Some(_) => {}
            }
        }
        found
    }
}
