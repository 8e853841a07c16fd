//! Is an advert for this virtual router, and from somebody it may come from? Decides by the order of RFC 9568 7.1 and
//! RFC 3768 7.1; never what becomes of the election.

use std::net::IpAddr;

use crate::wire::{Advert, Authentication, Envelope, HOP_LIMIT, Interval, OWNER, Reject, Version};

/// What adverts of a virtual router have to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub version: Version,
    pub vrid: u8,
    /// Of the virtual router, in any order.
    pub addresses: Vec<IpAddr>,
    /// Compared in version 2 only; version 3 learns the master's.
    pub interval: Interval,
    pub authentication: Authentication,
    /// Whether adverts must come with a TTL of 255. Peers beyond a router, and keepalived over unicast IPv6, send less.
    pub check_hop_limit: bool,
    /// Senders that are listened to; all when there is no list.
    pub peers: Option<Vec<IpAddr>>,
    /// This host's addresses on the interface.
    pub own_addresses: Vec<IpAddr>,
    /// Whether the priority here is configured to be 255.
    pub owner: bool,
}

impl Filter {
    /// Whether `advert` is to be heeded; then with a doubt, perhaps, which is to be counted and shown all the same.
    ///
    /// # Errors
    /// When it is to be discarded.
    pub fn admit(&self, advert: &Advert, envelope: &Envelope) -> Result<Option<Reject>, Reject> {
        let source = envelope.source;
        if self.check_hop_limit && envelope.hop_limit != HOP_LIMIT {
            return Err(Reject::HopLimit(envelope.hop_limit));
        }
        if advert.vrid != self.vrid {
            return Err(Reject::UnknownVrid(advert.vrid));
        }
        if advert.version != self.version {
            return Err(Reject::Version { got: advert.version, here: self.version });
        }
        if self.own_addresses.contains(&source) {
            return Err(Reject::OwnSource(source));
        }
        if self.peers.as_ref().is_some_and(|peers| !peers.contains(&source)) {
            return Err(Reject::NotAPeer(source));
        }
        self.authenticate(advert.authentication)?;
        if advert.version == Version::V2 && advert.interval != self.interval {
            let [got_s, here_s] =
                [advert.interval, self.interval].map(|interval| interval.centiseconds() / 100);
            return Err(Reject::Interval { got_s, here_s });
        }
        if self.owner && advert.priority == OWNER {
            return Err(Reject::SecondOwner);
        }
        if same_addresses(&advert.addresses, &self.addresses) {
            return Ok(None);
        }
        // RFC 3768 7.1: the owner of the addresses is right about them. Version 3 has no such exception, and leaves open
        // whether such adverts are discarded; keepalived does.
        if advert.version == Version::V2 && advert.priority == OWNER {
            Ok(Some(Reject::AddressList))
        } else {
            Err(Reject::AddressList)
        }
    }

    fn authenticate(&self, got: Authentication) -> Result<(), Reject> {
        match (self.authentication, got) {
            (here, got) if here == got => Ok(()),
            (Authentication::Password(_), Authentication::Password(_)) => Err(Reject::Password),
            _ => Err(Reject::AuthenticationMismatch),
        }
    }
}

/// In any order: nobody says in which one a configuration names them.
fn same_addresses(one: &[IpAddr], other: &[IpAddr]) -> bool {
    let [one, other] = [one, other].map(|list| {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        sorted
    });
    one == other
}

#[cfg(test)]
mod tests;
