//! What vips say of their addresses: vips of one address speak with one voice, and what one says counts for all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::objects::Objects;
use super::{Check, interface_names};
use crate::config::file::{AddressFile, VipFile};
use crate::config::reader::Located;
use crate::config::render::quoted;
use crate::config::words;
use crate::state::{Announce, DesiredAddress, UnknownPorts};

pub(super) fn validate(
    check: &mut Check<'_>,
    files: &[VipFile],
    objects: &Objects,
) -> BTreeMap<IpAddr, DesiredAddress> {
    let mut vips: BTreeMap<IpAddr, Vec<&VipFile>> = BTreeMap::new();
    for (key, file, _) in objects.in_file(files) {
        vips.entry(key.address).or_default().push(file);
    }
    vips.into_iter().map(|(address, vips)| (address, of_address(check, &vips))).collect()
}

/// What `vips`, all of one address, say of it.
fn of_address(check: &mut Check<'_>, vips: &[&VipFile]) -> DesiredAddress {
    let shown = |announce: &Announce| quoted(words::announce(*announce));
    let announce = agreed(check, vips, "announce", shown, |of| of.announce.as_ref());
    let shown = |names: &Vec<Located<String>>| {
        let names: BTreeSet<_> = names.iter().map(|name| quoted(&name.value)).collect();
        format!("[{}]", Vec::from_iter(names).join(", "))
    };
    let announce_on = agreed(check, vips, "announce_on", shown, |of| of.announce_on.as_ref());
    let shown = |ports: &UnknownPorts| quoted(words::unknown_ports(*ports));
    let unknown_ports = agreed(check, vips, "unknown_ports", shown, |of| of.unknown_ports.as_ref());
    let ping = agreed(check, vips, "ping", ToString::to_string, |of| of.ping.as_ref());

    let withdraw =
        agreed(check, vips, "withdraw_when_down", ToString::to_string, |of| of.withdraw_when_down.as_ref());

    let announce = announce.map(|(_, found)| found.value).unwrap_or_default();
    if let Some((file, names)) = announce_on.filter(|(_, names)| !names.value.is_empty())
        && announce == Announce::None
    {
        let text = format!(
            "{}: announce_on: nothing is announced; add announce = \"arp\" or \"address\", or take announce_on out",
            file.object
        );
        check.problems.add(names.line, text);
    }
    if let Some((file, found)) = withdraw.filter(|(_, found)| found.value)
        && announce == Announce::None
    {
        let text = format!(
            "{}: withdraw_when_down: nothing is announced that could be withdrawn; add announce = \"arp\" or \"address\", or take withdraw_when_down out",
            file.object
        );
        check.problems.add(found.line, text);
    }
    let announce_on = announce_on
        .map(|(file, names)| interface_names(check, &format!("{}: announce_on", file.object), &names.value));
    DesiredAddress {
        announce,
        announce_on: announce_on.unwrap_or_default(),
        unknown_ports: unknown_ports.map_or_else(|| UnknownPorts::beside(announce), |(_, found)| found.value),
        ping: ping.is_none_or(|(_, found)| found.value),
        withdraw_when_down: withdraw.is_some_and(|(_, found)| found.value),
    }
}

/// What the first vip that says something says; others must not say otherwise. `shown` is the value as the file has it.
fn agreed<'a, T>(
    check: &mut Check<'_>,
    vips: &[&'a VipFile],
    key: &str,
    shown: impl Fn(&T) -> String,
    get: impl Fn(&'a AddressFile) -> Option<&'a Located<T>>,
) -> Option<(&'a VipFile, &'a Located<T>)> {
    let mut said = vips.iter().filter_map(|vip| Some((*vip, get(&vip.of_address)?)));
    let (first, wanted) = said.next()?;
    for (other, found) in said {
        let (found_text, wanted_text) = (shown(&found.value), shown(&wanted.value));
        if found_text != wanted_text {
            let text = format!(
                "{}: {key}: {found_text} contradicts {wanted_text} of {} in line {}; both have the same address: write the same, or take one out",
                other.object, first.object, wanted.line
            );
            check.problems.add(found.line, text);
        }
    }
    Some((first, wanted))
}
