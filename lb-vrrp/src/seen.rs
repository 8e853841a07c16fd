//! What is shown and counted of a virtual router: who was heard, what was rejected, what the machine did. Decides nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::Moment;
use crate::machine::{Action, Event, Role};
use crate::wire::{Advert, Ipv4Sum, LEAVING, Reject, Rejects, Version};

/// Anybody can send adverts from any address: so many senders are told apart, of which the one that was silent for longest
/// makes room.
const PEERS: usize = 32;

/// A sender of adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub version: Version,
    pub priority: u8,
    /// How it sums up version 3 over IPv4.
    pub sum: Ipv4Sum,
    pub last: Moment,
    /// Adverts that were heeded.
    pub heeded: u64,
    pub rejected: u64,
    /// Why the last one that was rejected was, and when.
    pub last_reject: Option<(Reject, Moment)>,
}

/// What happened to a virtual router since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub peers: BTreeMap<IpAddr, Peer>,
    pub rejects: Rejects,
    pub adverts_received: u64,
    pub farewells_received: u64,
    pub adverts_sent: u64,
    pub farewells_sent: u64,
    /// Changes of the role.
    pub role_changes: u64,
    pub became_master: u64,
    /// Times that there was another master beside this one.
    pub dual_masters: u64,
    /// How long, as far as it was heard.
    pub dual_master_time: Duration,
    /// Claims of hosts that are no VRRP routers, as far as they were answered.
    pub claims: u64,
}

impl Seen {
    /// An advert that is heeded, perhaps with a doubt.
    pub fn heeded(
        &mut self,
        from: IpAddr,
        advert: &Advert,
        sum: Ipv4Sum,
        doubt: Option<Reject>,
        now: Moment,
    ) {
        self.adverts_received += 1;
        self.farewells_received += u64::from(advert.priority == LEAVING);
        if let Some(doubt) = doubt {
            self.rejects.count(doubt);
        }
        let peer = self.peer(from, advert, sum, now);
        peer.heeded += 1;
    }

    /// An advert of this virtual router that is not heeded.
    pub fn rejected(&mut self, from: IpAddr, advert: &Advert, sum: Ipv4Sum, reject: Reject, now: Moment) {
        self.rejects.count(reject);
        let peer = self.peer(from, advert, sum, now);
        peer.rejected += 1;
        peer.last_reject = Some((reject, now));
    }

    /// What the machine wants done, once it is done.
    pub fn done(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Send { priority: LEAVING } => self.farewells_sent += 1,
                Action::Send { .. } => self.adverts_sent += 1,
                Action::Report(Event::Role { to, .. }) => {
                    self.role_changes += 1;
                    self.became_master += u64::from(*to == Role::Master);
                }
                Action::Report(Event::DualMaster { .. }) => self.dual_masters += 1,
                Action::Report(Event::DualMasterEnded { lasted, .. }) => self.dual_master_time += *lasted,
                Action::Report(Event::Claimed) => self.claims += 1,
                _ => {}
            }
        }
    }

    fn peer(&mut self, from: IpAddr, advert: &Advert, sum: Ipv4Sum, now: Moment) -> &mut Peer {
        if self.peers.len() >= PEERS && !self.peers.contains_key(&from) {
            let silent = self.peers.iter().min_by_key(|(_, peer)| peer.last).map(|(address, _)| *address);
            silent.map(|address| self.peers.remove(&address));
        }
        let (version, priority) = (advert.version, advert.priority);
        let new = Peer { version, priority, sum, last: now, heeded: 0, rejected: 0, last_reject: None };
        let peer = self.peers.entry(from).or_insert(new);
        (peer.version, peer.priority, peer.sum, peer.last) = (version, priority, sum, now);
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Heard, Why};
    use crate::wire::{Authentication, Interval};

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 9, 0, last])
    }

    fn advert(priority: u8) -> Advert {
        Advert {
            version: Version::V3,
            vrid: 51,
            priority,
            interval: Interval::DEFAULT,
            addresses: vec![address(50)],
            authentication: Authentication::None,
        }
    }

    fn at(second: u64) -> Moment {
        Moment::default() + Duration::from_secs(second)
    }

    #[test]
    fn a_peer_is_shown_with_its_last_advert_and_what_was_wrong_with_another() {
        let mut seen = Seen::default();
        seen.heeded(address(11), &advert(150), Ipv4Sum::Pseudo, None, at(1));
        seen.rejected(address(11), &advert(151), Ipv4Sum::Plain, Reject::AddressList, at(2));
        seen.heeded(address(11), &advert(LEAVING), Ipv4Sum::Plain, Some(Reject::AddressList), at(3));
        let peer = seen.peers[&address(11)];
        assert_eq!((peer.priority, peer.sum, peer.last), (LEAVING, Ipv4Sum::Plain, at(3)));
        assert_eq!((peer.heeded, peer.rejected), (2, 1));
        assert_eq!(peer.last_reject, Some((Reject::AddressList, at(2))));
        assert_eq!((seen.adverts_received, seen.farewells_received, seen.rejects.total()), (2, 1, 2));
    }

    #[test]
    fn of_many_senders_the_one_that_was_silent_for_longest_makes_room() {
        let mut seen = Seen::default();
        for last in 0..PEERS as u8 {
            seen.heeded(address(last), &advert(1), Ipv4Sum::Pseudo, None, at(last.into()));
        }
        seen.heeded(address(0), &advert(1), Ipv4Sum::Pseudo, None, at(100));
        seen.heeded(address(200), &advert(1), Ipv4Sum::Pseudo, None, at(101));
        assert_eq!(seen.peers.len(), PEERS);
        assert!(seen.peers.contains_key(&address(0)) && !seen.peers.contains_key(&address(1)));
    }

    #[test]
    fn what_the_machine_did_is_counted() {
        let mut seen = Seen::default();
        let peer = Heard { from: address(11), priority: 99, interval: Interval::DEFAULT };
        let lasted = Duration::from_secs(3);
        seen.done(&[
            Action::Send { priority: 100 },
            Action::Own { until: None },
            Action::Report(Event::Role { from: Role::Backup, to: Role::Master, why: Why::MasterDown }),
            Action::Report(Event::DualMaster { peer }),
            Action::Report(Event::DualMasterEnded { peer: peer.from, lasted, at_most: lasted }),
            Action::Report(Event::Claimed),
            Action::Send { priority: LEAVING },
            Action::Report(Event::Role { from: Role::Master, to: Role::Init, why: Why::Stopped }),
        ]);
        let expected = Seen {
            adverts_sent: 1,
            farewells_sent: 1,
            role_changes: 2,
            became_master: 1,
            dual_masters: 1,
            dual_master_time: lasted,
            claims: 1,
            ..Seen::default()
        };
        assert_eq!(seen, expected);
    }
}
