//! IPv4 and IPv6: headers, options, extension headers, and datagrams in fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use lb_common::checksum;

use super::{Ends, Generator, MTU};

/// What stands behind an IP header, and its protocol.
pub(super) struct Upper {
    pub(super) protocol: u8,
    pub(super) bytes: Vec<u8>,
}

impl Generator {
    /// One packet, or the fragments of one.
    pub(super) fn packets(&mut self, ends: &Ends) -> Vec<Vec<u8>> {
        let upper = self.upper(ends);
        let rare = if self.scene.asks_for_fragments { 2 } else { 24 };
        let is_fragmented = upper.bytes.len() + 120 > MTU || self.random.one_in(rare);
        match (ends.source, ends.destination, is_fragmented) {
            (IpAddr::V4(source), IpAddr::V4(destination), false) => {
                let flags = self.random.pick(&[0, 0x4000, 0x4000, 0x4000, 0x8000]);
                let id = self.identification();
                vec![self.v4(source, destination, id, flags, &upper)]
            }
            (IpAddr::V6(source), IpAddr::V6(destination), false) => {
                let upper = self.extended(upper);
                vec![self.v6(source, destination, &upper)]
            }
            (IpAddr::V4(source), IpAddr::V4(destination), true) => {
                self.fragments_v4(source, destination, &upper)
            }
            (IpAddr::V6(source), IpAddr::V6(destination), true) => {
                self.fragments_v6(source, destination, upper)
            }
            _ => Vec::new(),
        }
    }

    /// `flags_offset` as in the header.
    pub(super) fn v4(
        &mut self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        id: u16,
        flags_offset: u16,
        upper: &Upper,
    ) -> Vec<u8> {
        let random = &mut self.random;
        let options = if random.one_in(8) { random.below(11) * 4 } else { 0 };
        let len = (20 + options + upper.bytes.len()) as u16;
        let mut header = vec![0x45 + (options / 4) as u8, 0];
        if random.one_in(4) {
            header[1] = random.byte();
        }
        header.extend(len.to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend(flags_offset.to_be_bytes());
        header.extend([self.hops(), upper.protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend((0..options).map(|_| self.random.pick(&[1, 1, 1, 7, 0x83])));
        let sum = !checksum::fold(checksum::sum(&header));
        header[10..12].copy_from_slice(&sum.to_ne_bytes());
        [header, upper.bytes.clone()].concat()
    }

    pub(super) fn v6(&mut self, source: Ipv6Addr, destination: Ipv6Addr, upper: &Upper) -> Vec<u8> {
        let random = &mut self.random;
        let class_label = if random.one_in(4) { random.next() as u32 & 0x0fff_ffff } else { 0 };
        let mut packet = (0x6000_0000 | class_label).to_be_bytes().to_vec();
        packet.extend((upper.bytes.len() as u16).to_be_bytes());
        packet.extend([upper.protocol, self.hops()]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(&upper.bytes);
        packet
    }

    /// Puts extension headers in front, sometimes more than are walked (RFC 8200, section 4).
    fn extended(&mut self, mut upper: Upper) -> Upper {
        const KINDS: [u8; 6] = [0, 43, 60, 60, 51, 135];
        let random = &mut self.random;
        let count = if random.one_in(5) { random.below(7) } else { 0 };
        for _ in 0..count {
            let units = random.below(3);
            let mut header = vec![upper.protocol, units as u8];
            header.extend(random.bytes(units * 8 + 6));
            // Segments left, of a routing header.
            header[3] = random.pick(&[0, 0, 0, 1]);
            header.extend(&upper.bytes);
            upper = Upper { protocol: random.pick(&KINDS), bytes: header };
        }
        upper
    }

    fn fragments_v4(&mut self, source: Ipv4Addr, destination: Ipv4Addr, upper: &Upper) -> Vec<Vec<u8>> {
        let id = self.identification();
        let pieces = self.pieces(upper.bytes.len());
        let fragment = |piece: Range<usize>| {
            let more = if piece.end < upper.bytes.len() { 0x2000 } else { 0 };
            let flags_offset = more | (piece.start / 8) as u16;
            let part = Upper { protocol: upper.protocol, bytes: upper.bytes[piece].to_vec() };
            self.v4(source, destination, id, flags_offset, &part)
        };
        pieces.into_iter().map(fragment).collect()
    }

    fn fragments_v6(&mut self, source: Ipv6Addr, destination: Ipv6Addr, upper: Upper) -> Vec<Vec<u8>> {
        let upper = self.extended(upper);
        let id = u32::from(self.identification()).to_be_bytes();
        let pieces = self.pieces(upper.bytes.len());
        let fragment = |piece: Range<usize>| {
            let offset_more = piece.start as u16 | u16::from(piece.end < upper.bytes.len());
            let mut bytes = vec![upper.protocol, 0];
            bytes.extend(offset_more.to_be_bytes());
            bytes.extend(id);
            bytes.extend(&upper.bytes[piece]);
            let fragment = Upper { protocol: 44, bytes };
            let fragment = if self.random.one_in(8) { self.extended(fragment) } else { fragment };
            self.v6(source, destination, &fragment)
        };
        pieces.into_iter().map(fragment).collect()
    }

    /// Few, so that they come again.
    const fn identification(&mut self) -> u16 {
        self.random.below(8) as u16
    }

    /// What of `len` bytes each fragment carries: in order, from behind or in no order at all, now and then with pieces
    /// between that repeat others or overlap them.
    fn pieces(&mut self, len: usize) -> Vec<Range<usize>> {
        let random = &mut self.random;
        // A multiple of 8; the smallest cut through a TCP or UDP header's end.
        let size = random.pick(&[8, 16, 24, 64, 552, 1232]).max(len.div_ceil(16 * 8) * 8);
        let mut pieces: Vec<_> =
            (0..len.max(1)).step_by(size).map(|start| start..len.min(start + size)).collect();
        match random.below(4) {
            0 => pieces.reverse(),
            1 => (1..pieces.len()).for_each(|at| pieces.swap(at, random.below(at + 1))),
            _ => {}
        }
        for _ in 0..if random.one_in(4) { random.below(4) } else { 0 } {
            let start = random.below(len / 8 + 1) * 8;
            let end = len.min(start + random.below(len / 8 + 1) * 8);
            let again =
                if random.one_in(2) { pieces[random.below(pieces.len())].clone() } else { start..end };
            pieces.insert(random.below(pieces.len() + 1), again);
        }
        pieces
    }

    /// Time to live or hop limit. Neighbour discovery asks for 255.
    const fn hops(&mut self) -> u8 {
        if self.random.one_in(20) { self.random.pick(&[2, 1, 0]) } else { self.random.pick(&[64, 255]) }
    }
}

/// Writes a checksum over a pseudo header and `bytes` at `at`, where zeros are (RFC 768, RFC 9293, RFC 8200 8.1).
pub(super) fn seal(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &mut [u8], at: usize) {
    let address = |address: IpAddr| match address {
        IpAddr::V4(v4) => checksum::sum(&v4.octets()),
        IpAddr::V6(v6) => checksum::sum(&v6.octets()),
    };
    let [len_0, len_1] = (bytes.len() as u16).to_be_bytes();
    let pseudo = checksum::sum(&[0, protocol, len_0, len_1]);
    let sum = address(source) + address(destination) + pseudo + checksum::sum(bytes);
    let sum = !checksum::fold(sum);
    bytes[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}
