//! Checks that go to a vip's address through the tunnel of one backend, and their answers.
//!
//! The checks themselves are ordinary sockets that know nothing of this: they speak to a *probe address*, of which each vip
//! address has one for each backend, and which no other host ever sees.
//!
//! ```text
//! socket -> probe device -> send_probe: probe address becomes vip, outer headers as the balancer writes them -> backend
//! backend -> is_answer: what a check waits for is taken to the probe device -> take_answer: vip becomes probe address -> socket
//! ```
//!
//! Two checks of one vip at two backends may have the same local port, and their answers would look alike. So the port is
//! translated, too, where that is needed: who waits for what is remembered under the answer's addresses and ports.

use lb_common::abi::{ProbeFlow, ProbeFlowKey, ProbeWay};
use lb_common::checksum;
use lb_common::headers::{Ethernet, Ipv4, Ipv6, Ports};

use crate::decap::mapped;
use crate::encap::{Fit, encapsulate};
use crate::parse::{TCP, UDP};
use crate::{ETHERNET, Frame, ether_type};

const V4: usize = ETHERNET + size_of::<Ipv4>();
const V6: usize = ETHERNET + size_of::<Ipv6>();

/// Where checksums are in their headers.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// Ports that are tried for a check before it is given up.
const PORTS: u16 = 8;
/// A check that has sent nothing for so long waits for nothing any more: probes are never given more than a minute.
const IDLE_NS: u64 = 120_000_000_000;

/// What is known of checks.
pub trait ProbeTables {
    /// Where packets for a probe address go.
    fn way(&self, probe: &[u8; 16]) -> Option<&ProbeWay>;

    /// Who waits for an answer.
    fn flow(&self, key: &ProbeFlowKey) -> Option<ProbeFlow>;

    /// Remembers who does. Without `replace`, only when nobody is known: says whether that was so.
    fn remember(&self, key: &ProbeFlowKey, flow: &ProbeFlow, replace: bool) -> bool;

    /// On the kernel's monotonic clock.
    fn now_ns(&self) -> u64;
}

/// Gives a check's packet, which was sent to a probe address, the headers that take it to its backend. Returns the interface
/// where it leaves; `None`: it is nobody's, and its bytes are undefined.
#[inline(always)]
pub fn send_probe<F: Frame, T: ProbeTables>(frame: &mut F, tables: &T) -> Option<u32> {
    match frame.at::<Ethernet>(0)?.ether_type.get() {
        ether_type::IPV4 => send::<F, T, false>(frame, tables, &read_v4(frame)?),
        ether_type::IPV6 => send::<F, T, true>(frame, tables, &read_v6(frame)?),
        _ => None,
    }
}

/// Whether a packet that came from anywhere answers a check.
#[inline(always)]
pub fn is_answer<F: Frame, T: ProbeTables>(frame: &F, tables: &T) -> bool {
    read(frame).is_some_and(|packet| tables.flow(&packet.answer()).is_some())
}

/// Gives an answer the addresses that the check's socket waits for. `None`: it is nobody's, and is untouched.
#[inline(always)]
pub fn take_answer<F: Frame, T: ProbeTables>(frame: &mut F, tables: &T) -> Option<()> {
    match frame.at::<Ethernet>(0)?.ether_type.get() {
        ether_type::IPV4 => take::<F, T, false>(frame, tables, &read_v4(frame)?),
        ether_type::IPV6 => take::<F, T, true>(frame, tables, &read_v6(frame)?),
        _ => None,
    }
}

/// What tells flows apart.
struct Packet {
    source: [u8; 16],
    destination: [u8; 16],
    ports: Ports,
    protocol: u8,
}

impl Packet {
    /// As an answer is looked for.
    #[inline(always)]
    const fn answer(&self) -> ProbeFlowKey {
        ProbeFlowKey {
            vip: self.source,
            host: self.destination,
            vip_port: self.ports.source,
            host_port: self.ports.destination,
            protocol: self.protocol,
            reserved: [0; 3],
        }
    }
}

#[inline(always)]
fn read<F: Frame>(frame: &F) -> Option<Packet> {
    match frame.at::<Ethernet>(0)?.ether_type.get() {
        ether_type::IPV4 => read_v4(frame),
        ether_type::IPV6 => read_v6(frame),
        _ => None,
    }
}

/// Whole packets without options: what this host's sockets send, and what they get.
#[inline(always)]
fn read_v4<F: Frame>(frame: &F) -> Option<Packet> {
    let ip: &Ipv4 = frame.at(ETHERNET)?;
    if ip.version_ihl != 0x45 || ip.flags_offset.get() & Ipv4::FRAGMENT != 0 || !is_known(ip.protocol) {
        return None;
    }
    let ports = *frame.at(V4)?;
    Some(Packet {
        source: mapped(ip.source),
        destination: mapped(ip.destination),
        ports,
        protocol: ip.protocol,
    })
}

#[inline(always)]
fn read_v6<F: Frame>(frame: &F) -> Option<Packet> {
    let ip: &Ipv6 = frame.at(ETHERNET)?;
    if !is_known(ip.next_header) {
        return None;
    }
    let ports = *frame.at(V6)?;
    Some(Packet { source: ip.source, destination: ip.destination, ports, protocol: ip.next_header })
}

#[inline(always)]
const fn is_known(protocol: u8) -> bool {
    protocol == TCP || protocol == UDP
}

#[inline(always)]
fn send<F: Frame, T: ProbeTables, const IS_V6: bool>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
) -> Option<u32> {
    let way = tables.way(&packet.destination)?;
    let port = port(tables, way, packet)?;
    let change = change(&packet.destination, &way.vip, packet.ports.source, port);
    if IS_V6 {
        frame.at_mut::<Ipv6>(ETHERNET)?.destination = way.vip;
        frame.at_mut::<Ports>(V6)?.source = port;
    } else {
        let [.., a, b, c, d] = way.vip;
        let ip: &mut Ipv4 = frame.at_mut(ETHERNET)?;
        ip.destination = [a, b, c, d];
        mend(&mut ip.checksum, change.address);
        frame.at_mut::<Ports>(V4)?.source = port;
    }
    mend_layer4::<F, IS_V6>(frame, packet.protocol, change.address + change.port)?;
    encapsulate::<F, IS_V6>(frame, ETHERNET, &way.dest, entropy(packet, port), Fit::Dest).ok()?;
    Some(way.dest.ifindex)
}

#[inline(always)]
fn take<F: Frame, T: ProbeTables, const IS_V6: bool>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
) -> Option<()> {
    let flow = tables.flow(&packet.answer())?;
    let change = change(&packet.source, &flow.probe, packet.ports.destination, flow.port);
    if IS_V6 {
        frame.at_mut::<Ipv6>(ETHERNET)?.source = flow.probe;
        frame.at_mut::<Ports>(V6)?.destination = flow.port;
    } else {
        let [.., a, b, c, d] = flow.probe;
        let ip: &mut Ipv4 = frame.at_mut(ETHERNET)?;
        ip.source = [a, b, c, d];
        mend(&mut ip.checksum, change.address);
        frame.at_mut::<Ports>(V4)?.destination = flow.port;
    }
    mend_layer4::<F, IS_V6>(frame, packet.protocol, change.address + change.port)
}

/// The port that the backend sees: the socket's own, unless another check of the vip has it.
#[inline(always)]
fn port<T: ProbeTables>(tables: &T, way: &ProbeWay, packet: &Packet) -> Option<[u8; 2]> {
    let now = tables.now_ns();
    let own =
        ProbeFlow { probe: packet.destination, sent_ns: now, port: packet.ports.source, reserved: [0; 6] };
    let mut key = ProbeFlowKey {
        vip: way.vip,
        host: packet.source,
        vip_port: packet.ports.destination,
        host_port: [0; 2],
        protocol: packet.protocol,
        reserved: [0; 3],
    };
    // Its own is looked for everywhere before a free one is taken: one that was not free before may be by now.
    for round in 0..PORTS {
        key.host_port = candidate(packet, round);
        if let Some(known) = tables.flow(&key)
            && known.probe == own.probe
            && known.port == own.port
        {
            tables.remember(&key, &own, true);
            return Some(key.host_port);
        }
    }
    for round in 0..PORTS {
        key.host_port = candidate(packet, round);
        let is_over = tables.flow(&key).is_some_and(|known| now.saturating_sub(known.sent_ns) > IDLE_NS);
        if tables.remember(&key, &own, is_over) {
            return Some(key.host_port);
        }
    }
    None
}

/// The ports of a flow in the order in which they are tried. All but the first are in the upper half.
#[inline(always)]
fn candidate(packet: &Packet, round: u16) -> [u8; 2] {
    if round == 0 {
        return packet.ports.source;
    }
    let own = u16::from_be_bytes(packet.ports.source);
    let [.., high, low] = packet.destination;
    let probe = u16::from_be_bytes([high, low]);
    // Odd factors, so that none but equal checks go the same way.
    let mixed =
        own.wrapping_mul(0x6255) ^ probe.wrapping_mul(0x9e37).wrapping_add(round.wrapping_mul(0x2f1b));
    (mixed | 0x8000).to_be_bytes()
}

/// What is known of no flow by its ports alone is spread by them, as the balancer does.
#[inline(always)]
const fn entropy(packet: &Packet, port: [u8; 2]) -> u32 {
    let [a, b] = port;
    let [c, d] = packet.ports.destination;
    u32::from_be_bytes([a, b, c, d]).wrapping_mul(0x9e37_79b1)
}

/// What is to be added to checksums' sums.
struct Change {
    address: u64,
    port: u64,
}

#[inline(always)]
fn change(old: &[u8; 16], new: &[u8; 16], old_port: [u8; 2], new_port: [u8; 2]) -> Change {
    let word = |bytes: &[u8; 16], at: usize| {
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let mut address = 0;
    for at in [0, 4, 8, 12] {
        address += u64::from(!word(old, at)) + u64::from(word(new, at));
    }
    let port = u64::from(!u16::from_ne_bytes(old_port)) + u64::from(u16::from_ne_bytes(new_port));
    Change { address, port }
}

/// RFC 1624, equation 3.
#[inline(always)]
fn mend(checksum: &mut [u8; 2], change: u64) {
    let sum = u64::from(!u16::from_ne_bytes(*checksum)) + change;
    *checksum = (!checksum::fold_long(sum)).to_ne_bytes();
}

#[inline(always)]
fn mend_layer4<F: Frame, const IS_V6: bool>(frame: &mut F, protocol: u8, change: u64) -> Option<()> {
    let layer4 = if IS_V6 { V6 } else { V4 };
    if protocol == TCP {
        mend(frame.at_mut(layer4 + TCP_CHECKSUM)?, change);
        return Some(());
    }
    let checksum: &mut [u8; 2] = frame.at_mut(layer4 + UDP_CHECKSUM)?;
    // RFC 768: 0 means none.
    if *checksum != [0; 2] {
        mend(checksum, change);
        if *checksum == [0; 2] {
            *checksum = [0xff; 2];
        }
    }
    Some(())
}
