//! Whether the file's vips fit the tables that its limits ask for.

use lb_common::abi::{RING_PAGE_SLOTS, ring_pages};

use super::Check;
use super::objects::Objects;
use crate::config::file::ConfigFile;
use crate::config::render::bytes;
use crate::dataplane::{Limits, MAX_VIPS};

/// Bytes of one ring page: 2 a slot.
const PAGE_BYTES: u64 = RING_PAGE_SLOTS as u64 * 2;

pub(super) fn validate(check: &mut Check<'_>, file: &ConfigFile, objects: &Objects) -> Limits {
    let default = Limits::default();
    let end = file.vips.last().map_or(1, |vip| vip.line);
    let dests_line = file.limits.dests.as_ref().map_or(end, |found| found.line);
    let memory_line = file.limits.ring_memory.as_ref().map_or(end, |found| found.line);
    let limits = Limits {
        dests: check.take(&["limits", "dests"], file.limits.dests.clone()).unwrap_or(default.dests),
        ring_memory: check
            .take(&["limits", "ring_memory"], file.limits.ring_memory.clone())
            .unwrap_or(default.ring_memory),
    };
    vips(check, file, objects);
    dests(check, limits, objects, dests_line);
    ring_memory(check, limits, objects, memory_line);
    limits
}

fn vips(check: &mut Check<'_>, file: &ConfigFile, objects: &Objects) {
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let count = objects.vips.keys().filter(|key| key.address.is_ipv4() == is_v4).count();
        if count <= MAX_VIPS {
            continue;
        }
        let in_family = |address: std::net::IpAddr| address.is_ipv4() == is_v4;
        let first_too_many = file
            .vips
            .iter()
            .filter(|vip| vip.address.as_ref().is_some_and(|address| in_family(address.value)))
            .nth(MAX_VIPS);
        check.problems.add(
            first_too_many.map_or(1, |vip| vip.line),
            format!(
                "[[vip]]: {count} {family} vips do not fit, there is room for {MAX_VIPS}; take port 0 for addresses with many ports, or split them over two instances"
            ),
        );
    }
}

/// A vip takes consecutive entries for its backends and as many successors, and one that outgrows its entries is written
/// anew elsewhere before the old ones are free.
fn dests(check: &mut Check<'_>, limits: Limits, objects: &Objects, line: u32) {
    let needed = Limits::dests_needed(objects.vips.values().map(|vip| vip.backends.len()));
    if needed > u64::from(limits.dests) {
        check.problems.add(
            line,
            format!(
                "[limits]: dests: the vips of this file take {needed} (each vip a power of two with room for its backends twice, and one spare), but dests = {}; write dests = {} or more",
                limits.dests,
                needed.next_power_of_two()
            ),
        );
    }
}

/// All rings twice: a change of a backend that every vip uses writes every ring anew beside the old one, and publishes
/// all of them at once.
fn ring_memory(check: &mut Check<'_>, limits: Limits, objects: &Objects, line: u32) {
    let pages: u64 = objects.vips.values().map(|vip| u64::from(ring_pages(vip.ring_size))).sum();
    let needed = 2 * pages * PAGE_BYTES;
    if needed > limits.ring_memory {
        check.problems.add(
            line,
            format!(
                "[limits]: ring_memory: the {} rings of this file take {} (each twice, so that all can change at once), but ring_memory = \"{}\"; write ring_memory = \"{}\" or choose smaller ring sizes",
                objects.vips.len(),
                bytes(needed),
                bytes(limits.ring_memory),
                bytes(needed.next_multiple_of(1 << 20))
            ),
        );
    }
}
