//! Addresses in the tables: the entry beside a vip's own, and what limits the program's answers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::{Answering, Target};

use super::Places;
use super::keys::wire_port;
use crate::state::{Announce, Answers, DesiredAddress, Oversize, Protocol, Tunnel, UnknownPorts, VipKey};

const NANOS: u64 = 1_000_000_000;

/// The ports of an address's vips, TCP and UDP.
pub(super) type Ports = [Vec<u16>; 2];

/// The ports of all addresses' vips.
pub(super) fn ports<'k>(vips: impl Iterator<Item = &'k VipKey>) -> BTreeMap<IpAddr, Ports> {
    let mut ports = BTreeMap::<IpAddr, Ports>::new();
    for key in vips {
        let [tcp, udp] = ports.entry(key.address).or_default();
        let of_protocol = if key.protocol == Protocol::Tcp { tcp } else { udp };
        of_protocol.push(key.port);
    }
    ports
}

/// The entry of an address whose vips have these ports.
pub(super) fn target(address: &DesiredAddress, [tcp, udp]: &Ports, places: &Places) -> Target {
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    let flags = flag(address.announce == Announce::Arp, Target::ANSWER_NEIGHBOURS)
        | flag(address.ping, Target::ANSWER_ECHO)
        | match address.unknown_ports {
            UnknownPorts::Pass => 0,
            UnknownPorts::Drop => Target::UNKNOWN_DROP,
            UnknownPorts::Reject => Target::UNKNOWN_REJECT,
        };
    let (tcp, tcp_port) = served(tcp, Target::TCP_VIPS, Target::ONE_TCP_VIP);
    let (udp, udp_port) = served(udp, Target::UDP_VIPS, Target::ONE_UDP_VIP);
    let ports_mask = u32::from(tcp_port) | u32::from(udp_port) << 16;
    let target = Target { flags: flags | tcp | udp, ports_mask, ..Target::default() };
    target.confined_to(places.of_address(address))
}

/// The flags that say how many vips there are, and the port of the only one.
fn served(ports: &[u16], some: u32, one: u32) -> (u32, u16) {
    match ports {
        [] => (0, 0),
        [port] => (some | one, wire_port(*port)),
        _ => (some, 0),
    }
}

pub(super) fn answering(answers: &Answers, tunnel: &Tunnel) -> Answering {
    let interval = |per_second: u32| NANOS.checked_div(u64::from(per_second)).unwrap_or(0);
    Answering {
        reply_interval_ns: interval(answers.replies_per_second),
        fragment_interval_ns: interval(answers.fragments_per_second),
        fragment_timeout_ns: u64::try_from(answers.fragment_timeout.as_nanos()).unwrap_or(u64::MAX),
        oversize_to_kernel: u64::from(tunnel.oversize == Oversize::Kernel),
    }
}
