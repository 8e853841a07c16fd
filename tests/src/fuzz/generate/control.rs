//! What is said about packets and neighbours: ICMP, ICMPv6, neighbour discovery, ARP, and frames that are not IP.

use std::net::{IpAddr, Ipv6Addr};

use lb_common::checksum;

use super::ip::{Upper, seal};
use super::{Ends, Generator};
use crate::packets::CLIENT_SIDE;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Generator {
    pub(super) fn icmp(&mut self, ends: &Ends) -> Upper {
        match (ends.source, ends.destination) {
            (IpAddr::V6(_), IpAddr::V6(vip)) => {
                let mut bytes = self.icmpv6(ends, vip);
                seal(ends.source, ends.destination, ICMPV6, &mut bytes, 2);
                Upper { protocol: ICMPV6, bytes }
            }
            _ => {
                let mut bytes = self.icmpv4(ends);
                let sum = !checksum::fold(checksum::sum(&bytes));
                bytes[2..4].copy_from_slice(&sum.to_ne_bytes());
                Upper { protocol: ICMP, bytes }
            }
        }
    }

    /// Echo, or an error with the packet that it is about (RFC 792; RFC 1191 for the size in "fragmentation needed").
    fn icmpv4(&mut self, ends: &Ends) -> Vec<u8> {
        const ERRORS: [[u8; 2]; 7] = [[3, 4], [3, 4], [3, 3], [3, 13], [11, 0], [12, 0], [5, 1]];
        if self.random.one_in(3) {
            let kind = self.random.pick(&[8, 8, 0, 13]);
            return self.echo([kind, 0]);
        }
        let kind = self.random.pick(&ERRORS);
        let size = self.random.pick(&[0, 68, 1280, 1400, 1500, 65_535]);
        self.error(kind, u32::from(size as u16), ends)
    }

    /// RFC 4443; RFC 4861 for neighbours.
    fn icmpv6(&mut self, ends: &Ends, vip: Ipv6Addr) -> Vec<u8> {
        const ERRORS: [[u8; 2]; 5] = [[2, 0], [2, 0], [1, 4], [3, 0], [4, 1]];
        match self.random.below(4) {
            0 => {
                let kind = self.random.pick(&[128, 128, 129]);
                self.echo([kind, 0])
            }
            1 => self.neighbour(vip),
            _ => {
                let kind = self.random.pick(&ERRORS);
                let size = self.random.pick(&[0, 1000, 1280, 1400, 1500]);
                self.error(kind, size, ends)
            }
        }
    }

    fn echo(&mut self, [kind, code]: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![kind, code, 0, 0];
        let len = 4 + self.random.length(1400);
        bytes.extend(self.random.bytes(len));
        bytes
    }

    /// About a packet that the vip has sent; sometimes cut off, sometimes about somebody else's.
    fn error(&mut self, [kind, code]: [u8; 2], rest: u32, ends: &Ends) -> Vec<u8> {
        let mut about = Ends {
            source: ends.destination,
            destination: ends.source,
            source_port: ends.destination_port,
            destination_port: ends.source_port,
            protocol: ends.protocol,
        };
        if self.random.one_in(8) {
            about.source = self.foreign(about.source.is_ipv4());
        }
        if self.random.one_in(16) {
            about = *ends;
        }
        let upper = self.transport(&about);
        let mut packet = match (about.source, about.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.v4(source, destination, 0, 0x4000, &upper),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.v6(source, destination, &upper),
            _ => Vec::new(),
        };
        // RFC 792 asks for 8 bytes behind the header, RFC 1812 for as much as fits 576, RFC 4443 for 1280.
        let kept = self.random.pick(&[28, 48, 64, 548, 1232, 20, 0, 31]);
        packet.truncate(kept);
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend(rest.to_be_bytes());
        bytes.extend(packet);
        bytes
    }

    /// Solicitations for a vip, and what else neighbours say.
    fn neighbour(&mut self, vip: Ipv6Addr) -> Vec<u8> {
        let random = &mut self.random;
        let mut bytes = vec![random.pick(&[135, 135, 135, 136, 133, 134, 137]), 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(vip.octets());
        for _ in 0..random.below(3) {
            // Link-layer address of the source, of the target, or an unknown option.
            bytes.extend([random.pick(&[1, 1, 2, 14]), random.pick(&[1, 1, 1, 0])]);
            bytes.extend(CLIENT_SIDE[0]);
        }
        bytes
    }

    /// EtherType and payload. ARP: RFC 826.
    pub(super) fn arp_or_other(&mut self) -> (u16, Vec<u8>) {
        let target = self.ends().destination;
        let IpAddr::V4(target) = target else {
            let len = self.random.below(64);
            return (self.random.pick(&[0x88cc, 0x8847, 0x0026, 0x8100, 0x0806]), self.random.bytes(len));
        };
        let sender = match self.client(true) {
            IpAddr::V4(sender) => sender.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        let random = &mut self.random;
        let operation = random.pick(&[1, 1, 1, 2, 3]);
        let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, operation];
        bytes.extend(CLIENT_SIDE[0]);
        // A probe has no sender, an announcement names its sender as target (RFC 5227).
        bytes.extend(random.pick(&[sender, sender, [0; 4], target.octets()]));
        bytes.extend([0; 6]);
        bytes.extend(target.octets());
        (0x0806, bytes)
    }
}
