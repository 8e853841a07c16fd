//! Packets in UDP: random clients' packets in all kinds of outer headers, on the host and in the kernel. etherparse sums up
//! the whole datagram, payload and all, and must come to the checksum that the packet story wrote without reading it.

use std::net::{IpAddr, SocketAddr};

use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use lb_common::abi::Reason;
use lb_user::state::{GueVariant, Mode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tests::fixture::{End, Seen};
use tests::fuzz::Pair;
use tests::host::HostTables;
use tests::kernel::is_root;
use tests::packets::{Kind, Packet};
use tests::tunnel;
use tests::world::{CAPACITY, World};

const VIP4: &str = "198.51.100.1";
const VIP6: &str = "2001:db8::1";
const BACKENDS: [&str; 2] = ["10.0.0.1", "2001:db8:b::1"];
const PORT: u16 = 6080;

/// What the outer headers are.
#[derive(Clone, Copy, Debug)]
struct Outside {
    backend: &'static str,
    variant: GueVariant,
    vlan: Option<u16>,
}

impl Outside {
    fn all() -> impl Iterator<Item = Self> {
        let variants = [GueVariant::Direct, GueVariant::Header];
        let vlans = [None, Some(100)];
        BACKENDS.into_iter().flat_map(move |backend| {
            variants
                .into_iter()
                .flat_map(move |variant| vlans.into_iter().map(move |vlan| Self { backend, variant, vlan }))
        })
    }

    /// All-ports vips of both families and protocols.
    fn world(self) -> World {
        let mut world = World::default();
        for (address, protocol) in [(VIP4, "tcp"), (VIP4, "udp"), (VIP6, "tcp"), (VIP6, "udp")] {
            let vip = SocketAddr::new(address.parse().expect("an address"), 0);
            world = world.vip(&format!("{vip}/{protocol}"), &[self.backend]);
        }
        if let Some(id) = self.vlan {
            world = world.vlan(self.backend, id);
        }
        world.desired.tunnel.gue_variant = self.variant;
        world.mode(Mode::Gue).entropy("172.16.0.0", 12, "fd00::", 96)
    }

    /// Bytes before the inner packet.
    fn head(self) -> usize {
        let ip = if self.backend.contains(':') { 40 } else { 20 };
        let gue = if self.variant == GueVariant::Header { 4 } else { 0 };
        14 + self.vlan.map_or(0, |_| 4) + ip + 8 + gue
    }
}

/// The host's build, and where it may be the kernel's too, which must do the same.
struct Builds {
    host: HostTables,
    both: Option<Pair>,
}

impl Builds {
    fn new(world: &World) -> Self {
        let (host, _) = HostTables::filled(CAPACITY, &world.forwarding());
        let both = is_root().then(|| Pair::open(world).expect("a kernel that takes the program"));
        Self { host, both }
    }

    fn run(&mut self, frame: &[u8]) -> Seen {
        match &mut self.both {
            Some(pair) => pair.run_and_see(frame).unwrap_or_else(|difference| panic!("{difference}")),
            None => {
                let (verdict, output) = self.host.run(frame);
                Seen::new(&verdict, frame, output)
            }
        }
    }

    fn forward(&mut self, frame: &[u8]) -> Vec<u8> {
        let seen = self.run(frame);
        assert_eq!(seen.end, End::Forward);
        seen.frame.expect("a frame that leaves")
    }
}

/// The outer UDP header of a frame.
#[derive(Debug)]
struct Udp {
    ports: (u16, u16),
    checksum: u16,
    /// What etherparse comes to over every byte.
    right: u16,
    payload: Vec<u8>,
}

/// Takes the outer headers off, whose lengths etherparse checks.
fn udp(frame: &[u8], outside: Outside) -> Udp {
    let sliced = SlicedPacket::from_ethernet(frame).expect("an outer packet");
    let vlan = sliced.link_exts.first().map(|ext| match ext {
        LinkExtSlice::Vlan(vlan) => vlan.vlan_identifier().value(),
        other => panic!("{other:?}"),
    });
    assert_eq!(vlan, outside.vlan);
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no UDP") };
    let header = udp.to_header();
    let right = match sliced.net.as_ref().expect("IP") {
        NetSlice::Ipv4(ip) => {
            let ip = ip.header().to_header();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "outer IPv4 checksum");
            assert_eq!(ip.source[0], 172);
            header.calc_checksum_ipv4_raw(ip.source, ip.destination, udp.payload())
        }
        NetSlice::Ipv6(ip) => {
            let ip = ip.header().to_header();
            assert_eq!(ip.source[0], 0xfd);
            header.calc_checksum_ipv6_raw(ip.source, ip.destination, udp.payload())
        }
        NetSlice::Arp(_) => panic!("no IP"),
    };
    Udp {
        ports: (header.source_port, header.destination_port),
        checksum: header.checksum,
        right: right.expect("a length that fits"),
        payload: udp.payload().to_vec(),
    }
}

/// A client's frame, and whether its headers tell the outer checksum.
#[derive(Clone, Debug)]
struct Sent {
    frame: Vec<u8>,
    is_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    NoUdpChecksum,
    /// The UDP length is shorter than the IP packet.
    ShortUdp,
    /// IPv4 options, or an IPv6 extension header.
    Extended,
}

fn sent() -> impl Strategy<Value = Sent> {
    let addresses = prop_oneof![
        any::<[u8; 4]>().prop_map(|source| (IpAddr::from(source), VIP4.parse::<IpAddr>().expect("IPv4"))),
        any::<[u8; 16]>().prop_map(|source| (IpAddr::from(source), VIP6.parse::<IpAddr>().expect("IPv6"))),
    ];
    let kind = prop_oneof![Just(Kind::Syn), Just(Kind::Ack), Just(Kind::Udp)];
    let oddity = prop_oneof![
        4 => Just(Oddity::None),
        1 => Just(Oddity::NoUdpChecksum),
        1 => Just(Oddity::ShortUdp),
        2 => Just(Oddity::Extended),
    ];
    let tags = prop::collection::vec(1u16..4094, 0..=2);
    let payload = prop::collection::vec(any::<u8>(), 0..1300);
    (addresses, any::<(u16, u16)>(), kind, tags, (2u8..=255, any::<u8>()), payload, oddity).prop_map(
        |((source, destination), ports, kind, tags, (ttl, tos), payload, oddity)| {
            let source = SocketAddr::new(source, ports.0);
            let destination = SocketAddr::new(destination, ports.1);
            odd(&Packet { source, destination, kind, tags, ttl, tos, payload }, oddity)
        },
    )
}

fn odd(packet: &Packet, oddity: Oddity) -> Sent {
    let mut frame = packet.frame();
    let ip = 14 + packet.tags.len() * 4;
    let is_v6 = packet.destination.is_ipv6();
    let udp = ip + if is_v6 { 40 } else { 20 };
    let mut is_told = true;
    match oddity {
        Oddity::NoUdpChecksum if packet.kind == Kind::Udp => {
            frame[udp + 6..udp + 8].fill(0);
            is_told = false;
        }
        Oddity::ShortUdp if packet.kind == Kind::Udp && !packet.payload.is_empty() => {
            let len = 8 + packet.payload.len() as u16 - 1;
            frame[udp + 4..udp + 6].copy_from_slice(&len.to_be_bytes());
            is_told = false;
        }
        Oddity::Extended if is_v6 => {
            // Destination options: six bytes of padding.
            let header = [frame[ip + 6], 0, 1, 4, 0, 0, 0, 0];
            frame[ip + 6] = 60;
            lengthen(&mut frame, ip + 4, 8);
            frame.splice(udp..udp, header);
            is_told = false;
        }
        Oddity::Extended => {
            frame[ip] = 0x46;
            lengthen(&mut frame, ip + 2, 4);
            frame.splice(udp..udp, [1; 4]);
            let header = etherparse::Ipv4Header::from_slice(&frame[ip..]).expect("a header").0;
            frame[ip + 10..ip + 12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
        }
        _ => {}
    }
    Sent { frame, is_told }
}

fn lengthen(frame: &mut [u8], at: usize, by: u16) {
    let len = u16::from_be_bytes([frame[at], frame[at + 1]]) + by;
    frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

#[test]
fn the_outer_checksum_is_that_of_the_whole_datagram_though_no_payload_is_read() {
    for outside in Outside::all() {
        let builds = std::cell::RefCell::new(Builds::new(&outside.world()));
        let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
        let result = runner.run(&sent(), |sent| {
            let output = builds.borrow_mut().forward(&sent.frame);
            let udp = udp(&output, outside);
            let inner = tunnel::inner(&sent.frame);
            prop_assert_eq!(udp.checksum, if sent.is_told { udp.right } else { 0 });
            prop_assert_eq!(udp.ports.1, PORT);
            prop_assert!(udp.ports.0 >= 0xc000);
            prop_assert_eq!(&output[outside.head()..], &inner[..]);
            if outside.variant == GueVariant::Header {
                let protocol = if inner[0] >> 4 == 6 { 41 } else { 4 };
                prop_assert_eq!(&udp.payload[..4], &[0, protocol, 0, 0][..]);
            }
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{outside:?}: {error}"));
    }
}

/// The checksum of a datagram is 0xffff where the sum is zero: 0 would mean that there is none (RFC 768).
#[test]
fn a_sum_of_zero_is_sent_as_all_ones() {
    for outside in Outside::all() {
        let (tables, _) = HostTables::filled(CAPACITY, &outside.world().forwarding());
        let mut builds = Builds::new(&outside.world());
        let flow = |port| {
            let packet = Packet::new(Kind::Udp, "[2001:db8:9::9]:1", &format!("[{VIP6}]:53"));
            Packet { source: SocketAddr::new(packet.source.ip(), port), ttl: 2, ..packet }
        };
        // What lacks to zero is the checksum. Traffic class and hop limit can add 12 bits of it.
        let lacks = |packet: &Packet| udp(&tables.run(&packet.frame()).1, outside).right;
        let (packet, rest) = (1..)
            .map(|port| (flow(port), lacks(&flow(port))))
            .find(|(_, rest)| *rest < 1 << 12)
            .expect("one of 16 flows");
        let packet = Packet { tos: (rest >> 4) as u8, ttl: 2 + (rest & 0xf) as u8, ..packet };
        let sent = udp(&builds.forward(&packet.frame()), outside);
        assert_eq!((sent.checksum, sent.right), (u16::MAX, u16::MAX), "{outside:?}");
    }
}

#[test]
fn source_ports_differ_by_flow_and_stay_for_a_flow() {
    let outside = Outside { backend: BACKENDS[0], variant: GueVariant::Direct, vlan: None };
    let mut builds = Builds::new(&outside.world());
    let mut port_of = |client: u16, payload: &[u8]| {
        let mut packet = Packet::new(Kind::Ack, "203.0.113.9:1", &format!("{VIP4}:80"));
        packet.source.set_port(client);
        packet.payload = payload.to_vec();
        udp(&builds.forward(&packet.frame()), outside).ports.0
    };
    let mut ports: Vec<_> = (40_000..40_100).map(|client| port_of(client, b"one")).collect();
    assert_eq!(ports[0], port_of(40_000, b"another packet"));
    ports.sort_unstable();
    ports.dedup();
    // 100 balls in 16384 bins: 0.3 collisions are expected.
    assert!(ports.len() >= 97, "{} ports for 100 flows", ports.len());
}

#[test]
fn what_does_not_fit_is_too_big() {
    for outside in Outside::all() {
        let overhead = outside.head() - 14 - outside.vlan.map_or(0, |_| 4);
        let fits = 1500 - overhead;
        for (vip, header) in [(VIP4, 28), (VIP6, 48)] {
            let destination = SocketAddr::new(vip.parse().expect("an address"), 53);
            let source = if vip == VIP4 { "203.0.113.9:40000" } else { "[2001:db8:9::9]:40000" };
            let mut packet = Packet::new(Kind::Udp, source, &destination.to_string());
            packet.payload = vec![7; fits - header];
            let mut builds = Builds::new(&outside.world());
            builds.forward(&packet.frame());
            packet.payload.push(7);
            let seen = builds.run(&packet.frame());
            assert_eq!(seen.end, End::Stopped(Reason::TooBigReply), "{outside:?}");
        }
    }
}

#[test]
fn the_last_hop_is_not_spent_in_udp_either() {
    for outside in Outside::all() {
        let mut builds = Builds::new(&outside.world());
        let mut packet = Packet::new(Kind::Ack, "203.0.113.9:40000", &format!("{VIP4}:80"));
        packet.ttl = 1;
        assert_eq!(builds.run(&packet.frame()).end, End::Stopped(Reason::TtlExpired), "{outside:?}");
    }
}
