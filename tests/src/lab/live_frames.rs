//! UDP packets made in the kernel and handed to an interface as a card's driver would hand them over: live frames of
//! `BPF_PROG_TEST_RUN`, which Linux 5.18 and later have. For guests whose only program beside `ferrolev` this is; it counts nothing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;

use super::asker::Mac;
use super::pass_stub::load;
use crate::test_run::live;

/// What is sent, from random sources.
#[derive(Clone, Debug)]
pub struct Flood {
    pub interface: String,
    pub mac: Mac,
    pub destination: Ipv4Addr,
    pub port: u16,
    /// Powers of two.
    pub source_ports: u32,
    pub sources: u32,
    pub packets: u32,
}

/// Few, so that they are through before the next ones are made: no more than 256 can wait in a veth.
const BATCH: u32 = 8;
const FRAME_LEN: usize = 60;
/// Ethernet, IPv4 and UDP.
const HEADERS_LEN: usize = 42;
/// Where the packets' sources begin: 10.192.0.0, port 1024.
const SOURCE: [u8; 4] = [10, 192, 0, 0];
const FIRST_PORT: i32 = 1024;

impl Flood {
    /// Sends all of it, from where the calling thread is; returns how long that took.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn send(&self) -> Result<Duration> {
        ensure!(self.source_ports.is_power_of_two() && self.source_ports <= 1 << 15, "not a number of ports");
        ensure!(self.sources.is_power_of_two() && self.sources <= 1 << 16, "not a number of sources");
        let interface = if_nametoindex(self.interface.as_str())
            .with_context(|| format!("no interface {}", self.interface))?;
        let headers = self.headers();
        let program = load(&self.instructions(&headers, interface)).context("the program is refused")?;
        let mut frame = [0; FRAME_LEN];
        frame[..HEADERS_LEN].copy_from_slice(&headers);
        let began = Instant::now();
        live(&program, &frame, self.packets, BATCH)
            .context("live frames, which Linux 5.18 and later have")?;
        Ok(began.elapsed())
    }

    /// Without what differs between packets. The identification is what makes the checksum right: it is the complement of the
    /// source's last two bytes.
    fn headers(&self) -> [u8; HEADERS_LEN] {
        let mut frame = [0; HEADERS_LEN];
        frame[..6].copy_from_slice(&self.mac);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        let ip_len = (FRAME_LEN - 14) as u16;
        frame[12..18].copy_from_slice(&[0x08, 0, 0x45, 0, 0, ip_len as u8]);
        frame[18..20].copy_from_slice(&[0xff, 0xff]);
        frame[22..24].copy_from_slice(&[64, 17]);
        frame[26..30].copy_from_slice(&SOURCE);
        frame[30..34].copy_from_slice(&self.destination.octets());
        let words = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame[36..38].copy_from_slice(&self.port.to_be_bytes());
        frame[38..40].copy_from_slice(&(ip_len - 20).to_be_bytes());
        frame
    }

    /// Recycled pages keep what was done to them: every header is written anew.
    fn instructions(&self, headers: &[u8; HEADERS_LEN], interface: u32) -> Vec<u64> {
        const RANDOM: i32 = 7;
        const REDIRECT: i32 = 23;
        let mut program = vec![
            op(0x61, 7, 1, 0, 0),                  // r7 = data
            op(0x61, 2, 1, 4, 0),                  // r2 = its end
            op(0xbf, 3, 7, 0, 0),                  // r3 = r7
            op(0x07, 3, 0, 0, HEADERS_LEN as i32), // r3 += the headers
            op(0xbd, 3, 2, 2, 0),                  // if r3 <= r2: go on behind the exit
            op(0xb7, 0, 0, 0, 1),                  // r0 = XDP_DROP
            op(0x95, 0, 0, 0, 0),                  // exit
        ];
        for (offset, word) in (0..).step_by(4).zip(headers[..40].chunks(4)) {
            let word = i32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            program.push(op(0x62, 7, 0, offset, word)); // a word
        }
        program.extend([
            op(0x6a, 7, 0, 40, 0),                           // no UDP checksum
            op(0x85, 0, 0, 0, RANDOM),                       // r0 = a random number
            op(0xbf, 8, 0, 0, 0),                            // r8 = r0
            op(0x77, 8, 0, 0, 16),                           // r8 >>= 16
            op(0x57, 8, 0, 0, self.sources as i32 - 1),      // r8 &= sources
            op(0x6b, 7, 8, 28, 0),                           // source
            op(0xa7, 8, 0, 0, 0xffff),                       // r8 ^= 0xffff
            op(0x6b, 7, 8, 18, 0),                           // identification
            op(0x57, 0, 0, 0, self.source_ports as i32 - 1), // r0 &= ports
            op(0x07, 0, 0, 0, FIRST_PORT),                   // r0 += the first port
            op(0xdc, 0, 0, 0, 16),                           // r0 in wire order
            op(0x6b, 7, 0, 34, 0),                           // source port
            op(0xb7, 1, 0, 0, interface.cast_signed()),      // r1 = interface
            op(0xb7, 2, 0, 0, 0),                            // r2 = no flags
            op(0x85, 0, 0, 0, REDIRECT),                     // r0 = redirect
            op(0x95, 0, 0, 0, 0),                            // exit
        ]);
        program
    }
}

/// An instruction as the kernel has it: code, destination and source register, offset, and a number.
const fn op(code: u8, destination: u8, source: u8, offset: i16, number: i32) -> u64 {
    code as u64
        | (destination as u64) << 8
        | (source as u64) << 12
        | (offset.cast_unsigned() as u64) << 16
        | (number.cast_unsigned() as u64) << 32
}

#[cfg(test)]
mod tests {
    use etherparse::{Ipv4HeaderSlice, UdpHeaderSlice};

    use super::*;

    #[test]
    fn headers_are_those_of_a_udp_packet_whose_sources_do_not_change_the_checksum() {
        let flood = Flood {
            interface: "lo".to_owned(),
            mac: [2; 6],
            destination: Ipv4Addr::new(203, 0, 113, 18),
            port: 9,
            source_ports: 1024,
            sources: 1,
            packets: 1,
        };
        let mut headers = flood.headers();
        for source in [[0, 0], [1, 2], [0xff, 0xff]] {
            headers[28..30].copy_from_slice(&source);
            headers[18..20].copy_from_slice(&source.map(|byte| !byte));
            let ip = Ipv4HeaderSlice::from_slice(&headers[14..34]).unwrap();
            assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
            assert_eq!(usize::from(ip.total_len()), FRAME_LEN - 14);
            assert_eq!(ip.destination_addr(), flood.destination);
        }
        let udp = UdpHeaderSlice::from_slice(&headers[34..]).unwrap();
        assert_eq!((udp.destination_port(), udp.length(), udp.checksum()), (9, 26, 0));
    }
}
