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
    reported: Reported,
}

/// Memberships that switches hear of, each held by one of the sockets. How many a socket can hold is up to
/// `net.core.optmem_max`: some hundreds.
#[derive(Debug, Default)]
struct Reported {
    sockets: Vec<UdpSocket>,
    holders: BTreeMap<Membership, usize>,
}

/// The membership that an address needs.
pub(super) fn membership(interface: &str, port: Port, address: Ipv6Addr) -> Membership {
    (port.ifindex, interface.to_owned(), solicited_node(address))
}

impl Groups {
    /// Joins and leaves until the memberships are the needed ones. Two addresses may need the same.
    pub(super) fn set(&mut self, needed: BTreeSet<Membership>) {
        for gone in self.joined.difference(&needed) {
            self.reported.leave(gone);
            told(gone, set_group(&gone.1, solicited_node_mac(gone.2), false));
        }
        for new in needed.difference(&self.joined) {
            told(new, set_group(&new.1, solicited_node_mac(new.2), true));
            // Such as: no IPv6 on the interface. Only switches that watch memberships would care.
            if let Err(error) = self.reported.join(new) {
                tracing::debug!(interface = new.1, group = %new.2, %error, "membership not reported");
            }
        }
        self.joined = needed;
    }
}

impl Reported {
    fn join(&mut self, membership: &Membership) -> io::Result<()> {
        let (ifindex, _, group) = membership;
        let full = self.sockets.last().is_none_or(|last| last.join_multicast_v6(group, *ifindex).is_err());
        if full {
            let next = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            next.join_multicast_v6(group, *ifindex)?;
            self.sockets.push(next);
        }
        self.holders.insert(membership.clone(), self.sockets.len() - 1);
        Ok(())
    }

    fn leave(&mut self, membership: &Membership) {
        if let Some(holder) = self.holders.remove(membership) {
            // It fails when the interface is gone, and the membership with it.
            let _ = self.sockets[holder].leave_multicast_v6(&membership.2, membership.0);
        }
        if self.holders.is_empty() {
            self.sockets.clear();
        }
    }
}

fn told((_, interface, group): &Membership, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(interface, %group, %error, "cannot change the group on which neighbour solicitations arrive");
    }
}
