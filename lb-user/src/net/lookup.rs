//! From facts to the next hop of one backend. Pure.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::snapshot::{Hop, IfIndex, Link, Neighbour, NeighbourState, Route, Snapshot, VlanLink};
use crate::state::{MacAddress, NextHop, NextHops, Prefix, Unresolved};

impl Snapshot {
    /// The next hops of all addresses that routes were asked for.
    pub(super) fn next_hops(&self) -> NextHops {
        self.routes.keys().map(|address| (*address, self.next_hop(*address))).collect()
    }

    /// The way to `address`, or what is missing for it.
    pub(super) fn next_hop(&self, address: IpAddr) -> Result<NextHop, Unresolved> {
        match self.routes.get(&address) {
            None => Err(Unresolved::Pending),
            Some(Route::None) => Err(self.no_route(address)),
            Some(Route::Local) => Err(Unresolved::Local(address)),
            Some(Route::Bad(kind)) => Err(Unresolved::BadRoute { address, kind: kind.clone() }),
            Some(Route::Error(text)) => Err(Unresolved::Netlink(text.clone())),
            Some(Route::Unicast { link, gateway, preferred_source, mtu }) => {
                let out = self.usable_link(*link)?;
                let device = self.device(*link, out)?;
                let hop = Hop { link: *link, address: gateway.unwrap_or(address) };
                Ok(NextHop {
                    ifindex: device.ifindex,
                    interface: device.name.to_owned(),
                    source_mac: device.source_mac,
                    destination_mac: self.neighbour_mac(hop, out)?,
                    gateway: *gateway,
                    vlan: device.vlan,
                    preferred_source: *preferred_source,
                    mtu: mtu.map_or(out.mtu, |mtu| mtu.min(out.mtu)),
                })
            }
        }
    }

    /// A link that is switched off takes its routes with it; say so instead of "no route" when the address was on it.
    fn no_route(&self, address: IpAddr) -> Unresolved {
        self.addresses
            .iter()
            .filter(|own| Prefix { address: own.address, len: own.prefix_len }.contains(address))
            .filter_map(|own| self.links.get(&own.link))
            .find(|link| !link.up)
            .map_or(Unresolved::NoRoute(address), |link| Unresolved::LinkDown(link.name.clone()))
    }

    fn usable_link(&self, index: IfIndex) -> Result<&Link, Unresolved> {
        let link = self
            .links
            .get(&index)
            .ok_or_else(|| Unresolved::Netlink(format!("nothing is known of interface number {index}")))?;
        if !link.ethernet {
            Err(Unresolved::NotEthernet { interface: link.name.clone(), kind: link.kind.clone() })
        } else if !link.up {
            Err(Unresolved::LinkDown(link.name.clone()))
        } else {
            Ok(link)
        }
    }

    /// The device that sends the frames of `link`: itself, or the parent of a VLAN interface.
    fn device<'a>(&'a self, index: IfIndex, link: &'a Link) -> Result<Device<'a>, Unresolved> {
        let source_mac = link.mac.ok_or_else(|| Unresolved::NotEthernet {
            interface: link.name.clone(),
            kind: format!("{} without a MAC address", link.kind),
        })?;
        let Some(vlan) = link.vlan else {
            return Ok(Device { ifindex: index, name: &link.name, source_mac, vlan: None });
        };
        let (parent_index, parent) = self.vlan_parent(link, vlan)?;
        Ok(Device { ifindex: parent_index, name: &parent.name, source_mac, vlan: Some(vlan.id) })
    }

    fn vlan_parent(&self, link: &Link, vlan: VlanLink) -> Result<(IfIndex, &Link), Unresolved> {
        let not_supported =
            |what: &str| Unresolved::NotSupported { interface: link.name.clone(), what: what.to_owned() };
        if !vlan.dot1q {
            return Err(not_supported("an 802.1ad VLAN"));
        }
        let index = vlan
            .parent
            .ok_or_else(|| not_supported("a VLAN whose parent is in another network namespace"))?;
        let parent = self.usable_link(index)?;
        if parent.vlan.is_some() {
            return Err(not_supported("a VLAN on a VLAN"));
        }
        Ok((index, parent))
    }

    fn neighbour_mac(&self, hop: Hop, link: &Link) -> Result<MacAddress, Unresolved> {
        let neighbour = self.neighbours.get(&hop);
        if let Some(Neighbour { state, mac: Some(mac) }) = neighbour
            && state.is_usable()
        {
            return Ok(*mac);
        }
        Err(Unresolved::NoNeighbour {
            hop: hop.address,
            interface: link.name.clone(),
            // A missing entry is being asked for at this moment, so it counts as incomplete.
            state: match neighbour.map(|neighbour| neighbour.state) {
                Some(NeighbourState::Failed) => "failed",
                _ => "incomplete",
            }
            .to_owned(),
        })
    }
}

/// Who sends the frames, and how.
struct Device<'a> {
    ifindex: IfIndex,
    name: &'a str,
    source_mac: MacAddress,
    vlan: Option<u16>,
}

#[cfg(test)]
mod tests;
