//! Pings that do not fit one packet.

use lb_common::abi::Reason;
use lb_user::state::{Announce, DesiredAddress};
use tests::control::{icmp, icmpv6, ipv4, ipv6};
use tests::cut::cut;
use tests::oracle;
use tests::packets::CLIENT_SIDE;
use tests::story::Story;

use super::scene::{self, V4, V6, both};

/// An echo request's frame.
fn echo_request(is_v6: bool, len: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..len).map(|byte| (byte * 7) as u8).collect();
    let rest = [0x12, 0x34, 0, 1];
    let [client, balancer] = CLIENT_SIDE;
    let (ether_type, packet) = if is_v6 {
        let (source, destination) =
            ("2001:db8:9::9".parse().expect("an address"), V6.parse().expect("an address"));
        let message = icmpv6((source, destination), 128, 0, rest, &data);
        ([0x86, 0xdd], ipv6(source, destination, 58, 61, &message))
    } else {
        let (source, destination) =
            ("203.0.113.9".parse().expect("an address"), V4.parse().expect("an address"));
        ([8, 0], ipv4(source, destination, 1, &[], &icmp(8, 0, rest, &data)))
    };
    [&balancer[..], &client, &ether_type, &packet].concat()
}

/// Puts fragments in order together again, by their headers alone.
fn join(pieces: &[Vec<u8>], is_v6: bool) -> Vec<u8> {
    let mut whole = if is_v6 {
        let mut head = pieces[0][..54].to_vec();
        head[20] = pieces[0][54];
        head
    } else {
        pieces[0][..34].to_vec()
    };
    for piece in pieces {
        whole.extend(&piece[if is_v6 { 62 } else { 34 }..]);
    }
    if is_v6 {
        let len = (whole.len() - 54) as u16;
        whole[18..20].copy_from_slice(&len.to_be_bytes());
    } else {
        let (mut header, _) = etherparse::Ipv4Header::from_slice(&whole[14..]).expect("IPv4");
        header.more_fragments = false;
        header.total_len = (whole.len() - 14) as u16;
        header.header_checksum = header.calc_header_checksum();
        whole[14..34].copy_from_slice(&header.to_bytes());
    }
    whole
}

#[test]
fn echo_requests_in_fragments_are_answered_in_fragments() {
    let pinged = DesiredAddress { announce: Announce::Arp, ping: true, ..DesiredAddress::default() };
    let world = scene::world().address(V4, pinged.clone()).address(V6, pinged);
    let mut story = Story::new(&world);
    both(|is_v6| {
        let pieces = cut(&echo_request(is_v6, 8000), 77, 1400);
        assert_eq!(
            story.dropped(&pieces[1]),
            Reason::FragmentEarly,
            "nothing is turned round without the first"
        );
        let replies: Vec<_> = pieces
            .iter()
            .map(|piece| {
                let (reason, reply) = story.answered(piece);
                assert_eq!((reason, reply.len()), (Reason::EchoReply, piece.len()));
                reply
            })
            .collect();
        let reply = join(&replies, is_v6);
        oracle::check(&reply).expect("a sound reply");
        let request = join(&pieces, is_v6);
        let (upper, ttl) = if is_v6 { (54, 21) } else { (34, 22) };
        assert_eq!(reply[upper], if is_v6 { 129 } else { 0 });
        assert_eq!(reply[ttl], 64);
        assert_eq!(reply[upper + 4..], request[upper + 4..]);
        assert_eq!(reply[..6], request[6..12], "to who sent it");
        let addresses = if is_v6 { 22..54 } else { 26..34 };
        let mut turned = request[addresses.clone()].to_vec();
        turned.rotate_left(addresses.len() / 2);
        assert_eq!(reply[addresses], turned);
    });
    let mut silent = Story::new(&scene::world());
    for piece in cut(&echo_request(false, 3000), 77, 1400) {
        assert_eq!(silent.passed(&piece), Reason::Fragment);
    }
}
