//! What IP carries: TCP, UDP with QUIC or a tunnel in it, tunnels without UDP, and protocols that nobody balances.

use super::ip::{Upper, seal};
use super::{Ends, Generator, TCP, UDP};

/// Bytes behind a transport header, before it is cut into fragments.
const LARGEST: usize = 1400;
const GUE_PORT: u16 = 6080;

impl Generator {
    /// Behind the IP header.
    pub(super) fn upper(&mut self, ends: &Ends) -> Upper {
        match self.random.below(12) {
            0 | 1 => self.icmp(ends),
            2 => self.tunnel(ends),
            3 if self.random.one_in(4) => {
                let protocol = self.random.pick(&[47, 50, 51, 59, 89, 112, 132, 255]);
                let len = self.random.length(64);
                Upper { protocol, bytes: self.random.bytes(len) }
            }
            _ => self.transport(ends),
        }
    }

    /// TCP or UDP, as `ends` says.
    pub(super) fn transport(&mut self, ends: &Ends) -> Upper {
        match ends.protocol {
            TCP => Upper { protocol: TCP, bytes: self.tcp(ends) },
            _ => Upper { protocol: UDP, bytes: self.udp(ends) },
        }
    }

    fn tcp(&mut self, ends: &Ends) -> Vec<u8> {
        let random = &mut self.random;
        // SYN, ACK, SYN and ACK, data, FIN, RST, all, none.
        let flags = random.pick(&[0x02, 0x10, 0x12, 0x18, 0x11, 0x04, 0xff, 0x00, 0xc2]);
        let options = if random.one_in(3) { random.below(11) * 4 } else { 0 };
        let mut bytes = [ends.source_port.to_be_bytes(), ends.destination_port.to_be_bytes()].concat();
        bytes.extend(random.next().to_be_bytes());
        bytes.extend([((5 + options / 4) << 4) as u8, flags, 0x10, 0, 0, 0, 0, 0]);
        bytes.extend((0..options).map(|_| 1));
        let len = random.length(LARGEST);
        bytes.extend(random.bytes(len));
        seal(ends.source, ends.destination, TCP, &mut bytes, 16);
        bytes
    }

    fn udp(&mut self, ends: &Ends) -> Vec<u8> {
        let payload = match self.random.below(3) {
            0 => self.quic(),
            1 if ends.destination_port == GUE_PORT => self.gue(ends),
            _ => {
                // Now and then more than a packet holds: it will come in fragments.
                let most = if self.random.one_in(8) { 3 * LARGEST } else { LARGEST };
                let len = self.random.length(most);
                self.random.bytes(len)
            }
        };
        datagram(ends, &payload, self.random.one_in(16))
    }

    /// QUIC version 1, 2, negotiation or an unknown version; long and short headers (RFC 8999, RFC 9000 17).
    fn quic(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let connection_id = |random: &mut super::Random| {
            let len = random.pick(&[0, 4, 8, 8, 16, 20, 21]);
            let mut id = random.bytes(len);
            // The first byte names the configuration (draft-ietf-quic-load-balancers, section 3).
            if let Some(first) = id.first_mut() {
                *first = random.pick(&[0x00, 0x00, 0x20, 0xe0]) | *first & 0x1f;
            }
            // Then comes the server's id: one of those in `named_worlds`, as often as not.
            if id.len() > 2 && random.one_in(2) {
                id[1..3].copy_from_slice(&[0x0a, random.pick(&[1, 2, 3, 4])]);
            }
            id
        };
        let mut bytes = Vec::new();
        if random.one_in(2) {
            bytes.push(random.pick(&[0x40, 0x5f, 0x00]));
            bytes.extend(connection_id(random));
        } else {
            bytes.push(random.pick(&[0xc0, 0xd0, 0xe0, 0xf0, 0x80]));
            bytes.extend(random.pick(&[1u32, 0x6b33_43cf, 0, 0xface_b00c]).to_be_bytes());
            for _ in 0..2 {
                let id = connection_id(random);
                bytes.push(id.len() as u8);
                bytes.extend(id);
            }
        }
        let len = random.pick(&[0, 0, 20, 1200]);
        bytes.extend(random.bytes(len));
        bytes
    }

    /// GUE as variant 0 with a header of its own, and as variant 1 without (draft-ietf-intarea-gue, sections 3 and 4).
    fn gue(&mut self, ends: &Ends) -> Vec<u8> {
        let Upper { protocol, bytes } = self.inner(ends);
        if self.random.one_in(2) {
            return bytes;
        }
        let extra = self.random.pick(&[0u8, 0, 0, 1]);
        let mut header = vec![extra, protocol, 0, 0];
        header.extend(self.random.bytes(usize::from(extra) * 4));
        [header, bytes].concat()
    }

    /// IP in IP, as the balancer itself sends it.
    fn tunnel(&mut self, ends: &Ends) -> Upper {
        if self.random.one_in(2) {
            let bytes = self.gue(ends);
            let port = self.random.pick(&[GUE_PORT, 5555]);
            let ends = Ends { destination_port: port, protocol: UDP, ..*ends };
            return Upper { protocol: UDP, bytes: datagram(&ends, &bytes, true) };
        }
        self.inner(ends)
    }

    /// A whole small packet; its protocol is IP's own number.
    fn inner(&mut self, ends: &Ends) -> Upper {
        let mut inner = self.ends();
        if self.random.one_in(4) {
            inner = *ends;
        }
        let upper = self.transport(&inner);
        match (inner.source, inner.destination) {
            (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => {
                Upper { protocol: 4, bytes: self.v4(source, destination, 0, 0x4000, &upper) }
            }
            (std::net::IpAddr::V6(source), std::net::IpAddr::V6(destination)) => {
                Upper { protocol: 41, bytes: self.v6(source, destination, &upper) }
            }
            _ => upper,
        }
    }
}

fn datagram(ends: &Ends, payload: &[u8], without_checksum: bool) -> Vec<u8> {
    let mut bytes = [ends.source_port.to_be_bytes(), ends.destination_port.to_be_bytes()].concat();
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    if !without_checksum {
        seal(ends.source, ends.destination, UDP, &mut bytes, 6);
    }
    bytes
}
