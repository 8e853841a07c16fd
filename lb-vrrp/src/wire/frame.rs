//! What is around an advert on the link: for sockets that give or take whole IPv4 packets and whole frames.
//!
//! A socket of IPv4 gives the header with the payload. Whole frames are needed where adverts come from the virtual MAC
//! address, which is not the interface's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::checksum;

use super::{Envelope, PROTOCOL, Reject};

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const IPV4_LEN: usize = 20;
/// Internetwork control, as keepalived and FRR send.
const TRAFFIC_CLASS: u8 = 0xc0;

/// The addresses of a frame with an advert in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub source_mac: [u8; 6],
    /// For a group it follows from the address; for a unicast peer it is the next hop's.
    pub destination_mac: [u8; 6],
    pub envelope: Envelope,
    /// Only in IPv4 headers.
    pub identification: u16,
}

/// The MAC address of a virtual router (RFC 9568 7.3).
#[must_use]
pub const fn virtual_mac(vrid: u8, ipv6: bool) -> [u8; 6] {
    [0, 0, 0x5e, 0, if ipv6 { 2 } else { 1 }, vrid]
}

/// The MAC address that a multicast group is sent to (RFC 1112 6.4, RFC 2464 7).
#[must_use]
pub fn group_mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

impl Frame {
    /// The frame that carries `message`; nothing when source and destination are of different families.
    #[must_use]
    pub fn around(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut frame = [self.destination_mac, self.source_mac].concat();
        let hop_limit = self.envelope.hop_limit;
        match (self.envelope.source, self.envelope.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ETHERTYPE_IPV4);
                frame.extend(self.ipv4_header(source, destination, message.len()));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(ETHERTYPE_IPV6);
                frame.extend([0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, 0, 0]);
                frame.extend((message.len() as u16).to_be_bytes());
                frame.extend([PROTOCOL, hop_limit]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => return None,
        }
        frame.extend(message);
        Some(frame)
    }

    fn ipv4_header(&self, source: Ipv4Addr, destination: Ipv4Addr, message_len: usize) -> Vec<u8> {
        let mut header = vec![0x45, TRAFFIC_CLASS];
        header.extend(((IPV4_LEN + message_len) as u16).to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend([0, 0, self.envelope.hop_limit, PROTOCOL, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        let checksum = !checksum::fold(checksum::sum(&header));
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        header
    }
}

/// Header and payload of a whole IPv4 packet, as a raw socket gives it. The kernel has checked the header's sum.
///
/// # Errors
/// When it is cut short, a fragment, or not VRRP.
pub fn ipv4_packet(packet: &[u8]) -> Result<(Envelope, &[u8]), Reject> {
    let header = packet.first_chunk::<IPV4_LEN>().ok_or(Reject::Length)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let offset_and_more = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[0] >> 4 != 4 || header_len < IPV4_LEN || offset_and_more != 0 {
        return Err(Reject::Length);
    }
    if header[9] != PROTOCOL {
        return Err(Reject::Protocol(header[9]));
    }
    let payload = packet.get(header_len..total_len).ok_or(Reject::Length)?;
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let envelope = Envelope {
        source: Ipv4Addr::new(s0, s1, s2, s3).into(),
        destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
        hop_limit: header[8],
    };
    Ok((envelope, payload))
}

/// As [`ipv4_packet`], for a whole IPv6 packet; without extension headers, which no advert has.
///
/// # Errors
/// When it is cut short or not VRRP.
pub fn ipv6_packet(packet: &[u8]) -> Result<(Envelope, &[u8]), Reject> {
    let (header, rest) = packet.split_first_chunk::<40>().ok_or(Reject::Length)?;
    if header[0] >> 4 != 6 {
        return Err(Reject::Length);
    }
    if header[6] != PROTOCOL {
        return Err(Reject::Protocol(header[6]));
    }
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let payload = rest.get(..payload_len).ok_or(Reject::Length)?;
    let address =
        |at: usize| header[at..].first_chunk::<16>().copied().map(|octets| Ipv6Addr::from(octets).into());
    let (source, destination) = address(8).zip(address(24)).ok_or(Reject::Length)?;
    Ok((Envelope { source, destination, hop_limit: header[7] }, payload))
}
