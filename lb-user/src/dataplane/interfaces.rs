//! What the program has to know of the interfaces it answers on: their MAC addresses, and which interfaces that addresses
//! name each of them stands for. An interface that is none of Ethernet's is not there, and nothing is answered on it. Pure.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{Interface, InterfaceKey};

use super::layout::Places;
use crate::net::{LinkFact, Links};

/// Entries of `INTERFACES`, when the program is attached to interfaces of these names.
#[must_use]
pub fn interfaces<'n>(
    attached: impl IntoIterator<Item = &'n str>,
    links: &Links,
    places: &Places,
) -> BTreeMap<InterfaceKey, Interface> {
    let mut entries = BTreeMap::new();
    for name in attached {
        let found = links.iter().find(|(_, link)| link.name == name);
        let Some((index, link, mac)) = found.and_then(|(index, link)| Some((*index, link, mac(link)?)))
        else {
            tracing::debug!(interface = name, "nothing is answered on it");
            continue;
        };
        let own = InterfaceKey { ifindex: index, vlans: 0 };
        entries.insert(own, Interface { mac, places: places.of(&link.name), ..Interface::default() });
        for (vlans, above) in above(index, links) {
            let (bits, key) = (places.of(&above.name), InterfaceKey { ifindex: index, vlans });
            if bits != 0
                && let Some(mac) = self::mac(above)
            {
                // Of a port and its bridge, the bridge is the one that hosts are told of.
                let entry = entries.entry(key).or_default();
                *entry = Interface { mac, places: entry.places | bits, ..Interface::default() };
            }
        }
    }
    entries
}

/// All that is built on a link, with the VLANs that its frames are in there; lower ones first.
fn above(index: u32, links: &Links) -> Vec<(u32, &LinkFact)> {
    let mut seen = BTreeSet::from([(index, 0)]);
    let mut found = Vec::new();
    let mut next = vec![(index, 0)];
    while let Some((lower, vlans)) = next.pop() {
        let master = links.get(&lower).and_then(|link| link.master).map(|master| (master, vlans));
        let tagged = links.iter().filter(|(_, link)| link.vlan_parent == Some(lower));
        let tagged = tagged.filter_map(|(upper, link)| Some((*upper, tagged_with(vlans, link.vlan_id?)?)));
        for (upper, vlans) in master.into_iter().chain(tagged) {
            if seen.insert((upper, vlans)) {
                found.extend(links.get(&upper).map(|link| (vlans, link)));
                next.push((upper, vlans));
            }
        }
    }
    found
}

/// VLAN ids with an inner one more. The program sees two.
fn tagged_with(vlans: u32, id: u16) -> Option<u32> {
    match vlans {
        0 => Some(id.into()),
        outer @ 1..=0xffff => Some(outer | u32::from(id) << 16),
        _ => None,
    }
}

fn mac(link: &LinkFact) -> Option<[u8; 6]> {
    link.mac.filter(|_| link.ethernet).map(|mac| mac.0)
}

#[cfg(test)]
mod tests;
