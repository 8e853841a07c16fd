//! What is known of the kernel's links, addresses, neighbours and routes, and how events change it. Pure.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::state::{MacAddress, Prefix};

/// Index of an interface.
pub(super) type IfIndex = u32;

/// Facts about this host, as far as netlink told them.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) links: BTreeMap<IfIndex, Link>,
    pub(super) addresses: BTreeSet<LinkAddress>,
    pub(super) neighbours: HashMap<Hop, Neighbour>,
    /// The kernel's answer for each wanted address.
    pub(super) routes: BTreeMap<IpAddr, Route>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// `veth`, `bond`, or for links without a kind the link layer, such as `ether` or `loopback`.
    pub(super) kind: String,
    /// Frames on it are Ethernet frames.
    pub(super) ethernet: bool,
    pub(super) mac: Option<MacAddress>,
    pub(super) mtu: u32,
    /// Switched on by the administrator and with a carrier.
    pub(super) up: bool,
    pub(super) vlan: Option<VlanLink>,
}

/// What makes a link a VLAN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VlanLink {
    /// `None` when the parent lives in another network namespace.
    pub(super) parent: Option<IfIndex>,
    pub(super) id: u16,
    /// 802.1Q; otherwise 802.1ad.
    pub(super) dot1q: bool,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkAddress {
    pub(super) link: IfIndex,
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
}

/// A neighbour's place: where it is and what it is called there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hop {
    pub(super) link: IfIndex,
    pub(super) address: IpAddr,
}

/// An entry of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) state: NeighbourState,
    pub(super) mac: Option<MacAddress>,
}

/// States of the kernel's neighbour entries (RFC 4861 7.3.2 and Linux's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NeighbourState {
    /// Asked, no answer yet.
    Incomplete,
    Reachable,
    Stale,
    Delay,
    Probe,
    /// Asked, and never answered.
    Failed,
    Permanent,
    NoArp,
}

impl NeighbourState {
    /// The link-layer address counts in this state.
    pub(super) const fn is_usable(self) -> bool {
        !matches!(self, Self::Incomplete | Self::Failed)
    }

    /// The kernel should be asked to look for the neighbour. Never true of permanent entries: for those the same request
    /// would take the permanence away.
    const fn wants_probe(self) -> bool {
        matches!(self, Self::Stale | Self::Failed)
    }
}

/// What the kernel would do with a packet for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Unicast {
        link: IfIndex,
        gateway: Option<IpAddr>,
        preferred_source: Option<IpAddr>,
        mtu: Option<u32>,
    },
    /// An address of this host.
    Local,
    /// There is no route.
    None,
    /// A route that leads nowhere, such as `blackhole`.
    Bad(String),
    /// The question itself failed.
    Error(String),
}

/// A fact that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Link(IfIndex, Link),
    LinkGone(IfIndex),
    Address(LinkAddress),
    AddressGone(LinkAddress),
    Neighbour(Hop, Neighbour),
    NeighbourGone(Hop),
    /// A route for this prefix came, went or changed.
    Route {
        prefix: IpAddr,
        prefix_len: u8,
    },
    /// Routes changed in a way that can matter to any address.
    Rules,
    /// Events were lost.
    Overrun,
}

/// What has to be done again after an event, in ascending order of effort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    #[default]
    None,
    /// Derive the next hops from the snapshot.
    Derive,
    /// Ask for the routes of the wanted addresses, then derive.
    Routes,
    /// Read everything anew.
    Everything,
}

impl Snapshot {
    /// Whether an address is this host's.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Takes in an event.
    pub(super) fn apply(&mut self, event: Event) -> Work {
        match event {
            Event::Link(index, link) => {
                let before = self.links.insert(index, link);
                work_if(before.as_ref() != self.links.get(&index), Work::Routes)
            }
            Event::LinkGone(index) => {
                self.neighbours.retain(|hop, _| hop.link != index);
                self.addresses.retain(|address| address.link != index);
                work_if(self.links.remove(&index).is_some(), Work::Routes)
            }
            // Not only new ones: an IPv6 address that leaves the tentative state changes the preferred source.
            Event::Address(address) => {
                self.addresses.insert(address);
                Work::Routes
            }
            Event::AddressGone(address) => {
                self.addresses.remove(&address);
                Work::Routes
            }
            Event::Neighbour(hop, neighbour) => {
                let neighbour = neighbour.after(self.neighbours.get(&hop));
                let before = self.neighbours.insert(hop, neighbour);
                work_if(before != Some(neighbour) && self.is_needed(hop), Work::Derive)
            }
            Event::NeighbourGone(hop) => {
                let before = self.neighbours.remove(&hop);
                work_if(before.is_some() && self.is_needed(hop), Work::Derive)
            }
            Event::Route { prefix, prefix_len } => {
                let prefix = Prefix { address: prefix, len: prefix_len };
                let concerned = self.routes.keys().any(|address| prefix.contains(*address));
                work_if(concerned, Work::Routes)
            }
            Event::Rules => Work::Routes,
            Event::Overrun => Work::Everything,
        }
    }

    /// Takes links, addresses and neighbours from a fresh reading. What is known of failed neighbours stays.
    pub(super) fn replace_facts(&mut self, fresh: Self) {
        self.links = fresh.links;
        self.addresses = fresh.addresses;
        let before = std::mem::replace(&mut self.neighbours, fresh.neighbours);
        for (hop, neighbour) in &mut self.neighbours {
            *neighbour = neighbour.after(before.get(hop));
        }
    }

    /// The neighbour that packets for `address` go to.
    pub(super) fn hop(&self, address: IpAddr) -> Option<Hop> {
        match self.routes.get(&address)? {
            Route::Unicast { link, gateway, .. } => {
                Some(Hop { link: *link, address: gateway.unwrap_or(address) })
            }
            _ => None,
        }
    }

    /// The neighbours that the kernel should be asked to look for.
    pub(super) fn hops_to_probe(&self) -> BTreeSet<Hop> {
        self.routes
            .keys()
            .filter_map(|address| self.hop(*address))
            .filter(|hop| self.links.get(&hop.link).is_some_and(|link| link.up && link.ethernet))
            .filter(|hop| self.neighbours.get(hop).is_none_or(|neighbour| neighbour.state.wants_probe()))
            .collect()
    }

    fn is_needed(&self, hop: Hop) -> bool {
        self.routes.keys().any(|address| self.hop(*address) == Some(hop))
    }
}

impl Neighbour {
    /// This entry, seen after `before`: a neighbour that failed stays failed while it is asked again, so that what people
    /// and the controller see does not flap with every attempt.
    const fn after(self, before: Option<&Self>) -> Self {
        match (before, self.state) {
            (Some(before), NeighbourState::Incomplete) if matches!(before.state, NeighbourState::Failed) => {
                *before
            }
            _ => self,
        }
    }
}

const fn work_if(changed: bool, work: Work) -> Work {
    if changed { work } else { Work::None }
}

#[cfg(test)]
mod tests;
