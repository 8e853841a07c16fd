//! Packets that do not fit the way to their backend, through the host's build and, when allowed, the kernel's.

use std::collections::BTreeMap;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::abi::Reason;
use lb_ebpf::{Leave, Verdict};
use lb_user::state::{DesiredAddress, Oversize};
use tests::fuzz::Pair;
use tests::host::HostTables;
use tests::kernel::is_root;
use tests::oracle;
use tests::packets::{CLIENT_SIDE, Kind, Packet};
use tests::tunnel::inner;
use tests::world::{CAPACITY, World};

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";
const BACKEND4: &str = "10.0.0.1";
const BACKEND6: &str = "2001:db8:b::1";

/// Runs frames one after the other, on the host and, when allowed, in the kernel, which must do the same.
fn run_all(world: &World, frames: &[Vec<u8>]) -> Vec<(Result<Verdict, Reason>, Vec<u8>)> {
    let (tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
    let results: Vec<_> = frames.iter().map(|frame| tables.run(frame)).collect();
    if is_root() {
        let mut pair = Pair::open(world).expect("a kernel that takes the program");
        frames.iter().for_each(|frame| {
            pair.run(frame).unwrap_or_else(|difference| panic!("{difference}"));
        });
        pair.counters_agree().expect("equal counters");
    }
    results
}

fn run(world: &World, frame: &[u8]) -> (Result<Verdict, Reason>, Vec<u8>) {
    run_all(world, &[frame.to_vec()]).remove(0)
}

fn stopped(world: &World, frame: &[u8]) -> Reason {
    run(world, frame).0.expect_err("a packet that is not forwarded")
}

/// A client's packet whose IP packet has `len` bytes.
fn packet(is_v4: bool, len: usize) -> Packet {
    let (source, destination, headers) = if is_v4 {
        ("203.0.113.9:40000", "198.51.100.1:80", 40)
    } else {
        ("[2001:db8:9::9]:40000", "[2001:db8::1]:80", 60)
    };
    let payload = (0..len - headers).map(|at| at as u8).collect();
    Packet { payload, ..Packet::new(Kind::Ack, source, destination) }
}

/// One vip whose way to its backend takes outer packets of `mtu` bytes.
fn narrow(vip: &str, backend: &str, mtu: u32) -> World {
    let mut world = World::default().vip(vip, &[backend]);
    world.hops.values_mut().for_each(|hop| hop.as_mut().expect("a next hop").mtu = mtu);
    world
}

/// Sender, receiver, MTU and quoted bytes of an answer that etherparse finds sound.
fn told(answer: &[u8]) -> (Vec<u8>, Vec<u8>, u32, Vec<u8>) {
    oracle::check(answer).unwrap_or_else(|wrong| panic!("{wrong}"));
    let sliced = SlicedPacket::from_ethernet(answer).expect("a packet");
    let (source, destination, ttl) = match sliced.net.expect("IP") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.source().to_vec(), header.destination().to_vec(), header.ttl())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source().to_vec(), header.destination().to_vec(), header.hop_limit())
        }
        NetSlice::Arp(_) => panic!("no IP"),
    };
    assert_eq!(ttl, 64);
    match sliced.transport.expect("ICMP") {
        TransportSlice::Icmpv4(icmp) => {
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 4), "fragmentation needed");
            let [unused_0, unused_1, mtu_0, mtu_1] = icmp.bytes5to8();
            assert_eq!([unused_0, unused_1], [0, 0]);
            (source, destination, u16::from_be_bytes([mtu_0, mtu_1]).into(), icmp.payload().to_vec())
        }
        TransportSlice::Icmpv6(icmp) => {
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (2, 0), "packet too big");
            (source, destination, u32::from_be_bytes(icmp.bytes5to8()), icmp.payload().to_vec())
        }
        _ => panic!("no ICMP"),
    }
}

#[test]
fn the_sender_is_told_the_size_that_fits_with_as_much_of_its_packet_as_allowed() {
    let client4 = vec![203, 0, 113, 9];
    let client6 = vec![0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let vip4 = vec![198, 51, 100, 1];
    let vip6 = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for (vip, backend, overhead) in
        [(V4, BACKEND4, 20), (V4, BACKEND6, 40), (V6, BACKEND4, 20), (V6, BACKEND6, 40)]
    {
        let world = narrow(vip, backend, 1500);
        let is_v4 = vip == V4;
        for tags in [vec![], vec![5], vec![5, 6]] {
            let frame = Packet { tags, ..packet(is_v4, 1500) }.frame();
            let (verdict, answer) = run(&world, &frame);
            assert_eq!(verdict, Err(Reason::TooBigReply), "{vip} to {backend}");
            let link = frame.len() - 1500;
            assert_eq!(answer[..6], CLIENT_SIDE[0], "back to the neighbour that sent it");
            assert_eq!(answer[6..12], CLIENT_SIDE[1]);
            assert_eq!(answer[12..link], frame[12..link], "with its tags");
            let (source, destination, mtu, quoted) = told(&answer);
            assert_eq!(mtu, 1500 - overhead, "{vip} to {backend}");
            let (from, to, bytes) =
                if is_v4 { (&vip4, &client4, 576 - 28) } else { (&vip6, &client6, 1280 - 48) };
            assert_eq!((&source, &destination), (from, to));
            assert_eq!(quoted, frame[link..link + bytes], "the packet as it came");
        }
    }
}

#[test]
fn the_largest_packet_that_fits_is_forwarded_and_the_next_one_is_not() {
    for (vip, backend, fits) in
        [(V4, BACKEND4, 1480), (V4, BACKEND6, 1460), (V6, BACKEND4, 1480), (V6, BACKEND6, 1460)]
    {
        let world = narrow(vip, backend, 1500);
        assert!(run(&world, &packet(vip == V4, fits).frame()).0.is_ok(), "{vip} to {backend}");
        assert_eq!(stopped(&world, &packet(vip == V4, fits + 1).frame()), Reason::TooBigReply);
    }
}

#[test]
fn where_no_mtu_is_known_everything_fits() {
    for (vip, backend) in [(V4, BACKEND4), (V6, BACKEND6)] {
        let world = narrow(vip, backend, 0);
        assert!(run(&world, &packet(vip == V4, 3000).frame()).0.is_ok());
    }
}

#[test]
fn a_short_packet_is_quoted_whole() {
    let world = narrow(V4, BACKEND4, 120);
    for (len, quoted_len) in [(101, 100), (104, 104), (250, 248), (547, 544), (548, 548), (549, 548)] {
        let frame = packet(true, len).frame();
        let (verdict, answer) = run(&world, &frame);
        assert_eq!(verdict, Err(Reason::TooBigReply), "{len} bytes");
        let (_, _, mtu, quoted) = told(&answer);
        assert_eq!((mtu, quoted.as_slice()), (100, &frame[14..14 + quoted_len]), "in whole words");
    }
}

#[test]
fn ipv6_senders_are_never_told_less_than_1280() {
    // 1260 bytes fit, less than any sender of IPv6 goes down to (RFC 8200, section 5).
    let world = narrow(V6, BACKEND6, 1300);
    assert!(run(&world, &packet(false, 1260).frame()).0.is_ok());
    assert_eq!(stopped(&world, &packet(false, 1261).frame()), Reason::TooBig);
    assert_eq!(stopped(&world, &packet(false, 1280).frame()), Reason::TooBig);
    let (verdict, answer) = run(&world, &packet(false, 1281).frame());
    assert_eq!(verdict, Err(Reason::TooBigReply));
    assert_eq!(told(&answer).2, 1280);
}

/// Takes "don't fragment" out of an untagged IPv4 frame.
fn may_be_fragmented(mut frame: Vec<u8>) -> Vec<u8> {
    frame[20] &= !0x40;
    let mut header = etherparse::Ipv4Header::from_slice(&frame[14..]).expect("a header").0;
    header.header_checksum = header.calc_header_checksum();
    frame[24..26].copy_from_slice(&header.header_checksum.to_be_bytes());
    frame
}

#[test]
fn what_may_be_fragmented_goes_to_the_kernel_behind_its_outer_header() {
    let frame = may_be_fragmented(packet(true, 1500).frame());
    for vlan in [None, Some(100)] {
        let mut world = narrow(V4, BACKEND4, 1500);
        if let Some(id) = vlan {
            world = world.vlan(BACKEND4, id);
        }
        for tag in [&[][..], &[0x81, 0, 0, 5]] {
            let frame = [&frame[..12], tag, &frame[12..]].concat();
            let (verdict, output) = run(&world, &frame);
            let verdict = verdict.expect("an encapsulated packet");
            assert_eq!((verdict.leave, verdict.bytes), (Leave::Kernel, 1500));
            let link = 14 + tag.len();
            assert_eq!(output[..link], frame[..link], "to the balancer itself, as it came");
            let header = etherparse::Ipv4Header::from_slice(&output[link..]).expect("a header").0;
            assert_eq!((header.total_len, header.dont_fragment), (1520, false));
            assert_eq!((header.source, header.destination), ([192, 0, 2, 10], [10, 0, 0, 1]));
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(header.identification, 0x1234, "fragments of two packets must not be taken for one's");
            assert_eq!(output[link + 20..], inner(&frame));
        }
    }
}

#[test]
fn what_the_kernel_cannot_or_must_not_fragment_is_dropped() {
    let frame = may_be_fragmented(packet(true, 1500).frame());
    assert_eq!(
        stopped(&narrow(V4, BACKEND6, 1500), &frame),
        Reason::TooBig,
        "IPv6 is not fragmented on its way"
    );
    let mut world = narrow(V4, BACKEND4, 1500);
    world.desired.tunnel.oversize = Oversize::Drop;
    assert_eq!(stopped(&world, &frame), Reason::TooBig);
}

#[test]
fn nobody_is_answered_who_is_no_single_host_or_a_vip() {
    let mut world = narrow(V4, BACKEND4, 1500).vip(V6, &[BACKEND4]);
    for vip in ["198.51.100.1", "2001:db8::1"] {
        world.desired.addresses.insert(vip.parse().expect("an address"), DesiredAddress::default());
    }
    for (source, reason) in [
        ("0.0.0.0", Reason::BadSource),
        ("127.0.0.1", Reason::BadSource),
        ("224.0.0.1", Reason::BadSource),
        ("255.255.255.255", Reason::BadSource),
        ("198.51.100.1", Reason::Loop),
        ("::", Reason::BadSource),
        ("::1", Reason::BadSource),
        ("ff02::1", Reason::BadSource),
        ("2001:db8::1", Reason::Loop),
    ] {
        let source: std::net::IpAddr = source.parse().expect("an address");
        let mut packet = packet(source.is_ipv4(), 1500);
        packet.source.set_ip(source);
        assert_eq!(stopped(&world, &packet.frame()), reason, "{source}");
    }
    let mut to_group = packet(true, 1500).frame();
    to_group[0] |= 1;
    assert_eq!(stopped(&world, &to_group), Reason::BadSource, "a frame that was sent to many");
}

#[test]
fn answers_are_limited() {
    let mut world = narrow(V4, BACKEND4, 1500).vip(V6, &[BACKEND6]);
    world.desired.answers.replies_per_second = 4;
    let frames: Vec<_> = (0..12).map(|number| packet(number % 2 == 0, 1500).frame()).collect();
    let results = run_all(&world, &frames);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for (verdict, _) in results {
        *counts.entry(verdict.expect_err("no packet fits").label()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("too_big_reply", 5), ("answer_limit", 7)]));
}

#[test]
fn no_error_is_sent_about_an_icmpv6_error() {
    let world = narrow(V6, BACKEND6, 1500);
    // "Port unreachable" about a packet that the vip has sent, longer than RFC 4443 allows.
    let mut about = packet(false, 1432);
    std::mem::swap(&mut about.source, &mut about.destination);
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(CLIENT_SIDE[0], CLIENT_SIDE[1])
        .ipv6([0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], vip6(), 61)
        .icmpv6(etherparse::Icmpv6Type::DestinationUnreachable(etherparse::icmpv6::DestUnreachableCode::Port))
        .write(&mut frame, &about.frame()[14..])
        .expect("a vector takes everything");
    assert_eq!(stopped(&world, &frame), Reason::TooBig);
}

fn vip6() -> [u8; 16] {
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
}

#[test]
fn a_packet_with_options_or_extension_headers_is_answered_all_the_same() {
    let frame = packet(true, 1480).frame();
    let mut header = etherparse::Ipv4Header::from_slice(&frame[14..]).expect("a header").0;
    header.options = [1; 40].into();
    header.total_len += 40;
    header.header_checksum = header.calc_header_checksum();
    let mut with_options = frame[..14].to_vec();
    header.write(&mut with_options).expect("a vector takes everything");
    with_options.extend(&frame[34..]);
    let (verdict, answer) = run(&narrow(V4, BACKEND4, 1500), &with_options);
    assert_eq!(verdict, Err(Reason::TooBigReply));
    assert_eq!(told(&answer).3, with_options[14..14 + 548]);

    let frame = packet(false, 1480).frame();
    let mut extended = frame[..54].to_vec();
    extended[20] = 60;
    let len = u16::from_be_bytes([frame[18], frame[19]]) + 8;
    extended[18..20].copy_from_slice(&len.to_be_bytes());
    extended.extend([frame[20], 0, 1, 4, 0, 0, 0, 0]);
    extended.extend(&frame[54..]);
    let (verdict, answer) = run(&narrow(V6, BACKEND6, 1500), &extended);
    assert_eq!(verdict, Err(Reason::TooBigReply));
    assert_eq!(told(&answer).3, extended[14..14 + 1232]);
}
