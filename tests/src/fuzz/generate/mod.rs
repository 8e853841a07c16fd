//! Valid packets of every kind that a balancer meets, most of them for the world's vips.
//!
//! Built here byte by byte, not by etherparse: half of what is wanted (fragments, odd extension headers, messages about
//! packets) no builder offers. Checksums are right; what is wrong is [`super::mutate`]'s work.
//!
//! ```text
//! fresh: link (Ethernet, tags) -> network (IPv4, IPv6, ARP) -> transport (TCP, UDP, tunnels) or control (ICMP, ND)
//! ```

mod control;
mod ip;
mod transport;

use std::net::IpAddr;

use lb_user::state::{Fragments, Protocol, VipKey};

use super::mutate;
use super::random::Random;
use crate::packets::CLIENT_SIDE;
use crate::world::{BALANCER, World};

/// Bytes of the largest IP packet, unless it is cut into fragments.
const MTU: usize = 1500;

/// Fragments that wait to be sent.
const MOST_PENDING: usize = 64;

/// An endless stream of frames for one world, the same for the same seed.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    scene: Scene,
    /// Fragments of datagrams under way, each one's from the last to the first.
    pending: Vec<Vec<u8>>,
    previous: Vec<u8>,
}

/// Whom packets can be for.
#[derive(Debug)]
struct Scene {
    vips: Vec<VipKey>,
    backends: Vec<IpAddr>,
    /// Many packets come in fragments.
    asks_for_fragments: bool,
}

/// Who sends a packet to whom.
#[derive(Clone, Copy, Debug)]
struct Ends {
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

impl Generator {
    #[must_use]
    pub fn new(world: &World, random: Random) -> Self {
        let scene = Scene {
            vips: world.desired.vips.keys().copied().collect(),
            backends: world.hops.keys().copied().collect(),
            asks_for_fragments: world
                .desired
                .vips
                .values()
                .any(|vip| vip.options.fragments != Fragments::default()),
        };
        Self { random, scene, pending: Vec::new(), previous: vec![0; 64] }
    }

    /// The next frame: every other one is damaged.
    pub fn frame(&mut self) -> Vec<u8> {
        let rare = if self.scene.asks_for_fragments { 2 } else { 4 };
        let frame = if !self.pending.is_empty() && self.random.one_in(rare) {
            let last = self.pending.len() - 1;
            let at = if self.random.one_in(4) { self.random.below(last + 1) } else { last };
            self.pending.remove(at)
        } else {
            self.fresh()
        };
        let sent = if self.random.one_in(2) {
            frame.clone()
        } else {
            mutate::frame(&mut self.random, &frame, &self.previous)
        };
        self.previous = frame;
        sent
    }

    fn fresh(&mut self) -> Vec<u8> {
        if self.random.one_in(20) {
            let (ether_type, payload) = self.arp_or_other();
            return self.link(ether_type, &payload);
        }
        let ends = self.ends();
        let mut packets = self.packets(&ends);
        let ether_type = if ends.destination.is_ipv4() { 0x0800 } else { 0x86dd };
        packets.reverse();
        let first = packets.pop().unwrap_or_default();
        for packet in packets {
            let frame = self.link(ether_type, &packet);
            self.pending.push(frame);
        }
        // The oldest ones are lost.
        self.pending.drain(..self.pending.len().saturating_sub(MOST_PENDING));
        self.link(ether_type, &first)
    }

    /// The Ethernet header and up to three tags, one more than are understood.
    fn link(&mut self, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let random = &mut self.random;
        let to = match random.below(10) {
            0 => [0xff; 6],
            1 => [0x33, 0x33, 0xff, 0, 0, random.byte()],
            2 => random.next().to_be_bytes()[..6].try_into().unwrap_or_default(),
            _ => BALANCER.0,
        };
        let from = if random.one_in(10) { BALANCER.0 } else { CLIENT_SIDE[0] };
        let mut frame = [to, from].concat();
        let tags = if random.one_in(4) { random.pick(&[1, 1, 1, 2, 2, 3]) } else { 0 };
        for _ in 0..tags {
            frame.extend(random.pick(&[0x8100u16, 0x8100, 0x88a8]).to_be_bytes());
            frame.extend((random.word() & 0xe064).to_be_bytes());
        }
        frame.extend(ether_type.to_be_bytes());
        frame.extend(payload);
        if payload.len() < 46 && random.one_in(2) {
            // Short frames arrive padded from a real network.
            frame.resize(frame.len() + 46 - payload.len(), 0);
        }
        frame
    }

    /// Mostly a client and a vip.
    fn ends(&mut self) -> Ends {
        let random = &mut self.random;
        let vip = (!self.scene.vips.is_empty()).then(|| random.pick(&self.scene.vips));
        let (mut destination, mut destination_port, mut protocol) = match vip {
            Some(vip) => (vip.address, vip.port, vip.protocol.number()),
            None => (IpAddr::from([198, 51, 100, 1]), 80, Protocol::Tcp.number()),
        };
        if destination_port == 0 {
            destination_port = random.pick(&[80, 443, 6080, 9999]);
        }
        match random.below(16) {
            0 => destination_port = random.word(),
            1 => protocol = TCP + UDP - protocol,
            2 => destination = self.foreign(destination.is_ipv4()),
            _ => {}
        }
        let source = self.client(destination.is_ipv4());
        let random = &mut self.random;
        let source_port = if random.one_in(4) { random.word() } else { 40_000 + random.below(64) as u16 };
        Ends { source, destination, source_port, destination_port, protocol }
    }

    /// A few clients come again and again; some addresses are no client's.
    fn client(&mut self, is_v4: bool) -> IpAddr {
        let random = &mut self.random;
        match (random.below(12), is_v4) {
            (0, true) => IpAddr::from((random.next() as u32).to_be_bytes()),
            (0, false) => {
                IpAddr::from((u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes())
            }
            (1, _) => self.foreign(is_v4),
            (_, true) => IpAddr::from([203, 0, 113, random.below(32) as u8]),
            (_, false) => {
                IpAddr::from([0x2001, 0xdb8, 9, random.below(4) as u16, 0, 0, 0, random.below(8) as u16])
            }
        }
    }

    /// An address of a backend, of the balancer's tunnels, of a vip, or of nobody.
    fn foreign(&mut self, is_v4: bool) -> IpAddr {
        let random = &mut self.random;
        let vips = self.scene.vips.iter().map(|vip| vip.address);
        let known: Vec<IpAddr> = vips
            .chain(self.scene.backends.iter().copied())
            .filter(|known| known.is_ipv4() == is_v4)
            .collect();
        if !known.is_empty() && random.one_in(2) {
            return random.pick(&known);
        }
        let tail = random.byte();
        if is_v4 {
            random.pick(&[[198, 51, 100, tail], [192, 0, 2, 10], [127, 0, 0, 1], [224, 0, 0, 1]]).into()
        } else {
            let [solicited, link_local] = [[0xff02, 0, 0, 0, 0, 1, 0xff00, 1], [0xfe80, 0, 0, 0, 0, 0, 0, 1]];
            random.pick(&[[0x2001, 0xdb8, 0, 0, 0, 0, 0, tail.into()], solicited, link_local, [0; 8]]).into()
        }
    }
}
