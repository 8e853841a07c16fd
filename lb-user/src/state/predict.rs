//! Where a flow goes, computed from [`Forwarding`] alone with the hash that the kernel side uses.
//!
//! ```text
//! flow -> vip (exact port, then all ports) -> access lists -> route -> hash -> slot -> backend
//! ```

use std::net::{IpAddr, SocketAddr};

use lb_common::{hash, headers};

use super::{AccessRules, Affinity, ForwardDest, ForwardVip, Forwarding, Prefix, Protocol, VipKey, route_of};

/// A flow's vip, route, slot and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction<'a> {
    pub vip: VipKey,
    /// The access list that denies the source: then there is no more.
    pub denied: Option<Denied>,
    /// The number of the vip's route that takes the source, from 1, and the prefix by which it does.
    pub route: Option<(u8, Prefix)>,
    /// `None` when no slot of the ring has an owner: then every packet is dropped.
    pub slot: Option<u32>,
    pub backend: Option<(&'a str, &'a ForwardDest)>,
}

/// Which list denies a source, and by which prefix; `None`: the list allows others only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    ByGlobal(Option<Prefix>),
    ByVip(Option<Prefix>),
}

/// Where a flow goes; `None` when it is for no vip.
#[must_use]
pub fn predict(
    forwarding: &Forwarding,
    source: SocketAddr,
    destination: SocketAddr,
    protocol: Protocol,
) -> Option<Prediction<'_>> {
    let (key, vip) = find_vip(forwarding, destination, protocol)?;
    let denied = denied(forwarding, vip, source.ip());
    if denied.is_some() {
        return Some(Prediction { vip: key, denied, route: None, slot: None, backend: None });
    }
    let route = route_of(&vip.routes, source.ip()).map(|(position, prefix)| (position as u8 + 1, prefix));
    let vip = route.and_then(|(number, _)| forwarding.routes.get(&(key, number))).map_or(vip, AsRef::as_ref);
    let slot = hash::ring_slot(flow_hash(vip, source, destination, forwarding.hash_seed), vip.ring_size);
    let backend = vip.owner(slot);
    Some(Prediction { vip: key, denied, route, slot: backend.is_some().then_some(slot), backend })
}

fn denied(forwarding: &Forwarding, vip: &ForwardVip, source: IpAddr) -> Option<Denied> {
    let by = |rules: &AccessRules, denied: fn(Option<Prefix>) -> Denied| {
        let decision = rules.decide(source);
        (!decision.allows).then_some(denied(decision.by))
    };
    by(&forwarding.access, Denied::ByGlobal).or_else(|| by(&vip.options.access, Denied::ByVip))
}

fn find_vip(
    forwarding: &Forwarding,
    destination: SocketAddr,
    protocol: Protocol,
) -> Option<(VipKey, &ForwardVip)> {
    [destination.port(), 0].into_iter().find_map(|port| {
        let key = VipKey { address: destination.ip(), port, protocol };
        forwarding.vips.get(&key).map(|vip| (key, vip.as_ref()))
    })
}

fn flow_hash(vip: &ForwardVip, source: SocketAddr, destination: SocketAddr, seed: u64) -> u32 {
    let ports = match vip.affinity {
        Affinity::FiveTuple => {
            hash::ports_word(source.port().to_be_bytes(), destination.port().to_be_bytes())
        }
        Affinity::Source => 0,
        Affinity::SourceAndPort => hash::ports_word([0, 0], destination.port().to_be_bytes()),
    };
    match source.ip() {
        IpAddr::V4(v4) => hash::flow_hash_v4(u32::from_le_bytes(v4.octets()), ports, seed),
        IpAddr::V6(v6) => hash::flow_hash_v6(headers::words_v6(v6.octets()), ports, seed),
    }
}

#[cfg(test)]
mod tests;
