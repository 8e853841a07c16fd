//! What packets are offered, and their template for the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use lb_common::abi::{OFFER_FLOWS, OFFER_HEAD, OFFER_LENS, Offer, OfferTransport, Span};
use lb_common::checksum;
use lb_common::headers::{Be16, Ethernet, Ipv4, Ipv6, Ports, TcpStart, Udp};
use lb_ebpf::offered::{head_len, offsets, put, shortest};

use super::zipf;
use crate::lab::Family;
use crate::packets::CLIENT_SIDE;

/// Where packets go, when nothing else is said.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);

/// Clients of the lab are 10.0.0.0 and the next ones, and these with their last four bytes.
const CLIENTS4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const CLIENTS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0);

/// Frames of the simple Internet mix, 7 : 4 : 1, without the checksum behind a frame.
pub const IMIX: [u16; 12] = [60, 572, 60, 60, 572, 60, 1496, 60, 572, 60, 572, 60];

/// What a run offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    pub traffic: Traffic,
    pub vip: IpAddr,
    /// The vip's.
    pub port: u16,
    /// The first client: the flow's number comes into its last bytes, which are zero.
    pub sources: IpAddr,
    /// Of the frames: source, and destination.
    pub macs: [[u8; 6]; 2],
    pub size: Size,
    /// From 1 to 16 million; each has a source address of its own.
    pub flows: u32,
    pub spread: Spread,
    /// Packets a second of all cores together; `None`: as many as they make.
    pub rate: Option<f64>,
    /// Packets carry the time at which they were made, for the sink to tell how late they arrive.
    pub timed: bool,
    /// QUIC's connection ids.
    pub connection_id: [u8; 13],
}

/// What kind of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// TCP: every packet opens a connection.
    Syn,
    /// TCP: none does.
    Ack,
    /// TCP: one in eight does.
    Mixed,
    Udp,
    /// Short headers of QUIC version 1.
    Quic,
}

/// How long frames are, from the Ethernet header to the last byte of the IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As short as headers and stamp allow, but 60 bytes at least.
    Least,
    /// So many bytes.
    Frame(u16),
    /// [`IMIX`].
    Imix,
}

/// How packets are spread over flows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Each flow has as many as any other, and all have had one before the first has the next.
    Uniform,
    /// The flow of rank `n` has a share of `n` to the power of minus this, told in 4096 steps.
    Zipf(f64),
}

impl Offered {
    /// The shortest packets of 65536 flows to [`VIP4`] or [`VIP6`], as many as cores make, in the lab's network.
    #[must_use]
    pub const fn new(family: Family, traffic: Traffic) -> Self {
        let (vip, sources) = match family {
            Family::V4 => (IpAddr::V4(VIP4), IpAddr::V4(CLIENTS4)),
            Family::V6 => (IpAddr::V6(VIP6), IpAddr::V6(CLIENTS6)),
        };
        let port = match traffic {
            Traffic::Syn | Traffic::Ack | Traffic::Mixed => 80,
            Traffic::Udp => 53,
            Traffic::Quic => 443,
        };
        Self {
            traffic,
            vip,
            port,
            sources,
            macs: CLIENT_SIDE,
            size: Size::Least,
            flows: 1 << 16,
            spread: Spread::Uniform,
            rate: None,
            timed: false,
            connection_id: [0x77; 13],
        }
    }

    /// The vip as the configuration names it, such as `198.51.100.10:80/tcp`.
    #[must_use]
    pub fn vip_key(&self) -> String {
        let protocol = if self.transport() == OfferTransport::Tcp { "tcp" } else { "udp" };
        format!("{}/{protocol}", std::net::SocketAddr::new(self.vip, self.port))
    }

    /// What the kernel is told, for each of so many cores.
    ///
    /// # Errors
    /// When a frame is too short for its headers and stamp, or too long for an Ethernet frame.
    pub fn offer(&self, cores: usize) -> Result<Offer> {
        ensure!(
            self.vip.is_ipv4() == self.sources.is_ipv4(),
            "sources {} are not of the family of {}",
            self.sources,
            self.vip
        );
        ensure!(
            (1..=OFFER_FLOWS).contains(&self.flows),
            "{} flows: 1 to {OFFER_FLOWS} can be told apart",
            self.flows
        );
        let (v6, transport) = (self.vip.is_ipv6(), self.transport());
        let least = shortest(v6, transport, self.timed);
        let lens = self.lens(least)?;
        let to_stamp = head_len(v6, transport) - offsets(v6).0;
        let mut offer = Offer {
            ip_version: if v6 { 6 } else { 4 },
            transport: transport as u32,
            flows: self.flows,
            is_skewed: (self.spread != Spread::Uniform).into(),
            syn_every: match self.traffic {
                Traffic::Syn => 1,
                Traffic::Mixed => 8,
                Traffic::Ack | Traffic::Udp | Traffic::Quic => 0,
            },
            is_timed: self.timed.into(),
            interval_ns: self.rate.map_or(0, |rate| (1e9 * cores as f64 / rate).round().max(1.0) as u64),
            limit: u64::MAX,
            to_stamp: to_stamp as u32,
            longest: lens.iter().copied().max().unwrap_or(0).into(),
            len_count: lens.len() as u32,
            ..bytemuck::Zeroable::zeroed()
        };
        offer.lens[..lens.len()].copy_from_slice(&lens);
        self.write_head(&mut offer);
        Ok(offer)
    }

    /// Which flows get how many packets, where they are not all alike.
    pub(super) fn spans(&self) -> Vec<Span> {
        match self.spread {
            Spread::Uniform => Vec::new(),
            Spread::Zipf(exponent) => zipf::spans(self.flows, exponent),
        }
    }

    fn lens(&self, least: usize) -> Result<Vec<u16>> {
        const LONGEST: u16 = 1514;
        let lens = match self.size {
            Size::Least => vec![least.max(60) as u16],
            Size::Frame(len) => vec![len],
            // The shortest of the mix is as short as it can be.
            Size::Imix => IMIX.iter().map(|len| (*len).max(least as u16)).collect(),
        };
        const { assert!(IMIX.len() <= OFFER_LENS) };
        for len in &lens {
            ensure!(
                usize::from(*len) >= least && *len <= LONGEST,
                "frames of {len} bytes: {least} to {LONGEST} hold headers and stamp"
            );
        }
        Ok(lens)
    }

    const fn transport(&self) -> OfferTransport {
        match self.traffic {
            Traffic::Syn | Traffic::Ack | Traffic::Mixed => OfferTransport::Tcp,
            Traffic::Udp => OfferTransport::Udp,
            Traffic::Quic => OfferTransport::Quic,
        }
    }

    /// The headers, and the sums of what never changes in them.
    fn write_head(&self, offer: &mut Offer) {
        let transport = self.transport();
        let head = &mut offer.head;
        let (ip_at, transport_at) = offsets(self.vip.is_ipv6());
        let ethernet = |ether_type| Ethernet {
            destination: self.macs[1],
            source: self.macs[0],
            ether_type: Be16::new(ether_type),
        };
        let protocol = if transport == OfferTransport::Tcp { 6 } else { 17 };
        let ports = Ports { source: [0; 2], destination: self.port.to_be_bytes() };
        match transport {
            OfferTransport::Tcp => {
                let start = TcpStart {
                    ports,
                    sequence: [0, 0, 3, 0xe9],
                    acknowledgement: [0, 0, 0, 77],
                    data_offset: 5 << 4,
                    flags: 0,
                };
                fits(put(head, transport_at, &start));
                fits(put(head, transport_at + size_of::<TcpStart>(), &Be16::new(4096)));
            }
            OfferTransport::Udp | OfferTransport::Quic => {
                fits(put(head, transport_at, &Udp { ports, len: Be16::default(), checksum: [0; 2] }));
            }
        }
        if transport == OfferTransport::Quic {
            // RFC 9000, section 17.3.1: the fixed bit alone.
            let at = transport_at + size_of::<Udp>();
            fits(put(head, at, &0x40_u8));
            fits(put(head, at + 1, &self.connection_id));
        }
        let mut sum = checksum::sum(&head[transport_at..]) + u32::from(Be16::new(protocol.into()).word());
        match (self.vip, self.sources) {
            (IpAddr::V4(vip), IpAddr::V4(sources)) => {
                let ip = Ipv4 {
                    version_ihl: 0x45,
                    tos: 0,
                    total_len: Be16::default(),
                    id: Be16::default(),
                    flags_offset: Be16::new(Ipv4::DF),
                    ttl: 64,
                    protocol,
                    checksum: [0; 2],
                    source: sources.octets(),
                    destination: vip.octets(),
                };
                // The source is added for each packet, with the flow in it.
                let fixed = Ipv4 { source: [0; 4], ..ip };
                offer.ip_sum = checksum::sum(bytemuck::bytes_of(&fixed));
                sum += checksum::sum(&vip.octets());
                fits(put(head, 0, &ethernet(0x0800)));
                fits(put(head, ip_at, &ip));
            }
            (IpAddr::V6(vip), IpAddr::V6(sources)) => {
                let ip = Ipv6 {
                    version_class_label: [0x60, 0, 0, 0],
                    payload_len: Be16::default(),
                    next_header: protocol,
                    hop_limit: 64,
                    source: sources.octets(),
                    destination: vip.octets(),
                };
                sum += checksum::sum(&ip.source) + checksum::sum(&ip.destination);
                fits(put(head, 0, &ethernet(0x86dd)));
                fits(put(head, ip_at, &ip));
            }
            _ => {}
        }
        offer.transport_sum = sum;
    }
}

/// All headers fit a template.
fn fits(put: Option<()>) {
    const { assert!(OFFER_HEAD >= 76) };
    put.expect("the largest headers take 76 bytes");
}
