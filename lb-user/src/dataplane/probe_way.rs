//! Where checks through a tunnel go: the headers that the balancer gives clients' packets, under a probe address.

use std::net::IpAddr;

use lb_common::abi::ProbeWay;

use super::dest_entry::{DestSpec, dest_entry};
use crate::state::{Mode, NextHop, Tunnel, identity};

/// The way to one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The address that packets are for, once they are there.
    pub vip: IpAddr,
    pub backend: IpAddr,
    pub mode: Mode,
    pub hop: NextHop,
}

/// The entry of a probe address, which is of the vip's family.
#[must_use]
pub fn probe_way(probe: IpAddr, spec: &ProbeSpec, tunnel: &Tunnel) -> ProbeWay {
    let dest = dest_entry(&DestSpec {
        vip_number: 0,
        vip_is_v6: spec.vip.is_ipv6(),
        backend: spec.backend,
        mode: spec.mode,
        hop: &spec.hop,
        device: 0,
        tunnel,
        server_id: None,
        owner: 0,
    });
    ProbeWay { probe: identity(probe), vip: identity(spec.vip), dest }
}
