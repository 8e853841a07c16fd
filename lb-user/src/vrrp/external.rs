//! Addresses whose owner another program decides about, such as keepalived: answered for and announced here while it says that they
//! are this host's.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::SystemTime;

use lb_common::abi::Lease;
use lb_vrrp::Moment;
use lb_vrrp::announce::Schedule;
use tracing::info;

use super::member::elected;
use super::node::{Change, Node};
use super::{ExternalStatus, clock};
use crate::announce::elected::{Elected, Order as HandOrder};
use crate::net::{AddressState, HostFacts};
use crate::state::Announce;

/// In a lease.
const RENEWALS: u32 = 3;

#[derive(Debug)]
pub(super) struct External {
    wanted: super::External,
    owned: bool,
    since: SystemTime,
    why: String,
    /// When the addresses are announced once more.
    again: Option<Moment>,
    /// When the kernel is told again that they are this host's.
    renew: Option<Moment>,
}

impl External {
    pub(super) fn due(&self) -> Option<Moment> {
        self.again.into_iter().chain(self.renew).min()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let announced = self.wanted.addresses.iter().filter(|address| address.announce != Announce::None);
        announced.map(|address| address.address).collect()
    }

    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.owned && self.wanted.addresses.iter().any(|one| one.address == address)
    }

    pub(super) fn status(&self) -> ExternalStatus {
        ExternalStatus { owned: self.owned, since: self.since, why: self.why.clone() }
    }

    /// The addresses where the link is to find them; those that are on no network of this host are nowhere.
    fn elected(&self, facts: &HostFacts) -> Vec<Elected> {
        let of_network = |address: IpAddr| {
            let networks =
                facts.addresses.values().filter(|fact| fact.address != address && fact.covers(address));
            let links = networks.filter_map(|fact| facts.links.get(&fact.ifindex));
            links.filter(|link| link.ethernet).map(|link| link.name.clone()).next()
        };
        let all = self.wanted.addresses.iter();
        all.filter_map(|address| elected(address, of_network(address.address).as_ref(), None)).collect()
    }
}

impl Node {
    /// Follows what is wanted of other programs' addresses.
    pub(super) fn set_external(&mut self) {
        let gone: Vec<String> = self
            .external
            .iter()
            .filter(|(name, one)| self.wanted.external.get(*name) != Some(&one.wanted))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.set_owned(&name, false, "not configured any more");
            self.external.remove(&name);
        }
        for (name, wanted) in self.wanted.external.clone() {
            self.external.entry(name).or_insert_with(|| External {
                wanted,
                owned: false,
                since: SystemTime::now(),
                why: "nobody has said anything yet".to_owned(),
                again: None,
                renew: None,
            });
        }
        self.follow_external();
    }

    /// Those that follow an address of this host.
    pub(super) fn follow_external(&mut self) {
        if !self.is_started() {
            return;
        }
        let usable = |address: IpAddr| {
            let facts = self.facts.addresses.values();
            facts.filter(|fact| fact.state == AddressState::Usable).any(|fact| fact.address == address)
        };
        let following = self.external.iter().filter_map(|(name, one)| {
            let address = one.wanted.follows?;
            Some((name.clone(), usable(address), address))
        });
        for (name, owned, address) in following.collect::<Vec<_>>() {
            let why = if owned { "this host has" } else { "this host does not have" };
            self.set_owned(&name, owned, &format!("{why} {address}"));
        }
    }

    /// Says whether there is such a name.
    pub(super) fn command_external(&mut self, name: &str, owned: bool) -> bool {
        let known = self.external.get(name).map(|one| one.wanted.follows);
        match known {
            // What the host has counts, whatever was said.
            Some(Some(_)) => self.follow_external(),
            Some(None) => self.set_owned(name, owned, "a command said so"),
            None => return false,
        }
        true
    }

    fn set_owned(&mut self, name: &str, owned: bool, why: &str) {
        let Some(one) = self.external.get_mut(name).filter(|one| one.owned != owned) else { return };
        (one.owned, one.since, one.why) = (owned, SystemTime::now(), why.to_owned());
        one.again = owned.then(|| clock::now() + Schedule::default().delay);
        one.renew = None;
        info!(external = name, owned, why, "another program's addresses");
        let (elected, addresses) = (one.elected(&self.facts), one.addresses());
        if owned {
            self.renew_external(name, clock::now());
            self.order(HandOrder::Take(elected));
            self.announce_external(name);
        } else {
            self.release(addresses);
        }
        self.changed(Change::Important);
    }

    pub(super) fn tick_external(&mut self, now: Moment) {
        let is_due = |due: Option<Moment>| due.is_some_and(|due| due <= now);
        let due = |of: fn(&External) -> Option<Moment>| {
            let due = self.external.iter().filter(move |(_, one)| is_due(of(one)));
            due.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let (again, renew) = (due(|one| one.again), due(|one| one.renew));
        for name in renew {
            self.renew_external(&name, now);
        }
        for name in again {
            if let Some(one) = self.external.get_mut(&name) {
                one.again = None;
            }
            self.announce_external(&name);
        }
    }

    /// Tells the kernel that the addresses are this host's, until when.
    fn renew_external(&mut self, name: &str, now: Moment) {
        let Some(one) = self.external.get_mut(name) else { return };
        let lease = one.wanted.lease;
        one.renew = (!lease.is_zero()).then(|| now + lease / RENEWALS);
        let until_ns = if lease.is_zero() { Lease::FOR_EVER } else { (now + lease).as_nanos() };
        for address in one.addresses() {
            self.fence_off(address, |fence, address| fence.own(address, until_ns, None));
        }
    }

    pub(super) fn release_external(&mut self) {
        for name in self.external.keys().cloned().collect::<Vec<_>>() {
            self.set_owned(&name, false, "the daemon ends");
        }
    }

    fn announce_external(&self, name: &str) {
        let Some(one) = self.external.get(name) else { return };
        let addresses = one.wanted.addresses.iter().map(|address| address.address).collect();
        self.order(HandOrder::Announce { addresses, rounds: Schedule::default().repeat });
    }
}
