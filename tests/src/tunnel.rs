//! What came out of the balancer, taken apart by etherparse.

use etherparse::{LaxNetSlice, LaxSlicedPacket, LinkSlice, NetSlice, SlicedPacket};

use crate::world::{BALANCER, NEXT_HOP};

/// The inner packet of a client's frame as it must come out: one hop spent, everything else as it was.
///
/// # Panics
/// When etherparse sees no IP packet.
#[must_use]
pub fn inner(frame: &[u8]) -> Vec<u8> {
    let sliced = LaxSlicedPacket::from_ethernet(frame).expect("a packet");
    let offset = 14 + sliced.link_exts.len() * 4;
    let mut bytes = frame[offset..].to_vec();
    match sliced.net.expect("IP") {
        LaxNetSlice::Ipv4(ip) => {
            let mut header = ip.header().to_header();
            header.time_to_live -= 1;
            header.header_checksum = header.calc_header_checksum();
            let mut rewritten = Vec::new();
            header.write_raw(&mut rewritten).expect("a vector takes everything");
            bytes[..rewritten.len()].copy_from_slice(&rewritten);
        }
        LaxNetSlice::Ipv6(_) => bytes[7] -= 1,
        LaxNetSlice::Arp(_) => panic!("no IP"),
    }
    bytes
}

/// An outer header, and what is inside.
#[derive(Clone, Debug)]
pub struct Outer {
    pub source: Vec<u8>,
    pub destination: Vec<u8>,
    /// IPv4's.
    pub identification: u16,
    pub ttl: u8,
    pub tos: u8,
    pub protocol: u8,
    pub label: u32,
    pub payload: Vec<u8>,
}

/// Takes a forwarded frame apart; etherparse checks lengths, we check the checksum against its own.
///
/// # Panics
/// When it is not as the world of the tests sends it.
#[must_use]
pub fn outer(frame: &[u8]) -> Outer {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a packet");
    let LinkSlice::Ethernet2(ethernet) = sliced.link.expect("Ethernet") else { panic!("no Ethernet") };
    assert_eq!((ethernet.destination(), ethernet.source()), (NEXT_HOP.0, BALANCER.0));
    let offset = 14 + sliced.link_exts.len() * 4;
    match sliced.net.expect("IP") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "outer checksum");
            Outer {
                source: header.source.to_vec(),
                destination: header.destination.to_vec(),
                identification: header.identification,
                ttl: header.time_to_live,
                tos: header.dscp.value() << 2 | header.ecn.value(),
                protocol: header.protocol.0,
                label: 0,
                payload: frame[offset + 20..offset + usize::from(header.total_len)].to_vec(),
            }
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            Outer {
                source: header.source.to_vec(),
                destination: header.destination.to_vec(),
                identification: 0,
                ttl: header.hop_limit,
                tos: header.traffic_class,
                protocol: header.next_header.0,
                label: header.flow_label.value(),
                payload: frame[offset + 40..offset + 40 + usize::from(header.payload_length)].to_vec(),
            }
        }
        NetSlice::Arp(_) => panic!("no IP"),
    }
}
