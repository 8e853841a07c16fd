//! Which address is announced on which interfaces. Pure.
//!
//! Interfaces are called by name: a name in the configuration means whatever interface has it, now or later.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Wanted;
use crate::net::{AddressFact, HostFacts};
use crate::state::{Announce, DesiredAddress, MacAddress};

/// What is to be announced, and where. Addresses that somebody else announces are not in it.
pub(super) type Plan = BTreeMap<IpAddr, Placement>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) mode: Announce,
    /// Sorted; with [`Announce::Address`] at most one.
    pub(super) interfaces: Vec<String>,
}

/// What a new plan does to the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlanChange {
    pub(super) announced: Vec<Place>,
    pub(super) withdrawn: Vec<Place>,
    pub(super) same: Vec<Place>,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) interface: String,
    /// [`Announce::Arp`] or [`Announce::Address`].
    pub(super) mode: Announce,
}

/// An interface that frames can be sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) ifindex: u32,
    pub(crate) mac: MacAddress,
}

/// Why an interface cannot be used at present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotReady {
    #[error("interface {0} does not exist; `ip link` lists those that do")]
    Missing(String),
    #[error("interface {0} is down")]
    Down(String),
    #[error("interface {0} is not an Ethernet interface; name others with announce_on =")]
    NotEthernet(String),
}

/// Where the wanted addresses are announced on this host.
pub(super) fn plan(wanted: &Wanted, facts: &HostFacts) -> Plan {
    let networks = networks(&wanted.attached, facts);
    let announced = wanted
        .addresses
        .iter()
        .filter(|(address, desired)| desired.announce != Announce::None && !wanted.elected.contains(address));
    announced
        .map(|(address, desired)| {
            let mut interfaces = interfaces(*address, desired, &wanted.attached, &networks);
            if desired.announce == Announce::Address {
                // The kernel answers for an address on every interface, so one is enough.
                interfaces.truncate(1);
            }
            (*address, Placement { mode: desired.announce, interfaces })
        })
        .collect()
}

/// Those that are named; else those with a network that the address is part of; else all with the program.
fn interfaces(
    address: IpAddr,
    desired: &DesiredAddress,
    attached: &[String],
    networks: &[Network<'_>],
) -> Vec<String> {
    let mut interfaces: Vec<String> = if desired.announce_on.is_empty() {
        let covering = networks.iter().filter(|network| network.prefix.covers(address));
        let covering: Vec<String> = covering.map(|network| network.interface.to_owned()).collect();
        if covering.is_empty() { attached.to_vec() } else { covering }
    } else {
        desired.announce_on.clone()
    };
    interfaces.sort_unstable();
    interfaces.dedup();
    interfaces
}

struct Network<'a> {
    interface: &'a str,
    prefix: &'a AddressFact,
}

/// The networks of Ethernet interfaces whose frames pass the program. An address alone in its prefix, as a vip itself,
/// says nothing of a network.
fn networks<'a>(attached: &[String], facts: &'a HostFacts) -> Vec<Network<'a>> {
    let reached = reached(attached, facts);
    let prefixes = facts.addresses.values().filter(|fact| {
        reached.contains(&fact.ifindex) && fact.prefix_len < if fact.address.is_ipv4() { 32 } else { 128 }
    });
    let on_links = prefixes.filter_map(|prefix| Some((prefix, facts.links.get(&prefix.ifindex)?)));
    let on_ethernet = on_links.filter(|(_, link)| link.ethernet);
    on_ethernet.map(|(prefix, link)| Network { interface: &link.name, prefix }).collect()
}

/// The attached interfaces, and what is built on them: VLAN interfaces, and the bonds and bridges that they are
/// members of.
fn reached(attached: &[String], facts: &HostFacts) -> BTreeSet<u32> {
    let by_name = attached.iter().filter_map(|name| facts.link(name));
    let mut reached: BTreeSet<u32> = by_name.map(|(index, _)| index).collect();
    loop {
        let known = |index: &Option<u32>| index.is_some_and(|index| reached.contains(&index));
        let vlans = facts.links.iter().filter(|(_, link)| known(&link.vlan_parent)).map(|(index, _)| *index);
        let masters = facts.links.iter().filter(|(index, _)| reached.contains(index));
        let more: Vec<u32> = vlans.chain(masters.filter_map(|(_, link)| link.master)).collect();
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            return reached;
        }
    }
}

/// The interfaces that are this instance's business: what passes the program, and what addresses name. Two instances
/// share none, since an interface has one program.
pub(super) fn concerned(wanted: &Wanted, facts: &HostFacts) -> BTreeSet<u32> {
    let named = wanted.addresses.values().flat_map(|desired| &desired.announce_on);
    let named = named.filter_map(|name| facts.link(name)).map(|(index, _)| index);
    reached(&wanted.attached, facts).into_iter().chain(named).collect()
}

/// What it takes to get from one plan to the next.
pub(super) fn compare(before: &Plan, after: &Plan) -> PlanChange {
    let (before, after) = (places(before), places(after));
    PlanChange {
        announced: after.difference(&before).cloned().collect(),
        withdrawn: before.difference(&after).cloned().collect(),
        same: before.intersection(&after).cloned().collect(),
    }
}

fn places(plan: &Plan) -> BTreeSet<Place> {
    let places = plan.iter().flat_map(|(address, placement)| {
        let mode = placement.mode;
        let interfaces = placement.interfaces.iter().cloned();
        interfaces.map(move |interface| Place { address: *address, interface, mode })
    });
    places.collect()
}

/// The interface of this name, if frames can be sent on it.
///
/// # Errors
/// When it cannot be used; that may change at any moment.
pub(super) fn port(interface: &str, facts: &HostFacts) -> Result<Port, NotReady> {
    let (ifindex, link) = facts.link(interface).ok_or_else(|| NotReady::Missing(interface.to_owned()))?;
    match link.mac {
        Some(mac) if link.ethernet && link.up => Ok(Port { ifindex, mac }),
        Some(_) if link.ethernet => Err(NotReady::Down(interface.to_owned())),
        _ => Err(NotReady::NotEthernet(interface.to_owned())),
    }
}

#[cfg(test)]
mod tests;
