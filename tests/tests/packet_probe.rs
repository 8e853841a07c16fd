//! Checks through tunnels, packet by packet, on the host and in the kernel.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::ProbeWay;
use lb_user::dataplane::{ProbeSpec, probe_way};
use lb_user::state::{GueVariant, Mode, NextHop, Tunnel};
use proptest::prelude::*;
use tests::kernel::is_root;
use tests::oracle;
use tests::packets::{Kind, Packet};
use tests::probe::{HostProbes, KernelProbes};
use tests::tunnel::{inner, outer};
use tests::world::{BALANCER, NEXT_HOP};

const HOST4: &str = "192.0.2.10";
const HOST6: &str = "2001:db8:e::10";
const BACKEND4: &str = "10.0.0.1";
const BACKEND6: &str = "2001:db8:b::1";
/// Probe addresses by family, of the first and the second backend, and what stands for them.
const PROBES4: [&str; 2] = ["198.19.240.1", "198.19.240.2"];
const PROBES6: [&str; 2] = ["fd66:6c76::1:3", "fd66:6c76::1:4"];
const VIP4: &str = "198.51.100.1";
const VIP6: &str = "2001:db8::1";

fn way(probe: &str, vip: &str, backend: &str, mode: Mode, tunnel: &Tunnel) -> ProbeWay {
    let parse = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let backend = parse(backend);
    let hop = NextHop {
        ifindex: 1,
        interface: "eth0".into(),
        source_mac: BALANCER,
        destination_mac: NEXT_HOP,
        gateway: None,
        vlan: None,
        preferred_source: Some(parse(if backend.is_ipv4() { HOST4 } else { HOST6 })),
        mtu: 1500,
    };
    probe_way(parse(probe), &ProbeSpec { vip: parse(vip), backend, mode, hop }, tunnel)
}

/// Every probe address, to backends of this family.
fn ways(backend: &str, mode: Mode, tunnel: &Tunnel) -> Vec<ProbeWay> {
    let of = |probes: [&'static str; 2], vip: &'static str| {
        probes.map(|probe| way(probe, vip, backend, mode, tunnel))
    };
    [of(PROBES4, VIP4), of(PROBES6, VIP6)].concat()
}

/// The story on the host and, when allowed, in the kernel, which must agree.
struct Story {
    host: HostProbes,
    kernel: Option<KernelProbes>,
}

impl Story {
    fn new(ways: Vec<ProbeWay>) -> Self {
        let kernel = is_root().then(|| KernelProbes::new(&ways).expect("the kernel takes the programs"));
        // The kernel's clock cannot be set; what it has seen is made older instead.
        Self { host: HostProbes { ways, now_ns: 1 << 60, ..HostProbes::default() }, kernel }
    }

    fn plain() -> Self {
        Self::new(ways(BACKEND4, Mode::Ipip, &Tunnel::default()))
    }

    fn send(&mut self, packet: &Packet) -> Option<Vec<u8>> {
        self.send_frame(&packet.frame())
    }

    fn send_frame(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let sent = self.host.send(frame);
        if let Some(kernel) = &mut self.kernel {
            assert_eq!(kernel.send(frame).expect("a run"), sent, "the kernel says otherwise");
        }
        sent
    }

    /// What the socket gets of an answer.
    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (is_answer, taken) = (self.host.is_answer(frame), self.host.take(frame));
        assert_eq!(is_answer, taken.is_some(), "whoever finds it finds whose it is");
        if let Some(kernel) = &mut self.kernel {
            assert_eq!(kernel.is_answer(frame).expect("a run"), is_answer);
            assert_eq!(kernel.take(frame).expect("a run"), taken, "the kernel says otherwise");
        }
        taken
    }

    fn wait(&mut self, seconds: u64) {
        let ns = seconds * 1_000_000_000;
        self.host.now_ns += ns;
        if let Some(kernel) = &mut self.kernel {
            kernel.age(ns).expect("aged");
        }
    }
}

fn to(kind: Kind, port: u16, probe: &str, service: u16) -> Packet {
    let probe: IpAddr = probe.parse().expect("an address");
    let host: IpAddr = if probe.is_ipv4() { HOST4 } else { HOST6 }.parse().expect("an address");
    let (from, to) = (SocketAddr::new(host, port), SocketAddr::new(probe, service));
    Packet::new(kind, &from.to_string(), &to.to_string())
}

/// The packet as a client would have sent it to the vip.
fn as_client(packet: &Packet) -> Packet {
    let vip = if packet.destination.is_ipv4() { VIP4 } else { VIP6 };
    Packet {
        destination: SocketAddr::new(vip.parse().expect("a vip"), packet.destination.port()),
        ..packet.clone()
    }
}

/// The backend's answer to what it got.
fn reply(inner: &[u8], kind: Kind) -> Packet {
    let sliced = etherparse::SlicedPacket::from_ip(inner).expect("a packet");
    let (source, destination): (IpAddr, IpAddr) = match sliced.net.expect("IP") {
        etherparse::NetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        etherparse::NetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        etherparse::NetSlice::Arp(_) => panic!("no IP"),
    };
    let (from, to) = match sliced.transport.expect("TCP or UDP") {
        etherparse::TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
        etherparse::TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port()),
        _ => panic!("neither TCP nor UDP"),
    };
    let text = |address, port| SocketAddr::new(address, port).to_string();
    Packet::new(kind, &text(destination, to), &text(source, from))
}

#[test]
fn a_check_comes_out_as_a_clients_packet_would_in_the_backends_tunnel() {
    for (mode, variant, protocols, head) in [
        (Mode::Ipip, GueVariant::Direct, [4, 41], 0),
        (Mode::Gue, GueVariant::Direct, [17, 17], 8),
        (Mode::Gue, GueVariant::Header, [17, 17], 12),
    ] {
        let tunnel = Tunnel { gue_variant: variant, ..Tunnel::default() };
        for backend in [BACKEND4, BACKEND6] {
            let mut story = Story::new(ways(backend, mode, &tunnel));
            for probe in [PROBES4[0], PROBES6[0]] {
                for kind in [Kind::Syn, Kind::Ack, Kind::Udp] {
                    let packet = to(kind, 40_000, probe, 80);
                    let frame = story.send(&packet).expect("sent");
                    oracle::check(&frame).expect("sound");
                    let outer = outer(&frame);
                    assert_eq!(outer.protocol, protocols[usize::from(probe.contains(':'))]);
                    assert_eq!(
                        outer.payload[head..],
                        inner(&as_client(&packet).frame()),
                        "{mode:?} {packet:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn on_one_segment_only_the_ethernet_header_is_new() {
    let mut story = Story::new(ways(BACKEND4, Mode::L2, &Tunnel::default()));
    for probe in [PROBES4[1], PROBES6[1]] {
        let packet = to(Kind::Syn, 40_000, probe, 80);
        let frame = story.send(&packet).expect("sent");
        oracle::check(&frame).expect("sound");
        assert_eq!((&frame[..6], &frame[6..12]), (&NEXT_HOP.0[..], &BALANCER.0[..]));
        assert_eq!(frame[14..], inner(&as_client(&packet).frame()));
    }
}

#[test]
fn the_answer_comes_from_the_probe_address_for_the_socket() {
    let mut story = Story::plain();
    for probe in [PROBES4[0], PROBES6[1]] {
        for kind in [Kind::Syn, Kind::Udp] {
            let packet = to(kind, 40_000, probe, 80);
            let sent = outer(&story.send(&packet).expect("sent")).payload;
            let answer = reply(&sent, kind).frame();
            let taken = story.answer(&answer).expect("an answer");
            oracle::check(&taken).expect("sound");
            let expected = Packet { source: packet.destination, ..reply(&sent, kind) }.frame();
            assert_eq!(taken, expected);
        }
    }
}

#[test]
fn packets_that_no_check_waits_for_are_left_alone() {
    let mut story = Story::plain();
    let packet = to(Kind::Syn, 40_000, PROBES4[0], 80);
    let sent = outer(&story.send(&packet).expect("sent")).payload;
    let answer = reply(&sent, Kind::Ack);
    let other = |text: &str| -> SocketAddr { text.parse().expect("a socket address") };
    for (source, destination) in [
        ("198.51.100.1:80", "192.0.2.10:40001"),
        ("198.51.100.1:81", "192.0.2.10:40000"),
        ("198.51.100.2:80", "192.0.2.10:40000"),
        ("198.51.100.1:80", "192.0.2.11:40000"),
    ] {
        let packet = Packet { source: other(source), destination: other(destination), ..answer.clone() };
        assert_eq!(story.answer(&packet.frame()), None, "{source} to {destination}");
    }
    assert_eq!(story.answer(&Packet { kind: Kind::Udp, ..answer.clone() }.frame()), None);
    let mut fragment = answer.frame();
    fragment[20] = 0x20;
    assert_eq!(story.answer(&fragment), None, "a fragment");
    assert!(story.answer(&answer.frame()).is_some());
}

#[test]
fn what_is_for_no_probe_address_goes_nowhere() {
    let mut story = Story::plain();
    // The last ones have the last bits of probe addresses.
    for address in ["198.19.240.9", "fd66:6c76::1:9", "10.0.0.1", "ff02::1:3"] {
        assert_eq!(story.send(&to(Kind::Udp, 40_000, address, 80)), None, "{address}");
    }
}

#[test]
fn two_checks_of_a_vip_with_the_same_port_get_their_own_answers() {
    for probes in [PROBES4, PROBES6] {
        let mut story = Story::plain();
        let packets = probes.map(|probe| to(Kind::Syn, 40_000, probe, 80));
        let inners = packets.each_ref().map(|packet| outer(&story.send(packet).expect("sent")).payload);
        let [first, second] = inners.each_ref().map(|inner| reply(inner, Kind::Ack));
        assert_eq!(first.destination.port(), 40_000, "as long as it is free");
        assert_ne!(first.destination, second.destination);
        for (packet, answer) in packets.iter().zip([first, second]) {
            let taken = story.answer(&answer.frame()).expect("an answer");
            oracle::check(&taken).expect("sound");
            let expected =
                Packet { source: packet.destination, destination: packet.source, ..answer.clone() }.frame();
            assert_eq!(taken, expected);
        }
        let again = packets.each_ref().map(|packet| {
            outer(&story.send(&Packet { kind: Kind::Ack, ..packet.clone() }).expect("sent")).payload
        });
        let ports = |inners: [Vec<u8>; 2]| inners.map(|inner| reply(&inner, Kind::Ack).destination.port());
        assert_eq!(ports(again), ports(inners), "a flow keeps its port");
    }
}

#[test]
fn a_port_is_free_again_when_its_check_is_long_over_and_nobody_under_way_moves() {
    let mut story = Story::plain();
    let [first, second] = PROBES4.map(|probe| to(Kind::Syn, 40_000, probe, 80));
    let port = |story: &mut Story, packet: &Packet| {
        reply(&outer(&story.send(packet).expect("sent")).payload, Kind::Ack).destination.port()
    };
    assert_eq!(port(&mut story, &first), 40_000);
    let other = port(&mut story, &second);
    story.wait(100);
    assert_eq!(port(&mut story, &second), other);
    story.wait(100);
    assert_eq!(port(&mut story, &second), other, "it stays where it is, though the first is over");
    let third = to(Kind::Syn, 40_000, PROBES4[1], 80);
    assert_eq!(port(&mut story, &third), other, "the same flow");
    story.wait(200);
    assert_eq!(port(&mut story, &first), 40_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_check_is_sound_on_its_way_and_back(
        port in 1..=u16::MAX,
        service in 1..=u16::MAX,
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        kind in prop_oneof![Just(Kind::Syn), Just(Kind::Ack), Just(Kind::Udp)],
        probe in prop_oneof![Just(PROBES4[0]), Just(PROBES4[1]), Just(PROBES6[0]), Just(PROBES6[1])],
        mode in prop_oneof![Just(Mode::Ipip), Just(Mode::Gue)],
    ) {
        let host = HostProbes { ways: ways(BACKEND4, mode, &Tunnel::default()), ..HostProbes::default() };
        let packet = Packet { payload: payload.clone(), ..to(kind, port, probe, service) };
        let frame = host.send(&packet.frame()).expect("sent");
        oracle::check(&frame).expect("sound");
        let head = if mode == Mode::Gue { 8 } else { 0 };
        let answer = Packet { payload, ..reply(&outer(&frame).payload[head..], kind) };
        let taken = host.take(&answer.frame()).expect("an answer");
        oracle::check(&taken).expect("sound");
        prop_assert_eq!(&taken, &Packet { source: packet.destination, destination: packet.source, ..answer }.frame());
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..120), ip in any::<bool>()) {
        let host = HostProbes { ways: ways(BACKEND4, Mode::Ipip, &Tunnel::default()), ..HostProbes::default() };
        let mut frame = bytes;
        if frame.len() > 14 {
            frame[12..15].copy_from_slice(if ip { &[0x08, 0x00, 0x45] } else { &[0x86, 0xdd, 0x60] });
        }
        prop_assert!(host.send(&frame).is_none() && host.take(&frame).is_none());
    }
}
