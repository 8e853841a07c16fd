use std::net::IpAddr;

use lb_vrrp::announce::Schedule;
use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::{Authentication, Interval, Ipv4Sum, Version};

use super::{Address, Router};
use crate::state::Announce;

/// With priority 100 and this address.
pub(super) fn router(interface: &str, address: &str) -> Router {
    let address: IpAddr = address.parse().unwrap();
    let prefix_len = if address.is_ipv4() { 32 } else { 128 };
    Router {
        interface: interface.to_owned(),
        vrid: 51,
        version: Version::V3,
        priority: 100,
        interval: Interval::DEFAULT,
        addresses: vec![Address { address, prefix_len, announce: Announce::Arp, is_vip: true, on: None }],
        more_addresses: Vec::new(),
        preempt: Preempt::Now,
        authentication: Authentication::None,
        peers: Vec::new(),
        source: None,
        check_hop_limit: true,
        sum: Ipv4Sum::Pseudo,
        virtual_mac: false,
        fencing: true,
        accept: true,
        announce: Schedule::default(),
        track: Vec::new(),
    }
}
