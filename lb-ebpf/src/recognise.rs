//! Which packets on a real interface are the generator's. There, unlike in the benchmark's lab, everybody else's arrive as
//! well and must not be touched: a packet is taken only when every header says what the offer says, and the source port is
//! the one that the source address's flow has. Never looks at what is in front of a stamp that it does not know.

use lb_common::abi::{Offer, OfferTransport};
use lb_common::headers::{Be16, Ethernet, Ipv4, Ipv6, TcpStart, Udp, words_v6};

use crate::Frame;
use crate::offered::{Arrival, L3, UDP, V4, V6, gue_len, is_gue, port_of, read_inner};

const IS_TCP: u32 = OfferTransport::Tcp as u32;
const IS_QUIC: u32 = OfferTransport::Quic as u32;

/// Where a tunnel may put the client's packet, at most; a bound for the verifier.
const MOST: usize = 127;

/// What the sink reads of an offered packet, behind a tunnel header or without; `None` when it is none. The backend is the
/// last byte of the outer destination address; without a tunnel that of the MAC address.
#[must_use]
#[inline(always)]
pub fn recognise<F: Frame>(frame: &F, offer: &Offer) -> Option<Arrival> {
    let ethernet: &Ethernet = frame.at(0)?;
    let (l4, protocol, outer) = match ethernet.ether_type.get() {
        0x0800 => {
            let ip: &Ipv4 = frame.at(L3)?;
            if ip.version_ihl != 0x45 {
                return None;
            }
            (L3 + V4, ip.protocol, ip.destination[3])
        }
        0x86dd => {
            let ip: &Ipv6 = frame.at(L3)?;
            (L3 + V6, ip.next_header, ip.destination[15])
        }
        _ => return None,
    };
    let (inner, backend) = match protocol {
        4 | 41 => (l4, outer),
        17 if is_gue(frame, l4) => (l4 + UDP + gue_len(frame, l4 + UDP)?, outer),
        6 | 17 => (L3, ethernet.destination[5]),
        _ => return None,
    };
    let inner = inner & MOST;
    let (l4, flow) = network(frame, offer, inner)?;
    transport(frame, offer, l4, flow)?;
    read_inner(frame, offer, inner, backend)
}

/// Where what follows the IP header is, and the flow, when the header is an offered one.
#[inline(always)]
fn network<F: Frame>(frame: &F, offer: &Offer, offset: usize) -> Option<(usize, u32)> {
    let (l4, flow, same) = if offer.ip_version == 6 {
        let (ip, offered): (&Ipv6, &Ipv6) = (frame.at(offset)?, template(offer, L3)?);
        let (source, sources) = (words_v6(ip.source), words_v6(offered.source));
        let (to, vip) = (words_v6(ip.destination), words_v6(offered.destination));
        // The flow is in the last four bytes.
        let same = ip.version_class_label[0] >> 4 == 6
            && ip.next_header == offered.next_header
            && source[0] == sources[0]
            && source[1] as u32 == sources[1] as u32
            && to[0] == vip[0]
            && to[1] == vip[1];
        let [.., a, b, c, d] = ip.source;
        (offset + V6, u32::from_be_bytes([a, b, c, d]), same)
    } else {
        let (ip, offered): (&Ipv4, &Ipv4) = (frame.at(offset)?, template(offer, L3)?);
        let same = ip.version_ihl == 0x45
            && ip.protocol == offered.protocol
            && ip.flags_offset.get() & Ipv4::FRAGMENT == 0
            && u32::from_ne_bytes(ip.destination) == u32::from_ne_bytes(offered.destination);
        // Offered sources are one address with the flow in bits that are zero there.
        let flow = u32::from_be_bytes(ip.source) ^ u32::from_be_bytes(offered.source);
        (offset + V4, flow, same)
    };
    (same && flow < offer.flows).then_some((l4, flow))
}

/// `Some` when the transport header is the flow's.
#[inline(always)]
fn transport<F: Frame>(frame: &F, offer: &Offer, l4: usize, flow: u32) -> Option<()> {
    let offered_at = if offer.ip_version == 6 { L3 + V6 } else { L3 + V4 };
    let (ports, vip_port, same) = if offer.transport == IS_TCP {
        let (tcp, offered): (&TcpStart, &TcpStart) = (frame.at(l4)?, template(offer, offered_at)?);
        let same = u32::from_ne_bytes(tcp.sequence) == u32::from_ne_bytes(offered.sequence)
            && u32::from_ne_bytes(tcp.acknowledgement) == u32::from_ne_bytes(offered.acknowledgement)
            && tcp.data_offset == offered.data_offset;
        (tcp.ports, offered.ports.destination, same)
    } else {
        let (udp, offered): (&Udp, &Udp) = (frame.at(l4)?, template(offer, offered_at)?);
        // RFC 9000, section 17.3.1: the fixed bit alone.
        let same = offer.transport != IS_QUIC || *frame.at::<u8>(l4 + UDP)? == 0x40;
        (udp.ports, offered.ports.destination, same)
    };
    let from_flow = Be16(ports.source).get() == port_of(flow);
    (same && from_flow && u16::from_ne_bytes(ports.destination) == u16::from_ne_bytes(vip_port)).then_some(())
}

/// A header of the offer.
#[inline(always)]
fn template<T: bytemuck::Pod>(offer: &Offer, offset: usize) -> Option<&T> {
    bytemuck::try_from_bytes(offer.head.get(offset..offset + size_of::<T>())?).ok()
}
