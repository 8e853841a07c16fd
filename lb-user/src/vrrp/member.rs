//! A virtual router of this host as the thread holds it, beside its machine: what adverts have to be like, what it says itself,
//! and what has happened to it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::SystemTime;

use lb_vrrp::Moment;
use lb_vrrp::filter::Filter;
use lb_vrrp::gate::Pass;
use lb_vrrp::machine::{Machine, Options, Role, Standing};
use lb_vrrp::seen::Seen;
use lb_vrrp::track::Evaluation;
use lb_vrrp::wire::{
    Advert, Envelope, Frame, GROUP_V4, GROUP_V6, HOP_LIMIT, OWNER, build, group_mac, virtual_mac,
};

use super::place::{Place, no_source};
use super::{Address, Router, RouterStatus, Transition};
use crate::announce::elected::Elected;
use crate::net::HostFacts;
use crate::state::{Announce, MacAddress};

/// Transitions that are shown.
const TRANSITIONS: usize = 16;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) router: Router,
    pub(super) filter: Filter,
    pub(super) place: Option<Place>,
    pub(super) trouble: Option<String>,
    pub(super) evaluation: Evaluation,
    /// What its machine was told last.
    pub(super) stands: Option<Standing>,
    pub(super) seen: Seen,
    pub(super) since: SystemTime,
    transitions: VecDeque<Transition>,
    /// What was last said to the kernel and the link: they are this node's.
    pub(super) taken: bool,
    /// The last advert could not be sent, and why.
    pub(super) mute: Option<String>,
    pub(super) packets: u16,
}

impl Member {
    pub(super) fn new(name: String, router: Router, evaluation: Evaluation) -> Self {
        let filter = filter(&router, Vec::new());
        Self {
            name,
            router,
            filter,
            place: None,
            trouble: None,
            evaluation,
            stands: None,
            seen: Seen::default(),
            since: SystemTime::now(),
            transitions: VecDeque::new(),
            taken: false,
            mute: None,
            packets: 0,
        }
    }

    /// What the machine of this router is to be.
    pub(super) const fn options(router: &Router) -> Options {
        Options {
            version: router.version,
            interval: router.interval,
            preempt: router.preempt,
            fencing: router.fencing,
            virtual_mac: router.virtual_mac,
            announce: router.announce,
        }
    }

    /// What is wanted of it now.
    pub(super) fn follow(&mut self, router: Router) {
        self.filter = filter(&router, std::mem::take(&mut self.filter.own_addresses));
        self.router = router;
    }

    /// Takes in where it is, and with which addresses this host could hear itself.
    pub(super) fn settle(&mut self, place: Result<Place, String>, facts: &HostFacts) {
        self.place = place.as_ref().ok().copied();
        self.trouble = place.err();
        let own = self.place.map(|place| {
            let on_link = facts.addresses.values().filter(move |fact| fact.ifindex == place.ifindex);
            on_link.map(|fact| fact.address).collect()
        });
        self.filter = filter(&self.router, own.unwrap_or_default());
    }

    pub(super) fn standing(&self, gate: Pass) -> Standing {
        Standing {
            priority: self.evaluation.priority,
            fault: self.evaluation.is_fault() || self.place.is_none(),
            gate,
            primary: self.place.map_or(no_source(self.router.is_ipv6()), |place| place.source),
        }
    }

    /// Where its adverts go: to the group, or to each peer.
    pub(super) fn destinations(&self) -> Vec<IpAddr> {
        if self.router.peers.is_empty() {
            vec![if self.router.is_ipv6() { GROUP_V6.into() } else { GROUP_V4.into() }]
        } else {
            self.router.peers.clone()
        }
    }

    /// A frame with an advert; a socket of its own wants what is behind the Ethernet header.
    pub(super) fn frame(
        &mut self,
        place: Place,
        priority: u8,
        destination: IpAddr,
    ) -> Result<Vec<u8>, String> {
        let router = &self.router;
        let advert = Advert {
            version: router.version,
            vrid: router.vrid,
            priority,
            interval: router.interval,
            addresses: self.filter.addresses.clone(),
            authentication: router.authentication,
        };
        let envelope = Envelope { source: place.source, destination, hop_limit: HOP_LIMIT };
        let message = build(&advert, router.sum, &envelope).map_err(|error| error.to_string())?;
        self.packets = self.packets.wrapping_add(1);
        let frame = Frame {
            source_mac: virtual_mac(router.vrid, router.is_ipv6()),
            destination_mac: group_mac(destination),
            envelope,
            identification: self.packets,
        };
        frame
            .around(&message)
            .ok_or_else(|| format!("{destination} is of another family than {}", place.source))
    }

    /// Its addresses, as far as they are ferrolev's to own, where they are.
    pub(super) fn elected(&self) -> Vec<Elected> {
        let of_router = self.router.addresses.iter().chain(&self.router.more_addresses);
        let mac = |address: &Address| {
            let mac = virtual_mac(self.router.vrid, address.address.is_ipv6());
            self.router.virtual_mac.then_some(MacAddress(mac))
        };
        let interface = &self.router.interface;
        of_router.filter_map(|address| elected(address, Some(interface), mac(address))).collect()
    }

    pub(super) fn owned(&self) -> Vec<IpAddr> {
        self.elected().into_iter().map(|one| one.address).collect()
    }

    pub(super) fn note(&mut self, from: Role, to: Role, why: String) {
        let at = SystemTime::now();
        self.since = at;
        self.transitions.push_back(Transition { at, from, to, why });
        while self.transitions.len() > TRANSITIONS {
            self.transitions.pop_front();
        }
    }

    pub(super) fn status(&self, machine: &Machine, group: Option<&str>, now: Moment) -> RouterStatus {
        let master = machine.listens_to();
        RouterStatus {
            role: machine.role(),
            since: self.since,
            group: group.map(str::to_owned),
            evaluation: self.evaluation.clone(),
            maintenance: machine.in_maintenance(),
            handing_over: machine.is_handing_over(),
            source: self.place.map(|place| place.source),
            trouble: self.trouble.clone().or_else(|| self.mute.clone()),
            master: master.map(|heard| heard.from),
            interval: master.map_or(self.router.interval, |heard| heard.interval),
            due_in: machine.due().map(|due| due.since(now)),
            lease_left: machine.lease().map(|until| until.since(now)),
            transitions: self.transitions.iter().cloned().collect(),
            heard_ago: heard_ago(&self.seen, now),
            seen: self.seen.clone(),
        }
    }
}

fn heard_ago(seen: &Seen, now: Moment) -> BTreeMap<IpAddr, std::time::Duration> {
    seen.peers.iter().map(|(address, peer)| (*address, now.since(peer.last))).collect()
}

/// An address where `announce` is ferrolev's business.
pub(super) fn elected(
    address: &Address,
    interface: Option<&String>,
    mac: Option<MacAddress>,
) -> Option<Elected> {
    if address.announce == Announce::None {
        return None;
    }
    Some(Elected {
        address: address.address,
        prefix_len: address.prefix_len,
        announce: address.announce,
        interface: address.on.as_ref().or(interface)?.clone(),
        mac,
    })
}

fn filter(router: &Router, own_addresses: Vec<IpAddr>) -> Filter {
    Filter {
        version: router.version,
        vrid: router.vrid,
        addresses: router.addresses.iter().map(|address| address.address).collect(),
        interval: router.interval,
        authentication: router.authentication,
        check_hop_limit: router.check_hop_limit,
        peers: (!router.peers.is_empty()).then(|| router.peers.clone()),
        own_addresses,
        owner: router.priority == OWNER,
    }
}
