//! ICMP, neighbour discovery and ARP as clients, routers and neighbours send them. Headers and sums are etherparse's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{IpNumber, Ipv4Header, Ipv6Header};

use crate::packets::CLIENT_SIDE;

/// An IPv4 packet.
///
/// # Panics
/// When it cannot be so long, or the options are no multiple of four bytes.
#[must_use]
pub fn ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let len = (options.len() + payload.len()) as u16;
    let mut header = Ipv4Header::new(len, 61, IpNumber(protocol), source.octets(), destination.octets())
        .expect("a header");
    header.identification = 0x1234;
    header.options = options.try_into().expect("options");
    header.total_len = header.header_len() as u16 + payload.len() as u16;
    header.header_checksum = header.calc_header_checksum();
    let mut packet = Vec::new();
    header.write(&mut packet).expect("a vector takes everything");
    packet.extend(payload);
    packet
}

/// An IPv6 packet; `protocol` is the next header.
#[must_use]
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: IpNumber(protocol),
        hop_limit,
        source: source.octets(),
        destination: destination.octets(),
        ..Ipv6Header::default()
    };
    [&header.to_bytes()[..], payload].concat()
}

/// An ICMP message.
#[must_use]
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let message = [&[kind, code, 0, 0], &rest[..], body].concat();
    let sum = Sum16BitWords::new().add_slice(&message);
    sealed(message, sum)
}

/// An ICMPv6 message between these addresses.
#[must_use]
pub fn icmpv6(
    (source, destination): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let message = [&[kind, code, 0, 0], &rest[..], body].concat();
    let sum = Sum16BitWords::new()
        .add_16bytes(source.octets())
        .add_16bytes(destination.octets())
        .add_4bytes((message.len() as u32).to_be_bytes())
        .add_4bytes([0, 0, 0, 58])
        .add_slice(&message);
    sealed(message, sum)
}

fn sealed(mut message: Vec<u8>, sum: Sum16BitWords) -> Vec<u8> {
    message[2..4].copy_from_slice(&sum.ones_complement().to_ne_bytes());
    message
}

/// An IP packet's frame with VLAN tags.
#[must_use]
pub fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let ether_type: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    frame(tags, ether_type, packet)
}

fn frame(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let [source, destination] = CLIENT_SIDE;
    let mut frame = [destination, source].concat();
    for tag in tags {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame with an echo request.
///
/// # Panics
/// When the addresses are of different families.
#[must_use]
pub fn echo_request(source: IpAddr, destination: IpAddr, id_and_sequence: [u8; 4], data: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet(&[], &ipv4(source, destination, 1, &[], &icmp(8, 0, id_and_sequence, data)))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let message = icmpv6((source, destination), 128, 0, id_and_sequence, data);
            ethernet(&[], &ipv6(source, destination, 58, 61, &message))
        }
        _ => panic!("{source} and {destination} are of different families"),
    }
}

/// An ARP request, as broadcast.
#[must_use]
pub fn arp_request(tags: &[u16], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let request =
        [&[0, 1, 8, 0, 6, 4, 0, 1][..], &CLIENT_SIDE[0], &sender.octets(), &[0; 6], &target.octets()]
            .concat();
    let mut frame = frame(tags, 0x0806, &request);
    frame[..6].fill(0xff);
    frame
}

/// A neighbour solicitation with these options, to `destination`. From the unspecified address it is a probe.
#[must_use]
pub fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let body = [&target.octets()[..], options].concat();
    let message = icmpv6((source, destination), 135, 0, [0; 4], &body);
    let mut frame = ethernet(&[], &ipv6(source, destination, 58, 255, &message));
    if destination.is_multicast() {
        let [.., a, b, c, d] = destination.octets();
        frame[..6].copy_from_slice(&[0x33, 0x33, a, b, c, d]);
    }
    frame
}

/// The option with the sender's link-layer address.
#[must_use]
pub fn source_link_layer() -> Vec<u8> {
    [&[1, 1][..], &CLIENT_SIDE[0]].concat()
}

/// The group in which an address is asked for (RFC 4291, section 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}
