//! The outer headers of a frame: one line of what they say, and their bytes.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::state::MacAddress;

/// The frame in `hex`, decoded and dumped up to the end of the outer IP header.
pub(super) fn describe(hex: &str) -> String {
    match bytes(hex) {
        None => format!("outer      not hexadecimal: {hex}\n"),
        Some(frame) => {
            let (line, len) = decode(&frame);
            format!("outer      {line}\n{}", dump(&frame[..len]))
        }
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = hex.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    pairs.collect()
}

/// What the headers say, and how many bytes of `frame` they are.
fn decode(frame: &[u8]) -> (String, usize) {
    let Some((ethernet, mut rest)) = frame.split_first_chunk::<14>() else {
        return ("cut short in the Ethernet header".to_owned(), frame.len());
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *ethernet;
    let source = MacAddress([s0, s1, s2, s3, s4, s5]);
    let destination = MacAddress([d0, d1, d2, d3, d4, d5]);
    let mut line = format!("{source} -> {destination}");
    let mut ether_type = u16::from_be_bytes([t0, t1]);
    while matches!(ether_type, 0x8100 | 0x88a8) {
        let Some((tag, behind)) = rest.split_first_chunk::<4>() else {
            return (format!("{line}, cut short in the VLAN tag"), frame.len());
        };
        let [c0, c1, t0, t1] = *tag;
        line.push_str(&format!(", VLAN {}", u16::from_be_bytes([c0, c1]) & 0x0fff));
        ether_type = u16::from_be_bytes([t0, t1]);
        rest = behind;
    }
    let (ip, len) = match ether_type {
        0x0800 => ipv4(rest),
        0x86dd => ipv6(rest),
        other => (format!("EtherType 0x{other:04x}"), 0),
    };
    (format!("{line}, {ip}"), frame.len() - rest.len() + len)
}

fn ipv4(packet: &[u8]) -> (String, usize) {
    let Some(header) = packet.first_chunk::<20>() else {
        return ("cut short in the IPv4 header".to_owned(), packet.len());
    };
    let [_, tos, .., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let line = format!(
        "IPv4 {} -> {}, ttl {}, {}, {}",
        Ipv4Addr::new(s0, s1, s2, s3),
        Ipv4Addr::new(d0, d1, d2, d3),
        header[8],
        service(tos),
        protocol(header[9])
    );
    (line, 20)
}

fn ipv6(packet: &[u8]) -> (String, usize) {
    let Some(header) = packet.first_chunk::<40>() else {
        return ("cut short in the IPv6 header".to_owned(), packet.len());
    };
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let line = format!(
        "IPv6 {} -> {}, hop limit {}, {}, {}",
        address(8),
        address(24),
        header[7],
        service(header[0] << 4 | header[1] >> 4),
        protocol(header[6])
    );
    (line, 40)
}

fn service(tos: u8) -> String {
    let ecn = ["no ECN", "ECT(1)", "ECT(0)", "CE"][usize::from(tos & 3)];
    format!("dscp {}, {ecn}", tos >> 2)
}

fn protocol(number: u8) -> String {
    match number {
        4 => "carries IPv4".to_owned(),
        41 => "carries IPv6".to_owned(),
        6 => "carries TCP".to_owned(),
        17 => "carries UDP".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// Sixteen bytes a line, offsets in front.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, line) in bytes.chunks(16).enumerate() {
        let mut shown = format!("  {:04x} ", row * 16);
        for (column, byte) in line.iter().enumerate() {
            let gap = if column == 8 { "  " } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(shown, "{gap}{byte:02x}");
        }
        text.push_str(&shown);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "020000000001020000000002\
        8100002a0800\
        45b80054000040003f04000 0c0000202 0a00000b\
        4500";

    #[test]
    fn an_ipv4_tunnel_in_a_vlan_is_decoded_and_dumped_up_to_its_end() {
        let hex: String = V4.split_whitespace().collect();
        assert_eq!(
            describe(&hex),
            "\
outer      02:00:00:00:00:02 -> 02:00:00:00:00:01, VLAN 42, IPv4 192.0.2.2 -> 10.0.0.11, ttl 63, dscp 46, no ECN, carries IPv4
  0000  02 00 00 00 00 01 02 00  00 00 00 02 81 00 00 2a
  0010  08 00 45 b8 00 54 00 00  40 00 3f 04 00 00 c0 00
  0020  02 02 0a 00 00 0b
"
        );
    }

    #[test]
    fn an_ipv6_tunnel_is_decoded() {
        let hex = format!(
            "02000000000102000000000286dd60300000003c2940{}{}",
            "20010db8000000000000000000000001", "20010db800000000000000000000000b"
        );
        let shown = describe(&hex);
        let line = "outer      02:00:00:00:00:02 -> 02:00:00:00:00:01, IPv6 2001:db8::1 -> 2001:db8::b, hop limit 64, dscp 0, CE, carries IPv6\n";
        assert!(shown.starts_with(line), "{shown}");
        assert_eq!(shown.lines().count(), 1 + 4);
    }

    #[test]
    fn frames_that_end_early_or_carry_something_else_are_shown_all_the_same() {
        for (hex, expected) in [
            ("", "cut short in the Ethernet header"),
            ("020000000001020000000002", "cut short in the Ethernet header"),
            ("0200000000010200000000028100", "cut short in the VLAN tag"),
            ("02000000000102000000000208004500", "cut short in the IPv4 header"),
            ("02000000000102000000000286dd6000", "cut short in the IPv6 header"),
            ("0200000000010200000000020806aa", "EtherType 0x0806"),
            ("xyz", "not hexadecimal"),
            ("éé", "not hexadecimal"),
            ("+1", "not hexadecimal"),
        ] {
            assert!(describe(hex).contains(expected), "{hex}: {}", describe(hex));
        }
    }
}
