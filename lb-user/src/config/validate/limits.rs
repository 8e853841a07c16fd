//! Whether the file's vips fit the tables that its limits ask for.

use std::collections::BTreeSet;

use lb_common::abi::{ACCESS_PREFIXES, FLOW_WAYS, RING_PAGE_SLOTS, ring_pages};

use super::Check;
use super::objects::Objects;
use crate::config::VipConfig;
use crate::config::file::ConfigFile;
use crate::config::reader::Located;
use crate::config::render::bytes;
use crate::dataplane::{Limits, MAX_ENTRIES, MAX_VIPS};
use crate::state::{AccessRules, VipKey};

/// Bytes of one ring page: 2 a slot.
const PAGE_BYTES: u64 = RING_PAGE_SLOTS as u64 * 2;

pub(super) fn validate(
    check: &mut Check<'_>,
    file: &ConfigFile,
    objects: &Objects,
    rules: &AccessRules,
) -> Limits {
    let default = Limits::default();
    let end = file.vips.last().map_or(1, |vip| vip.line);
    let dests_line = file.limits.dests.as_ref().map_or(end, |found| found.line);
    let memory_line = file.limits.ring_memory.as_ref().map_or(end, |found| found.line);
    if let Some(found) = &file.limits.flows {
        whole_buckets(check, found);
    }
    let limits = Limits {
        dests: check.take(&["limits", "dests"], file.limits.dests.clone()).unwrap_or(default.dests),
        ring_memory: check
            .take(&["limits", "ring_memory"], file.limits.ring_memory.clone())
            .unwrap_or(default.ring_memory),
        fragments: check
            .take(&["limits", "fragments"], file.limits.fragments.clone())
            .unwrap_or(default.fragments),
        flows: check.take(&["limits", "flows"], file.limits.flows.clone()).unwrap_or(default.flows),
    };
    vips(check, file, objects);
    access(check, file, objects, rules);
    dests(check, limits, objects, dests_line);
    ring_memory(check, limits, objects, memory_line);
    limits
}

/// Records lie in buckets.
fn whole_buckets(check: &mut Check<'_>, flows: &Located<u32>) {
    let bucket = FLOW_WAYS as u32;
    let (below, above) = (flows.value / bucket * bucket, flows.value.next_multiple_of(bucket));
    if below != above {
        let text =
            format!("[limits]: flows: {} is no multiple of {bucket}; write {below} or {above}", flows.value);
        check.problems.add(flows.line, text);
    }
}

/// The table of a family has room for so many vips, and for so many vips, routes and addresses together.
fn vips(check: &mut Check<'_>, file: &ConfigFile, objects: &Objects) {
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let in_family = || objects.in_file(&file.vips).filter(|(key, _, _)| key.address.is_ipv4() == is_v4);
        let too_many = |room: usize, places: &mut dyn FnMut(VipKey, &VipConfig) -> usize| {
            let mut taken = 0;
            let mut first = None;
            for (key, file, vip) in in_family() {
                taken += places(key, vip);
                first = first.or((taken > room).then_some(file.line));
            }
            Some((first?, taken))
        };
        if let Some((line, count)) = too_many(MAX_VIPS, &mut |_, _| 1) {
            check.problems.add(
                line,
                format!(
                    "[[vip]]: {count} {family} vips do not fit, there is room for {MAX_VIPS}; take port 0 for addresses with many ports, or split them over two instances"
                ),
            );
        }
        let mut addresses = BTreeSet::new();
        let mut places =
            |key: VipKey, vip: &VipConfig| 1 + vip.routes.len() + usize::from(addresses.insert(key.address));
        if let Some((line, count)) = too_many(MAX_ENTRIES, &mut places) {
            check.problems.add(
                line,
                format!(
                    "[[vip]]: the {family} vips with their routes and addresses take {count} places, there are {MAX_ENTRIES}; put vips on fewer addresses, or split them over two instances"
                ),
            );
        }
    }
}

/// Prefixes of all lists, those of routes included, lie in one table; a list counts for each vip that has it.
fn access(check: &mut Check<'_>, file: &ConfigFile, objects: &Objects, access: &AccessRules) {
    let of_rules = |rules: &AccessRules| rules.allow.len() + rules.deny.len();
    let of_vip = |vip: &VipConfig| {
        of_rules(&vip.options.access) + vip.routes.iter().map(|route| route.sources.len()).sum::<usize>()
    };
    let count = of_rules(access) + objects.vips.values().map(of_vip).sum::<usize>();
    if count <= ACCESS_PREFIXES as usize {
        return;
    }
    let names = [&file.access.allow_file, &file.access.deny_file];
    let of_vips = file.vips.iter().flat_map(|vip| [&vip.access.allow_file, &vip.access.deny_file]);
    let line = names.into_iter().chain(of_vips).flatten().map(|name| name.line).max();
    let text = format!(
        "access lists: {count} prefixes do not fit, there is room for {ACCESS_PREFIXES}; a list counts for each vip that has it, so move what counts for all to [access]"
    );
    check.problems.add(line.unwrap_or(1), text);
}

/// A vip takes consecutive entries for its backends and as many successors, and one that outgrows its entries is written
/// anew elsewhere before the old ones are free.
fn dests(check: &mut Check<'_>, limits: Limits, objects: &Objects, line: u32) {
    let needed = Limits::dests_needed(rings(objects).map(|(_, backends)| backends));
    if needed > u64::from(limits.dests) {
        check.problems.add(
            line,
            format!(
                "[limits]: dests: the {} of this file take {needed} (each a power of two with room for its backends twice, and one spare), but dests = {}; write dests = {} or more",
                who(objects),
                limits.dests,
                needed.next_power_of_two()
            ),
        );
    }
}

/// All rings twice, since one in transition has its past behind it, and the largest once more: a change writes a ring beside
/// the old one, if need be one ring after the other. Vips may share rings, but checks and drains of one vip can part them.
fn ring_memory(check: &mut Check<'_>, limits: Limits, objects: &Objects, line: u32) {
    let pages = || rings(objects).map(|(vip, backends)| ring_and_ids(vip, backends));
    let needed = 2 * (pages().sum::<u64>() + pages().max().unwrap_or(0)) * PAGE_BYTES;
    if needed > limits.ring_memory {
        check.problems.add(
            line,
            format!(
                "[limits]: ring_memory: the {} rings of this file take {} (each twice, for what a change leaves behind, and the largest once more), but ring_memory = \"{}\"; write ring_memory = \"{}\" or choose smaller ring sizes",
                rings(objects).count(),
                bytes(needed),
                bytes(limits.ring_memory),
                bytes(needed.next_multiple_of(1 << 20))
            ),
        );
    }
}

/// Every ring: the vip that asks for it, and its number of backends. A route takes a ring and dests as a vip does.
fn rings(objects: &Objects) -> impl Iterator<Item = (&VipConfig, usize)> {
    objects.vips.values().flat_map(|vip| {
        let routes = vip.routes.iter().map(|route| route.backends.len());
        std::iter::once(vip.backends.len()).chain(routes).map(move |backends| (vip, backends))
    })
}

fn who(objects: &Objects) -> &'static str {
    if objects.vips.values().any(|vip| !vip.routes.is_empty()) { "vips and routes" } else { "vips" }
}

/// Pages of a ring, and of the table of server ids behind it for QUIC.
fn ring_and_ids(vip: &VipConfig, backends: usize) -> u64 {
    let ids = vip.options.quic.map_or(0, |_| id_pages(backends as u64));
    u64::from(ring_pages(vip.ring_size)) + ids
}

/// Pages of a table of server ids: four entries of 2 bytes for each backend, 1024 at least, and a power of two.
fn id_pages(backends: u64) -> u64 {
    let entries = (4 * backends).max(1024).next_power_of_two();
    (2 * entries).div_ceil(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_server_ids_takes_a_page_for_256_backends_and_then_powers_of_two() {
        let pages = [0, 1, 256, 257, 512, 513, 65_534].map(id_pages);
        assert_eq!(pages, [1, 1, 1, 2, 2, 4, 256]);
    }
}
