//! The frames that claim an address, byte by byte, and what other hosts' frames say of it. Pure.
//!
//! ```text
//! announce   ARP request  sender = target = vip   to all       RFC 5227 2.3
//!            ARP reply    sender = target = vip   to all       for hosts that learn from replies only
//!            NA           target = vip, override  to ff02::1   RFC 4861 7.2.6
//! ask        ARP request  sender = 0.0.0.0        to all       RFC 5227 2.1.1
//!            NS           source = ::             to the solicited-node group   RFC 4862 5.4.2
//! ```
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::checksum;

use crate::state::MacAddress;

const BROADCAST: MacAddress = MacAddress([0xff; 6]);
const NO_MAC: MacAddress = MacAddress([0; 6]);

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Hardware type Ethernet, protocol type IPv4, and the lengths of both addresses (RFC 826).
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;

const ETHERNET_LEN: usize = 14;
const IPV6_LEN: usize = 40;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Neighbour discovery is for one link only (RFC 4861 7.1).
const HOP_LIMIT: u8 = 255;
/// The flag of an advertisement that replaces what neighbours know.
const OVERRIDE: u8 = 0x20;
const OPTION_TARGET_MAC: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What tells the link that `address` is at `mac`.
pub(super) fn announcements(address: IpAddr, mac: MacAddress) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(vip) => {
            vec![
                arp(ARP_REQUEST, mac, (mac, vip), (NO_MAC, vip)),
                arp(ARP_REPLY, mac, (mac, vip), (mac, vip)),
            ]
        }
        IpAddr::V6(vip) => vec![advertisement(vip, mac)],
    }
}

/// The question whether somebody else has `address`. It changes no neighbour's table.
pub(super) fn probe(address: IpAddr, mac: MacAddress) -> Vec<u8> {
    match address {
        IpAddr::V4(vip) => arp(ARP_REQUEST, mac, (mac, Ipv4Addr::UNSPECIFIED), (NO_MAC, vip)),
        IpAddr::V6(vip) => solicitation(vip, mac),
    }
}

/// The Ethernet group on which solicitations for `address` arrive (RFC 4291 2.7.1, RFC 2464 7).
pub(super) fn solicited_node_mac(address: Ipv6Addr) -> MacAddress {
    let [.., a, b, c] = address.octets();
    MacAddress([0x33, 0x33, 0xff, a, b, c])
}

/// The group that solicitations for `address` are sent to (RFC 4291 2.7.1).
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// What a frame says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) address: IpAddr,
    pub(super) mac: MacAddress,
    pub(super) what: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// The sender has the address.
    Holds,
    /// The sender wants to have it and asks, too.
    Asks,
}

/// What `frame` says, if it is about anybody's address.
pub(super) fn hear(frame: &[u8]) -> Option<Heard> {
    let (header, payload) = frame.split_at_checked(ETHERNET_LEN)?;
    let source = mac_at(header, 6)?;
    match *header.last_chunk::<2>()? {
        ETHERTYPE_ARP => hear_arp(payload),
        ETHERTYPE_IPV6 => hear_ipv6(payload, source),
        _ => None,
    }
}

fn hear_arp(packet: &[u8]) -> Option<Heard> {
    let operation = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?);
    if !packet.starts_with(&ARP_ETHERNET_IPV4) || !matches!(operation, ARP_REQUEST | ARP_REPLY) {
        return None;
    }
    let mac = mac_at(packet, 8)?;
    let sender = Ipv4Addr::from(*packet.get(14..)?.first_chunk::<4>()?);
    let target = Ipv4Addr::from(*packet.get(24..)?.first_chunk::<4>()?);
    match (sender.is_unspecified(), operation) {
        (false, _) => Some(Heard { address: sender.into(), mac, what: Says::Holds }),
        (true, ARP_REQUEST) => Some(Heard { address: target.into(), mac, what: Says::Asks }),
        (true, _) => None,
    }
}

/// Neighbour discovery that passes the checks of RFC 4861 7.1. With extension headers it is nobody's.
fn hear_ipv6(packet: &[u8], source_mac: MacAddress) -> Option<Heard> {
    let (header, rest) = packet.split_at_checked(IPV6_LEN)?;
    let message_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = rest.get(..message_len)?;
    let target = Ipv6Addr::from(*message.get(8..)?.first_chunk::<16>()?);
    let genuine = header[6] == ICMPV6
        && header[7] == HOP_LIMIT
        && message[1] == 0
        && icmpv6_checksum(&header[8..40], message) == 0;
    let from_nobody = header[8..24].iter().all(|byte| *byte == 0);
    match message[0] {
        ADVERTISEMENT if genuine => {
            let mac = option(&message[24..], OPTION_TARGET_MAC).unwrap_or(source_mac);
            Some(Heard { address: target.into(), mac, what: Says::Holds })
        }
        SOLICITATION if genuine && from_nobody => {
            Some(Heard { address: target.into(), mac: source_mac, what: Says::Asks })
        }
        _ => None,
    }
}

/// The link-layer address in the option of this type (RFC 4861 4.6); options are counted in units of eight bytes.
fn option(mut options: &[u8], wanted: u8) -> Option<MacAddress> {
    loop {
        let [kind, units, ..] = *options else { return None };
        if units == 0 {
            return None;
        }
        if kind == wanted {
            return mac_at(options, 2);
        }
        options = options.get(usize::from(units) * 8..)?;
    }
}

fn arp(
    operation: u16,
    source: MacAddress,
    sender: (MacAddress, Ipv4Addr),
    target: (MacAddress, Ipv4Addr),
) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, source, ETHERTYPE_ARP);
    frame.extend(ARP_ETHERNET_IPV4);
    frame.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac.0);
        frame.extend(address.octets());
    }
    frame
}

fn advertisement(vip: Ipv6Addr, mac: MacAddress) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(vip.octets());
    message.extend([OPTION_TARGET_MAC, 1]);
    message.extend(mac.0);
    icmpv6(mac, MacAddress([0x33, 0x33, 0, 0, 0, 1]), (vip, ALL_NODES), message)
}

/// Without the source's MAC address: it has none to be answered to (RFC 4861 4.3).
fn solicitation(vip: Ipv6Addr, mac: MacAddress) -> Vec<u8> {
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(vip.octets());
    icmpv6(mac, solicited_node_mac(vip), (Ipv6Addr::UNSPECIFIED, solicited_node(vip)), message)
}

fn icmpv6(
    source: MacAddress,
    destination: MacAddress,
    (from, to): (Ipv6Addr, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let addresses = [from.octets(), to.octets()].concat();
    let checksum = icmpv6_checksum(&addresses, &message);
    message[2..4].copy_from_slice(&checksum.to_ne_bytes());
    let mut frame = ethernet(destination, source, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(addresses);
    frame.extend(message);
    frame
}

/// The checksum in memory order over the pseudo header of RFC 8200 8.1, 0 when the message's own is right.
fn icmpv6_checksum(addresses: &[u8], message: &[u8]) -> u16 {
    let len = (message.len() as u32).to_be_bytes();
    let sum = checksum::sum(addresses)
        + checksum::sum(&len)
        + checksum::sum(&[0, 0, 0, ICMPV6])
        + checksum::sum(message);
    !checksum::fold(sum)
}

fn ethernet(destination: MacAddress, source: MacAddress, ethertype: [u8; 2]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_LEN + IPV6_LEN + 32);
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(ethertype);
    frame
}

fn mac_at(bytes: &[u8], offset: usize) -> Option<MacAddress> {
    bytes.get(offset..)?.first_chunk().copied().map(MacAddress)
}

#[cfg(test)]
mod tests;
