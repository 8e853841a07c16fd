//! The groups on which neighbour solicitations for announced IPv6 addresses arrive.
//!
//! An interface accepts frames of a group once the group's Ethernet address is set on it; that outlives the daemon, so the
//! program goes on answering. Switches that watch memberships (MLD snooping, RFC 4541) hear of it as well, for as
//! long as this process lives.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv6Addr, UdpSocket};

use super::plan::Port;
use super::socket::set_group;
use super::wire::{solicited_node, solicited_node_mac};

/// A group on an interface: number, name and the group's IPv6 address.
pub(super) type Membership = (u32, String, Ipv6Addr);

#[derive(Debug, Default)]
pub(super) struct Groups {
    joined: BTreeSet<Membership>,
    /// Hold the memberships, by interface: a socket has room for some tens only.
    members: BTreeMap<Membership, UdpSocket>,
}

/// The membership that an address needs.
pub(super) fn membership(interface: &str, port: Port, address: Ipv6Addr) -> Membership {
    (port.ifindex, interface.to_owned(), solicited_node(address))
}

impl Groups {
    /// Joins and leaves until the memberships are the needed ones. Two addresses may need the same.
    pub(super) fn set(&mut self, needed: BTreeSet<Membership>) {
        for gone in self.joined.difference(&needed) {
            self.members.remove(gone);
            told(gone, set_group(&gone.1, solicited_node_mac(gone.2), false));
        }
        for new in needed.difference(&self.joined) {
            told(new, set_group(&new.1, solicited_node_mac(new.2), true));
            match member(new) {
                Ok(socket) => {
                    self.members.insert(new.clone(), socket);
                }
                // Such as: no IPv6 on the interface. Only switches that watch memberships would care.
                Err(error) => {
                    tracing::debug!(interface = new.1, group = %new.2, %error, "membership not reported");
                }
            }
        }
        self.joined = needed;
    }
}

fn member((ifindex, _, group): &Membership) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v6(group, *ifindex)?;
    Ok(socket)
}

fn told((_, interface, group): &Membership, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(interface, %group, %error, "cannot change the group on which neighbour solicitations arrive");
    }
}
