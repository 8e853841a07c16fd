//! Packets, built by etherparse: an implementation that is not ours.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, PacketBuilder, PacketBuilderStep};

/// MAC addresses of packets that come in.
pub const CLIENT_SIDE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xcc, 1], [2, 0, 0, 0, 0xaa, 1]];

/// A packet of a client.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub kind: Kind,
    pub tags: Vec<u16>,
    pub ttl: u8,
    pub tos: u8,
    pub payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Syn,
    Ack,
    Udp,
}

impl Packet {
    /// A packet from `source` to `destination` with a few bytes of payload.
    ///
    /// # Panics
    /// When one of the texts is no socket address.
    #[must_use]
    pub fn new(kind: Kind, source: &str, destination: &str) -> Self {
        let parse = |text: &str| text.parse().expect("a socket address");
        Self {
            source: parse(source),
            destination: parse(destination),
            kind,
            tags: Vec::new(),
            ttl: 61,
            tos: 0,
            payload: b"payload".to_vec(),
        }
    }

    /// The frame's bytes.
    ///
    /// # Panics
    /// When the addresses are of different families.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let [source, destination] = CLIENT_SIDE;
        let ethernet = PacketBuilder::ethernet2(source, destination);
        match self.tags.as_slice() {
            [] => self.network(ethernet),
            [id] => self.network(ethernet.single_vlan((*id).try_into().expect("a VLAN id"))),
            [outer, inner, ..] => self.network(ethernet.double_vlan(
                (*outer).try_into().expect("a VLAN id"),
                (*inner).try_into().expect("a VLAN id"),
            )),
        }
    }

    fn network<L: Link>(&self, link: L) -> Vec<u8> {
        let ip = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    self.ttl,
                    IpNumber::TCP,
                    source.octets(),
                    destination.octets(),
                )
                .expect("a header");
                header.dscp = (self.tos >> 2).try_into().expect("six bits");
                header.ecn = (self.tos & 3).try_into().expect("two bits");
                header.identification = 0x1234;
                etherparse::IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = etherparse::Ipv6Header {
                    traffic_class: self.tos,
                    hop_limit: self.ttl,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Default::default()
                };
                etherparse::IpHeaders::Ipv6(header, Default::default())
            }
            _ => panic!("{self:?} mixes address families"),
        };
        self.transport(link.ip(ip))
    }

    fn transport(&self, step: PacketBuilderStep<etherparse::IpHeaders>) -> Vec<u8> {
        let (source, destination) = (self.source.port(), self.destination.port());
        let mut frame = Vec::new();
        let written = match self.kind {
            Kind::Syn => step.tcp(source, destination, 1000, 4096).syn().write(&mut frame, &self.payload),
            Kind::Ack => step.tcp(source, destination, 1001, 4096).ack(77).write(&mut frame, &self.payload),
            Kind::Udp => step.udp(source, destination).write(&mut frame, &self.payload),
        };
        written.expect("a vector takes everything");
        frame
    }
}

/// The builder steps that an IP header may follow.
trait Link {
    fn ip(self, ip: etherparse::IpHeaders) -> PacketBuilderStep<etherparse::IpHeaders>;
}

impl Link for PacketBuilderStep<etherparse::Ethernet2Header> {
    fn ip(self, ip: etherparse::IpHeaders) -> PacketBuilderStep<etherparse::IpHeaders> {
        Self::ip(self, ip)
    }
}

impl Link for PacketBuilderStep<etherparse::VlanHeader> {
    fn ip(self, ip: etherparse::IpHeaders) -> PacketBuilderStep<etherparse::IpHeaders> {
        Self::ip(self, ip)
    }
}
