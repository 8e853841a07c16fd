use etherparse::{
    ArpOperation, EtherType, Icmpv6Slice, Icmpv6Type, NetSlice, PacketHeaders, SlicedPacket, TransportSlice,
    icmpv6,
};
use proptest::prelude::*;

use super::*;

const MAC: MacAddress = MacAddress([2, 0, 0, 0xaa, 0xbb, 1]);
const OTHER: MacAddress = MacAddress([2, 0, 0, 0xcc, 0xdd, 2]);
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12ab, 0xcdef);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn an_ipv4_address_is_announced_by_a_request_and_a_reply() {
    let frames = announcements(V4.into(), MAC);
    let head = "ffffffffffff 02 00 00 aa bb 01 0806 0001 0800 06 04";
    let sender = "02 00 00 aa bb 01 c000020a";
    assert_eq!(frames[0], bytes(&format!("{head} 0001 {sender} 000000000000 c000020a")));
    assert_eq!(frames[1], bytes(&format!("{head} 0002 {sender} 02 00 00 aa bb 01 c000020a")));
    assert_eq!(frames.len(), 2);
}

#[test]
fn an_arp_probe_names_no_sender_so_that_nobody_learns_from_it() {
    let frame = probe(V4.into(), MAC);
    let Some(NetSlice::Arp(arp)) = SlicedPacket::from_ethernet(&frame).unwrap().net else { panic!("ARP") };
    assert_eq!(arp.operation(), ArpOperation::REQUEST);
    assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&MAC.0[..], &[0; 4][..]));
    assert_eq!((arp.target_hw_addr(), arp.target_protocol_addr()), (&[0; 6][..], &V4.octets()[..]));
    assert_eq!(frame[..6], [0xff; 6]);
}

/// Destination MAC, IPv6 source and destination, and the ICMPv6 message, checked by etherparse.
fn dissect(frame: &[u8]) -> ([u8; 6], Ipv6Addr, Ipv6Addr, Vec<u8>) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let link = PacketHeaders::from_ethernet_slice(frame).unwrap().link.unwrap().ethernet2().unwrap();
    assert_eq!((link.source, link.ether_type), (MAC.0, EtherType::IPV6));
    let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("IPv6") };
    let header = ip.header();
    assert_eq!(header.hop_limit(), 255);
    assert_eq!(usize::from(header.payload_length()), frame.len() - 54);
    let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("ICMPv6") };
    assert!(icmp.is_checksum_valid(header.source(), header.destination()));
    (link.destination, header.source_addr(), header.destination_addr(), icmp.slice().to_vec())
}

#[test]
fn an_ipv6_address_is_announced_by_an_unsolicited_overriding_advertisement() {
    let frames = announcements(V6.into(), MAC);
    assert_eq!(frames.len(), 1);
    let (to, source, destination, message) = dissect(&frames[0]);
    assert_eq!(to, [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!((source, destination), (V6, "ff02::1".parse().unwrap()));
    let Icmpv6Type::NeighborAdvertisement(flags) = Icmpv6Slice::from_slice(&message).unwrap().icmp_type()
    else {
        panic!("an advertisement")
    };
    assert!(flags.r#override && !flags.solicited && !flags.router);
    assert_eq!(message[8..24], V6.octets());
    assert_eq!(message[24..], bytes("02 01 02 00 00 aa bb 01"));
}

#[test]
fn a_solicitation_for_duplicates_comes_from_nowhere_and_names_no_mac_address() {
    let (to, source, destination, message) = dissect(&probe(V6.into(), MAC));
    assert_eq!(to, [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]);
    assert_eq!(source, Ipv6Addr::UNSPECIFIED);
    assert_eq!(destination, "ff02::1:ffab:cdef".parse::<Ipv6Addr>().unwrap());
    assert_eq!((message[0], message.len()), (icmpv6::TYPE_NEIGHBOR_SOLICITATION, 24));
    assert_eq!(message[8..], V6.octets());
}

#[test]
fn the_words_of_an_advertisement_and_its_pseudo_header_add_up_to_ones() {
    let frame = advertisement("2001:db8::1".parse().unwrap(), MacAddress([2, 0, 0, 0, 0, 1]));
    let words = frame[22..].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum = words.sum::<u32>() + 32 + 58;
    assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
}

#[test]
fn own_frames_are_understood() {
    for address in [IpAddr::V4(V4), IpAddr::V6(V6)] {
        for frame in announcements(address, OTHER) {
            assert_eq!(hear(&frame), Some(Heard { address, mac: OTHER, what: Says::Holds }));
        }
        let asked = Heard { address, mac: OTHER, what: Says::Asks };
        assert_eq!(hear(&probe(address, OTHER)), Some(asked));
    }
}

#[test]
fn neighbour_discovery_from_another_link_is_not_believed() {
    let good = advertisement(V6, OTHER);
    let hop_limit = ETHERNET_LEN + 7;
    let code = ETHERNET_LEN + IPV6_LEN + 1;
    let checksum = ETHERNET_LEN + IPV6_LEN + 2;
    for offset in [hop_limit, code, checksum] {
        let mut frame = good.clone();
        frame[offset] ^= 1;
        assert_eq!(hear(&frame), None, "byte {offset}");
    }
}

#[test]
fn an_ordinary_solicitation_claims_nothing() {
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(V6.octets());
    let from = "2001:db8::7".parse().unwrap();
    let frame = icmpv6(OTHER, solicited_node_mac(V6), (from, solicited_node(V6)), message);
    assert_eq!(hear(&frame), None);
}

#[test]
fn an_option_of_no_length_ends_the_search() {
    assert_eq!(option(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1], OPTION_TARGET_MAC), None);
    let second = [1, 1, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1];
    assert_eq!(option(&second, OPTION_TARGET_MAC), Some(MacAddress([2, 0, 0, 0, 0, 1])));
}

proptest! {
    #[test]
    fn no_frame_breaks_the_decoder(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        hear(&frame);
    }

    #[test]
    fn no_damaged_frame_breaks_the_decoder(
        v6: bool, at in 0usize..86, byte: u8, len in 0usize..87,
    ) {
        let address = if v6 { IpAddr::V6(V6) } else { IpAddr::V4(V4) };
        let mut frame = announcements(address, OTHER).remove(0);
        let at = at % frame.len();
        frame[at] = byte;
        frame.truncate(len);
        if let Some(heard) = hear(&frame) {
            prop_assert_eq!(heard.address.is_ipv6(), v6);
        }
    }

    #[test]
    fn every_address_is_heard_as_it_was_announced(v4: [u8; 4], v6: [u8; 16], mac: [u8; 6]) {
        prop_assume!(v4 != [0; 4]);
        for address in [IpAddr::from(v4), IpAddr::from(v6)] {
            for frame in announcements(address, MacAddress(mac)) {
                let said = Heard { address, mac: MacAddress(mac), what: Says::Holds };
                prop_assert_eq!(hear(&frame), Some(said));
            }
        }
    }
}
