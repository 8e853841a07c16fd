//! ARP requests and neighbour solicitations for announced addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_common::abi::Reason;
use lb_user::state::{Announce, DesiredAddress};
use proptest::prelude::*;
use tests::control::{arp_request, icmpv6, ipv6, solicitation, solicited_node, source_link_layer};
use tests::host::HostTables;
use tests::packets::CLIENT_SIDE;
use tests::story::Story;
use tests::world::{BALANCER, CAPACITY, World};

const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const OTHER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const ASKER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
const ASKER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The first vip of each family is announced, the second is not.
fn world() -> World {
    let announced = DesiredAddress { announce: Announce::Arp, ..DesiredAddress::default() };
    World::default()
        .vip("198.51.100.1:80/tcp", &["10.0.0.1"])
        .vip("198.51.100.2:80/tcp", &["10.0.0.1"])
        .vip("[2001:db8::1]:80/tcp", &["10.0.0.1"])
        .vip("[2001:db8::2]:80/tcp", &["10.0.0.1"])
        .address("198.51.100.1", announced.clone())
        .address("198.51.100.2", DesiredAddress::default())
        .address("2001:db8::1", announced)
        .address("2001:db8::2", DesiredAddress::default())
}

#[test]
fn an_arp_request_for_an_announced_address_is_answered() {
    let mut story = Story::new(&world());
    for tags in [vec![], vec![0], vec![5], vec![5, 6]] {
        let request = arp_request(&tags, ASKER4, VIP4);
        let (reason, reply) = story.answered(&request);
        assert_eq!(reason, Reason::ArpReply);
        let at = 14 + tags.len() * 4;
        assert_eq!(reply[..12], [CLIENT_SIDE[0], BALANCER.0].concat());
        assert_eq!(reply[12..at], request[12..at], "tags stay");
        let expected =
            [&[0, 1, 8, 0, 6, 4, 0, 2][..], &BALANCER.0, &VIP4.octets(), &CLIENT_SIDE[0], &ASKER4.octets()];
        assert_eq!(reply[at..], expected.concat());
    }
    let mut padded = arp_request(&[], ASKER4, VIP4);
    padded.resize(60, 0);
    assert_eq!(story.answered(&padded).1.len(), 60);
    let (_, reply) = story.answered(&arp_request(&[], Ipv4Addr::UNSPECIFIED, VIP4));
    assert_eq!(reply[38..42], [0; 4], "a probe is told that the address is taken");
}

/// A frame in VLANs.
fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|tag| [&[0x81, 0][..], &tag.to_be_bytes()].concat());
    [&frame[..12], &tags.collect::<Vec<_>>(), &frame[12..]].concat()
}

#[test]
fn an_address_that_is_confined_to_interfaces_is_answered_there_alone() {
    const TAGS: [&[u16]; 6] = [&[], &[0], &[5], &[0x2005], &[5, 6], &[6]];
    let cases: [(&[&str], &[&[u16]]); 5] = [
        (&["test0"], &[&[], &[0]]),
        // Priority bits are not part of a VLAN's id.
        (&["test0.5"], &[&[5], &[0x2005]]),
        (&["test0.5.6"], &[&[5, 6]]),
        (&["eth9"], &[]),
        (&["eth9", "test0.5", "test0"], &[&[], &[0], &[5], &[0x2005]]),
    ];
    for (names, answered) in cases {
        let announce_on = names.iter().map(ToString::to_string).collect();
        let confined = DesiredAddress { announce: Announce::Arp, announce_on, ..DesiredAddress::default() };
        let world = world().address("198.51.100.1", confined.clone()).address("2001:db8::1", confined);
        let mut story = Story::new(&world);
        let request = arp_request(&[], ASKER4, VIP4);
        let solicitation = solicitation(ASKER6, solicited_node(VIP6), VIP6, &source_link_layer());
        for tags in TAGS {
            let (request, solicitation) = (tagged(&request, tags), tagged(&solicitation, tags));
            if answered.contains(&tags) {
                assert_eq!(story.answered(&request).0, Reason::ArpReply, "{names:?} {tags:?}");
                assert_eq!(story.answered(&solicitation).0, Reason::NeighbourReply, "{names:?} {tags:?}");
            } else {
                assert_eq!(story.passed(&request), Reason::Arp, "{names:?} {tags:?}");
                assert_eq!(story.passed(&solicitation), Reason::Icmp, "{names:?} {tags:?}");
            }
        }
    }
}

#[test]
fn all_other_arp_is_the_kernels() {
    let mut story = Story::new(&world());
    let frame = arp_request(&[], ASKER4, VIP4);
    assert_eq!(story.passed(&arp_request(&[], ASKER4, OTHER4)), Reason::Arp, "not announced");
    assert_eq!(story.passed(&arp_request(&[], ASKER4, Ipv4Addr::new(192, 0, 2, 1))), Reason::Arp, "no vip");
    assert_eq!(story.passed(&arp_request(&[], VIP4, VIP4)), Reason::Arp, "somebody announces the address");
    for sender in ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        let sender = sender.parse().expect("an address");
        assert_eq!(story.passed(&arp_request(&[], sender, VIP4)), Reason::Arp, "{sender}");
    }
    // Hardware type, protocol type, both lengths, operation, and a group's or our own MAC address as sender.
    for (at, value) in [(15, 6), (16, 0x86), (18, 8), (19, 16), (21, 2), (21, 3), (22, 1)] {
        let mut frame = frame.clone();
        frame[at] = value;
        assert_eq!(story.passed(&frame), Reason::Arp, "byte {at}");
    }
    let mut own = frame.clone();
    own[22..28].copy_from_slice(&BALANCER.0);
    assert_eq!(story.passed(&own), Reason::Arp, "sent by ourselves");
    assert_eq!(story.passed(&frame[..41]), Reason::Arp, "cut off");
}

/// What an advertisement says: Ethernet destination, IPv6 destination, flags.
fn advertised(reply: &[u8]) -> (Vec<u8>, Vec<u8>, u8) {
    assert_eq!(reply.len(), 14 + 40 + 32);
    assert_eq!(reply[6..12], BALANCER.0);
    assert_eq!((reply[20], reply[21]), (58, 255), "ICMPv6, hop limit 255");
    assert_eq!(reply[22..38], VIP6.octets(), "from the address itself");
    assert_eq!((reply[54], reply[55]), (136, 0));
    assert_eq!(reply[59..62], [0; 3]);
    assert_eq!(reply[62..78], VIP6.octets());
    assert_eq!(reply[78..], [&[2, 1][..], &BALANCER.0].concat());
    (reply[..6].to_vec(), reply[38..54].to_vec(), reply[58])
}

#[test]
fn a_solicitation_is_answered_to_its_sender() {
    let mut story = Story::new(&world());
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let own = source_link_layer();
    for options in [vec![], own.clone(), nonce.to_vec(), [&own[..], &nonce].concat(), own.repeat(8)] {
        for destination in [VIP6, solicited_node(VIP6)] {
            let (reason, reply) = story.answered(&solicitation(ASKER6, destination, VIP6, &options));
            assert_eq!(reason, Reason::NeighbourReply);
            let expected = (CLIENT_SIDE[0].to_vec(), ASKER6.octets().to_vec(), 0x60);
            assert_eq!(advertised(&reply), expected, "solicited, override");
        }
    }
    let mut tagged = solicitation(ASKER6, solicited_node(VIP6), VIP6, &[]);
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    let (_, mut reply) = story.answered(&tagged);
    assert_eq!(reply[12..16], [0x81, 0, 0, 5]);
    reply.drain(12..16);
    let _ = advertised(&reply);
    let mut padded = solicitation(ASKER6, solicited_node(VIP6), VIP6, &[]);
    padded.resize(100, 0);
    let _ = advertised(&story.answered(&padded).1);
}

#[test]
fn who_wants_the_address_for_itself_hears_it_with_all_nodes() {
    let mut story = Story::new(&world());
    for options in [vec![], vec![14, 1, 1, 2, 3, 4, 5, 6]] {
        let probe = solicitation(Ipv6Addr::UNSPECIFIED, solicited_node(VIP6), VIP6, &options);
        let (_, reply) = story.answered(&probe);
        let expected = (vec![0x33, 0x33, 0, 0, 0, 1], ALL_NODES.octets().to_vec(), 0x20);
        assert_eq!(advertised(&reply), expected, "override, not solicited");
    }
}

#[test]
fn malformed_solicitations_are_dropped() {
    let group = solicited_node(VIP6);
    let mut story = Story::new(&world());
    let good = solicitation(ASKER6, group, VIP6, &source_link_layer());
    let mut routed = good.clone();
    routed[21] = 254;
    assert_eq!(story.dropped(&routed), Reason::IcmpMalformed, "was routed");
    let mut broken = good.clone();
    broken[80] ^= 1;
    assert_eq!(story.dropped(&broken), Reason::IcmpMalformed, "checksum");
    let body = VIP6.octets();
    for (code, body) in
        [(1, &body[..]), (0, &body[..]), (0, &[&body[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat())]
    {
        let message = icmpv6((ASKER6, group), 135, code, [0; 4], body);
        let packet = ipv6(ASKER6, group, 58, 255, &message);
        let frame = tests::control::ethernet(&[], &packet);
        if code == 0 && body.len() == 16 {
            let _ = advertised(&story.answered(&frame).1);
        } else {
            assert_eq!(story.dropped(&frame), Reason::IcmpMalformed, "code {code}, {} bytes", body.len());
        }
    }
    for options in
        [&[1, 2, 0, 0, 0, 0, 0, 0][..], &[1, 1, 0, 0], &[14, 1, 0, 0, 0, 0, 0, 0, 9, 255, 0, 0, 0, 0, 0, 0]]
    {
        assert_eq!(story.dropped(&solicitation(ASKER6, group, VIP6, options)), Reason::IcmpMalformed);
    }
    let nobody = Ipv6Addr::UNSPECIFIED;
    let with_address = solicitation(nobody, group, VIP6, &source_link_layer());
    assert_eq!(story.dropped(&with_address), Reason::IcmpMalformed, "a probe has no address to tell");
    assert_eq!(
        story.dropped(&solicitation(nobody, VIP6, VIP6, &[])),
        Reason::IcmpMalformed,
        "a probe asks all"
    );
    for source in ["::1", "ff02::1"] {
        let frame = solicitation(source.parse().expect("an address"), group, VIP6, &[]);
        assert_eq!(story.dropped(&frame), Reason::BadSource, "{source}");
    }
}

#[test]
fn solicitations_for_others_are_the_kernels() {
    let mut story = Story::new(&world());
    let group = solicited_node(VIP6);
    let twin = "2001:db8:7::1".parse().expect("an address");
    assert_eq!(story.passed(&solicitation(ASKER6, group, twin, &[])), Reason::Icmp, "the same group");
    let other = "2001:db8::2".parse().expect("an address");
    assert_eq!(story.passed(&solicitation(ASKER6, other, other, &[])), Reason::Icmp, "not announced");
    let unknown = "2001:db8::77".parse().expect("an address");
    assert_eq!(story.passed(&solicitation(ASKER6, solicited_node(unknown), unknown, &[])), Reason::NotVip);
    assert_eq!(story.passed(&solicitation(VIP6, group, VIP6, &[])), Reason::Icmp, "from the address itself");
    let mut own = solicitation(ASKER6, group, VIP6, &[]);
    own[6..12].copy_from_slice(&BALANCER.0);
    assert_eq!(story.passed(&own), Reason::Icmp, "sent by ourselves");
    let long = solicitation(ASKER6, group, VIP6, &source_link_layer().repeat(9));
    assert_eq!(story.passed(&long), Reason::Icmp, "more options than are looked at");
}

#[test]
fn advertisements_and_other_kinds_are_the_kernels() {
    let mut story = Story::new(&world());
    for kind in [133, 134, 136, 137, 143] {
        let message = icmpv6((ASKER6, VIP6), kind, 0, [0; 4], &VIP6.octets());
        let frame = tests::control::ethernet(&[], &ipv6(ASKER6, VIP6, 58, 255, &message));
        assert_eq!(story.passed(&frame), Reason::Icmp, "kind {kind}");
    }
}

proptest! {
    /// Whatever a solicitation or request says, the answer goes to one host, or to all nodes when that is what RFC 4861
    /// wants, and never to ourselves.
    #[test]
    fn answers_go_to_hosts(bytes in prop::collection::vec(any::<(u8, u8)>(), 0..4), v4 in any::<bool>()) {
        let mut frame = if v4 {
            arp_request(&[], ASKER4, VIP4)
        } else {
            solicitation(ASKER6, solicited_node(VIP6), VIP6, &source_link_layer())
        };
        for (at, value) in bytes {
            let at = usize::from(at) % frame.len();
            frame[at] = value;
        }
        let (tables, _) = HostTables::filled(CAPACITY, &world().forwarding());
        let (verdict, output) = tables.run(&frame);
        if let Err(reason) = verdict && reason.is_answer() {
            prop_assert!(output[0] & 1 == 0 || output[..6] == [0x33, 0x33, 0, 0, 0, 1]);
            prop_assert!(output[..6] != BALANCER.0);
        }
    }
}
