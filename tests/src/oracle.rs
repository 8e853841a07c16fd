//! Whether a frame is sound, by a judge that is not ours: etherparse takes it apart, every layer down, and its checksums
//! must be those in the frame.

use etherparse::checksum::Sum16BitWords;
use etherparse::{Ipv4HeaderSlice, NetSlice, SlicedPacket, TransportSlice};

const IPV4: u8 = 4;
const IPV6: u8 = 41;
const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const GUE_PORT: u16 = 6080;

/// Checks a frame, and the packets inside its tunnel headers and ICMP errors.
///
/// # Errors
/// What is wrong, with the right value where there is one.
pub fn check(frame: &[u8]) -> Result<(), String> {
    packet(&SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?)
}

fn packet(sliced: &SlicedPacket<'_>) -> Result<(), String> {
    let (pseudo, payload) = match sliced.net.as_ref() {
        None => return Err("neither IP nor ARP".to_owned()),
        Some(NetSlice::Arp(_)) => return Ok(()),
        Some(NetSlice::Ipv4(ip)) => {
            header_v4(&ip.header())?;
            let addresses = [ip.header().source(), ip.header().destination()].concat();
            (addresses, ip.payload())
        }
        Some(NetSlice::Ipv6(ip)) => {
            let addresses = [ip.header().source(), ip.header().destination()].concat();
            (addresses, ip.payload())
        }
    };
    if payload.fragmented {
        return Ok(());
    }
    match sliced.transport.as_ref() {
        Some(TransportSlice::Tcp(tcp)) => sum("TCP", &pseudo, TCP, tcp.slice(), 16),
        Some(TransportSlice::Udp(udp)) => {
            // No checksum at all is right over IPv4 (RFC 768), and over IPv6 for tunnels (RFC 8200 8.1, RFC 6935).
            let is_gue = udp.destination_port() == GUE_PORT;
            if udp.checksum() != 0 || pseudo.len() > 8 && !is_gue {
                sum("UDP", &pseudo, UDP, udp.slice(), 6)?;
            }
            if is_gue { gue(udp.payload()) } else { Ok(()) }
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            sum("ICMP", &[], 0, icmp.slice(), 2)?;
            // Destination unreachable, redirect, time exceeded, parameter problem: the packet that it is about follows.
            match icmp.type_u8() {
                3 | 5 | 11 | 12 => about(icmp.payload()),
                _ => Ok(()),
            }
        }
        Some(TransportSlice::Icmpv6(icmp)) => sum("ICMPv6", &pseudo, ICMPV6, icmp.slice(), 2),
        Some(TransportSlice::Igmp(_)) => Ok(()),
        None => inner(payload.ip_number.0, payload.payload),
    }
}

/// What a tunnel header carries; other protocols are taken as they are.
fn inner(protocol: u8, bytes: &[u8]) -> Result<(), String> {
    if protocol != IPV4 && protocol != IPV6 {
        return Ok(());
    }
    let sliced = SlicedPacket::from_ip(bytes).map_err(|error| format!("inner packet: {error}"))?;
    packet(&sliced).map_err(|error| format!("inner packet: {error}"))
}

/// Variant 0 has a header, variant 1 is the packet itself (draft-ietf-intarea-gue, sections 3 and 4).
fn gue(payload: &[u8]) -> Result<(), String> {
    let [first, protocol, ..] = payload else { return Err("GUE header cut off".to_owned()) };
    match (first >> 6, first >> 4) {
        (0, _) => {
            let len = 4 + usize::from(first & 0x1f) * 4;
            inner(*protocol, payload.get(len..).ok_or("GUE header cut off")?)
        }
        (_, 4) => inner(IPV4, payload),
        (_, 6) => inner(IPV6, payload),
        _ => Err(format!("unknown GUE variant, first byte {first:#04x}")),
    }
}

/// The head of a packet that an error is about.
fn about(bytes: &[u8]) -> Result<(), String> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| format!("packet in ICMP: {error}"))?;
    header_v4(&header).map_err(|error| format!("packet in ICMP: {error}"))
}

fn header_v4(header: &Ipv4HeaderSlice<'_>) -> Result<(), String> {
    let (there, right) = (header.header_checksum(), header.to_header().calc_header_checksum());
    if there == right { Ok(()) } else { Err(format!("IPv4 checksum is {there:04x}, right is {right:04x}")) }
}

/// A checksum over the pseudo header's `addresses` (none: no pseudo header) and `bytes`, which holds it at `at`.
fn sum(what: &str, addresses: &[u8], protocol: u8, bytes: &[u8], at: usize) -> Result<(), String> {
    let mut zeroed = bytes.to_vec();
    zeroed[at..at + 2].fill(0);
    let mut sum = Sum16BitWords::new().add_slice(addresses).add_slice(&zeroed);
    if !addresses.is_empty() {
        sum = sum.add_2bytes([0, protocol]).add_2bytes((bytes.len() as u16).to_be_bytes());
    }
    let right = if protocol == UDP { sum.to_ones_complement_with_no_zero() } else { sum.ones_complement() };
    // etherparse sums words as they lie in memory.
    let right = right.to_ne_bytes();
    if bytes[at..at + 2] == right {
        Ok(())
    } else {
        Err(format!("{what} checksum is {:02x?}, right is {right:02x?}", &bytes[at..at + 2]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::{Kind, Packet};

    fn frame(kind: Kind) -> Vec<u8> {
        Packet::new(kind, "203.0.113.9:40000", "198.51.100.1:80").frame()
    }

    #[test]
    fn what_etherparse_has_built_is_sound() {
        for kind in [Kind::Syn, Kind::Udp] {
            check(&frame(kind)).unwrap();
            check(&Packet::new(kind, "[2001:db8:9::9]:40000", "[2001:db8::1]:80").frame()).unwrap();
        }
    }

    #[test]
    fn one_wrong_bit_is_seen_wherever_it_is() {
        for kind in [Kind::Syn, Kind::Udp] {
            let sound = frame(kind);
            for at in 14..sound.len() {
                let mut frame = sound.clone();
                frame[at] ^= 1;
                assert!(check(&frame).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn the_packet_in_a_tunnel_is_looked_at_too() {
        let mut packet = frame(Kind::Udp)[14..].to_vec();
        let outer = |packet: &[u8]| {
            let mut frame = Vec::new();
            let step =
                etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            step.write(&mut frame, etherparse::IpNumber::IPV4, packet).unwrap();
            frame
        };
        let gue = |packet: &[u8]| {
            let mut frame = Vec::new();
            let step =
                etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            step.udp(50_000, GUE_PORT).write(&mut frame, packet).unwrap();
            frame
        };
        let with_header = |packet: &[u8]| gue(&[&[0, IPV4, 0, 0], packet].concat());
        for wrap in [&outer as &dyn Fn(&[u8]) -> Vec<u8>, &gue, &with_header] {
            check(&wrap(&packet)).unwrap();
        }
        packet[10] ^= 1;
        for wrap in [&outer as &dyn Fn(&[u8]) -> Vec<u8>, &gue, &with_header] {
            assert!(check(&wrap(&packet)).is_err());
        }
    }
}
