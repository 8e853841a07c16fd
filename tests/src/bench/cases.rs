//! What the datapath benchmark times: a case for each way that a packet can take through the program.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_common::abi::{BENCH_FRAGMENT, BenchSource, BenchTarget, Reason};

use super::worlds::{
    GUE4, GUE6, HASHED, L2, LIMITED, LISTED, NO_SERVER_ID, Place, QUIC, QUIC_CONFIG, ROUTE_BACKEND, ROUTED,
    SERVER_BACKEND, SERVER_ID, UDP4, UDP6, V4, V4_IN_V6, V6, V6_IN_V4,
};
use crate::control::{
    arp_request, echo_request, ethernet, icmp, icmpv6, ipv4, ipv6, solicitation, solicited_node,
    source_link_layer,
};
use crate::cut::cut;
use crate::packets::{Kind, Packet};

/// A frame, and what becomes of it every time.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) frame: Vec<u8>,
    pub(super) source: BenchSource,
    /// A power of two; more than one only where the source varies.
    pub(super) flows: u32,
    pub(super) target: BenchTarget,
    /// Bytes that the target puts in front.
    pub(super) grown: u32,
    /// Bytes that it cuts off the end.
    pub(super) cut: u32,
    pub(super) does: Does,
    pub(super) expected: Expected,
}

/// What every packet of a case must have become.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Sent on, without a trace in the balancer's counters.
    Transmit,
    /// Sent to a backend of this vip, or to this one.
    Forward {
        vip: &'static str,
        backend: Option<&'static str>,
    },
    /// The same, after as many lists and limits were asked.
    Ask {
        vip: &'static str,
        backend: Option<&'static str>,
        asked: u64,
    },
    Stop(Reason),
}

/// What the net cost on the development machine should not exceed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Nothing,
    Ns(f64),
    /// So much more than another case of the same run.
    Beyond(&'static str, f64),
}

const ONE_FLOW: &str = "v4 TCP, one flow";
const V6_IN_V6: &str = "v6 TCP in v6";

const CLIENT4: &str = "10.0.0.9:40000";
const CLIENT6: &str = "[2001:db8:9::9]:40000";
const NEIGHBOUR4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const ANSWERED4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const ANSWERED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// All of them; `long` are those that take long to prepare.
pub(super) fn all(long: bool) -> Vec<Case> {
    let mut all = plain();
    all.extend(quic_and_icmp());
    all.extend(fragments());
    all.extend(options());
    all.extend(transition());
    if long {
        all.extend(million());
    }
    all
}

impl Case {
    /// A client's packet that the balancer forwards.
    fn forward(name: &'static str, kind: Kind, vip: &'static str, grown: u32) -> Self {
        let destination = vip.split_once('/').map_or(vip, |(address, _)| address);
        let does = Does::Forward { vip, backend: None };
        Self { grown, does, ..Self::of_packet(name, kind, destination) }
    }

    /// A client's packet that is stopped.
    fn stop(name: &'static str, kind: Kind, destination: &str, reason: Reason) -> Self {
        Self { does: Does::Stop(reason), ..Self::of_packet(name, kind, destination) }
    }

    fn of_packet(name: &'static str, kind: Kind, destination: &str) -> Self {
        let is_v6 = destination.starts_with('[');
        let (client, source) =
            if is_v6 { (CLIENT6, BenchSource::Ipv6) } else { (CLIENT4, BenchSource::Ipv4) };
        let packet = Packet { payload: vec![0; 6], ..Packet::new(kind, client, destination) };
        Self { source, ..Self::of_frame(name, packet.frame(), Does::Transmit) }
    }

    /// A frame that is the same each time.
    const fn of_frame(name: &'static str, frame: Vec<u8>, does: Does) -> Self {
        Self {
            name,
            place: Place::Plain,
            frame,
            source: BenchSource::Fixed,
            flows: 1,
            target: BenchTarget::Balancer,
            grown: 0,
            cut: 0,
            does,
            expected: Expected::Nothing,
        }
    }

    fn expecting(self, ns: f64) -> Self {
        Self { expected: Expected::Ns(ns), ..self }
    }

    fn beyond(self, case: &'static str, ns: f64) -> Self {
        Self { expected: Expected::Beyond(case, ns), ..self }
    }
}

fn plain() -> Vec<Case> {
    use Case as C;
    let bare = Case {
        target: BenchTarget::Bare,
        does: Does::Transmit,
        ..C::forward("bound: bare parse and encap", Kind::Ack, V4, 20)
    };
    vec![
        bare,
        C::forward(ONE_FLOW, Kind::Ack, V4, 20).expecting(30.0),
        C::forward("v4 TCP SYN", Kind::Syn, V4, 20),
        Case { flows: 1 << 20, ..C::forward("v4 TCP, 1M flows", Kind::Ack, V4, 20) },
        C::forward("v4 UDP", Kind::Udp, UDP4, 20),
        C::forward(V6_IN_V6, Kind::Ack, V6, 40),
        C::forward("v6 TCP in v4", Kind::Ack, V6_IN_V4, 20),
        C::forward("v4 TCP in v6", Kind::Ack, V4_IN_V6, 40),
        C::forward("v4 TCP in v4, GUE", Kind::Ack, GUE4, 28).beyond(ONE_FLOW, 10.0),
        C::forward("v6 TCP in v6, GUE", Kind::Ack, GUE6, 48).beyond(V6_IN_V6, 10.0),
        C::forward("v4 TCP, L2 DSR", Kind::Ack, L2, 0),
        C::stop("not for a vip", Kind::Ack, "192.0.2.77:80", Reason::NotVip).expecting(10.0),
        C::stop("a vip's other port", Kind::Ack, "198.51.100.1:81", Reason::NoService),
    ]
}

fn quic_and_icmp() -> Vec<Case> {
    let error = |name, frame, vip, grown| {
        let does = Does::Forward { vip, backend: None };
        Case { grown, ..Case::of_frame(name, frame, does) }.expecting(50.0)
    };
    vec![
        quic("QUIC short header, known server id", SERVER_ID, Some(SERVER_BACKEND)),
        quic("QUIC short header, unknown id", NO_SERVER_ID, None),
        error("ICMP frag needed for a flow", frag_needed(), V4, 20),
        error("ICMPv6 packet too big for a flow", packet_too_big(), V6, 40),
    ]
}

fn quic(name: &'static str, id: [u8; 4], backend: Option<&'static str>) -> Case {
    let connection_id = [&[QUIC_CONFIG << 5 | 9][..], &id, &[0x77; 8]].concat();
    let payload = [&[0x40][..], &connection_id, &[0xee; 24]].concat();
    let case = Case::forward(name, Kind::Udp, QUIC, 20).expecting(40.0);
    let frame = Packet { payload, ..Packet::new(Kind::Udp, CLIENT4, "198.51.100.6:443") }.frame();
    Case { frame, does: Does::Forward { vip: QUIC, backend }, ..case }
}

/// A router's message about a packet that the vip has sent.
fn frag_needed() -> Vec<u8> {
    let quoted = ipv4(VIP4, NEIGHBOUR4, TCP, &[], &sent());
    ethernet(&[], &ipv4(ROUTER4, VIP4, ICMP, &[], &icmp(3, 4, [0, 0, 0x05, 0x14], &quoted)))
}

fn packet_too_big() -> Vec<u8> {
    let quoted = ipv6(VIP6, NEIGHBOUR6, TCP, 61, &sent());
    let message = icmpv6((ROUTER6, VIP6), 2, 0, [0, 0, 0x05, 0], &quoted);
    ethernet(&[], &ipv6(ROUTER6, VIP6, ICMPV6, 61, &message))
}

/// The beginning of a vip's segment to port 40000.
fn sent() -> Vec<u8> {
    [&[0, 80, 0x9c, 0x40][..], &[0x55; 16]].concat()
}

/// What is remembered of a datagram differs from packet to packet, so that no case can be of one packet alone.
fn fragments() -> Vec<Case> {
    let of = |name, vip: &'static str, grown, at| {
        let case = Case::forward(name, Kind::Udp, vip, grown);
        let client = if case.source == BenchSource::Ipv6 { CLIENT6 } else { CLIENT4 };
        let destination = vip.trim_end_matches("/udp");
        let payload = vec![0; 2 * LEN - 8];
        let packet = Packet { payload, ..Packet::new(Kind::Udp, client, destination) };
        Case { frame: cut(&packet.frame(), 1, LEN).swap_remove(at), ..case }
    };
    let hashed = of("v4 UDP, later fragment, by address", HASHED, 20, 1);
    vec![
        Case {
            source: BenchSource::Fragments,
            ..of("v4 UDP, first and last fragment by turns", UDP4, 20, 0)
        },
        Case { flows: 1 << 20, ..of("v4 UDP, first fragment, 1M flows", UDP4, 20, 0) },
        Case { flows: 1 << 20, ..of("v6 UDP, first fragment, 1M flows", UDP6, 40, 0) },
        Case { place: Place::Options, ..hashed },
    ]
}

/// Bytes that a fragment carries.
const LEN: usize = BENCH_FRAGMENT as usize * 8;

fn options() -> Vec<Case> {
    let asking = |name, kind, vip, backend| Case {
        does: Does::Ask { vip, backend, asked: 1 },
        ..Case::forward(name, kind, vip, 20)
    };
    let answer = |name, frame, reason| Case::of_frame(name, frame, Does::Stop(reason));
    let echo = echo_request(NEIGHBOUR4.into(), ANSWERED4.into(), [0, 1, 0, 1], &[7; 56]);
    let group = solicited_node(ANSWERED6);
    let solicitation = solicitation(NEIGHBOUR6, group, ANSWERED6, &source_link_layer());
    let mut cases = vec![
        asking("v4 TCP, access list of one prefix", Kind::Ack, LISTED, None),
        asking("v4 TCP SYN, limited vip", Kind::Syn, LIMITED, None),
        asking("v4 TCP, routed", Kind::Ack, ROUTED, Some(ROUTE_BACKEND)),
        answer("echo reply", echo, Reason::EchoReply),
        answer("ARP reply", arp_request(&[], NEIGHBOUR4, ANSWERED4), Reason::ArpReply),
        answer("neighbour solicitation answered", solicitation, Reason::NeighbourReply),
        Case::stop("closed port, dropped", Kind::Ack, "198.51.100.10:81", Reason::ClosedPort),
        Case::stop("closed port, reset", Kind::Syn, "198.51.100.7:81", Reason::RejectReply),
        unreachable(),
        too_big(),
        Case {
            does: Does::Ask { vip: V4, backend: None, asked: 0 },
            ..Case::forward("v4 TCP, everything on for another vip", Kind::Ack, V4, 20)
        },
    ];
    cases.iter_mut().for_each(|case| case.place = Place::Options);
    let for_all = asking("v4 TCP, and a list for all vips", Kind::Ack, V4, None);
    cases.push(Case { place: Place::ListForAll, ..for_all });
    cases
}

/// A datagram of 34 bytes. The answer quotes the whole words of it.
fn unreachable() -> Case {
    const NAME: &str = "closed port, unreachable";
    Case { grown: 28, cut: 2, ..Case::stop(NAME, Kind::Udp, "198.51.100.7:81", Reason::RejectReply) }
}

/// A packet of 1500 bytes, and no room for 20 more on the way to the backend. The answer quotes the first 548 of them.
fn too_big() -> Case {
    const ALL: usize = 1500;
    const QUOTED: u32 = 548;
    let payload = vec![0; ALL - 40];
    let packet = Packet { payload, ..Packet::new(Kind::Ack, CLIENT4, "198.51.100.1:80") };
    let case = Case::stop("too big, answered", Kind::Ack, "198.51.100.1:80", Reason::TooBigReply);
    Case { frame: packet.frame(), grown: 28, cut: ALL as u32 - QUOTED, ..case }
}

/// Attempts of 16 million sources at a vip.
pub(super) fn flood(vip: &'static str) -> Case {
    Case { flows: 1 << 24, ..Case::forward("SYN flood", Kind::Syn, vip, 20) }
}

/// Every slot is treated as one that has changed hands.
fn transition() -> Vec<Case> {
    let case =
        |name, kind, vip, grown| Case { place: Place::Transition, ..Case::forward(name, kind, vip, grown) };
    vec![
        case("v4 TCP in transition, one flow", Kind::Ack, V4, 20).expecting(40.0),
        Case { flows: 1 << 19, ..case("v4 TCP in transition, 512k flows", Kind::Ack, V4, 20) }
            .expecting(110.0),
        case("v4 TCP SYN in transition", Kind::Syn, V4, 20),
        case("v4 UDP in transition", Kind::Udp, UDP4, 20),
        case("v6 TCP in transition", Kind::Ack, V6, 40),
    ]
}

fn million() -> Vec<Case> {
    let does = Does::Ask { vip: LISTED, backend: None, asked: 1 };
    let listed = |name| Case { place: Place::Million, does, ..Case::forward(name, Kind::Ack, LISTED, 20) };
    vec![
        listed("v4 TCP, access list of 1M prefixes"),
        Case { flows: 1 << 20, ..listed("v4 TCP, 1M prefixes, a flow of each") },
    ]
}
