//! Adverts that keepalived 2.2.7 and FRR 8.4 sent on a real link: each is understood, and built again byte by byte.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lb_vrrp::filter::Filter;
use lb_vrrp::wire::{
    Advert, Authentication, Envelope, Frame, GROUP_V4, GROUP_V6, Interval, Ipv4Sum, PROTOCOL, Parsed, Reject,
    Version, build, group_mac, ipv4_packet, ipv6_packet, parse, virtual_mac,
};

const ETHERNET_LEN: usize = 14;

#[derive(Debug)]
struct Seen {
    frame: Vec<u8>,
    envelope: Envelope,
    message: Vec<u8>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The frames of a capture file of the classic format, in this machine's byte order.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let (header, mut rest) = bytes.split_at(24);
    assert!(header.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]), "{}: another byte order", path.display());
    assert_eq!(header[20..24], [1, 0, 0, 0], "{}: not Ethernet", path.display());
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

fn adverts(name: &str) -> Vec<Seen> {
    let seen = frames(&fixture(name)).into_iter().filter_map(|frame| {
        let packet = &frame[ETHERNET_LEN..];
        let (envelope, message) = match frame[12..14] {
            [0x08, 0x00] if packet[9] == PROTOCOL => ipv4_packet(packet).unwrap(),
            [0x86, 0xdd] if packet[6] == PROTOCOL => ipv6_packet(packet).unwrap(),
            _ => return None,
        };
        let message = message.to_vec();
        Some(Seen { frame, envelope, message })
    });
    seen.collect()
}

fn read(seen: &Seen) -> Parsed {
    parse(&seen.message, &seen.envelope).unwrap()
}

fn all() -> Vec<(String, Vec<Seen>)> {
    let mut names: Vec<String> = std::fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".pcap") && name != "v2-mcast-ah.pcap")
        .collect();
    names.sort_unstable();
    assert_eq!(names.len(), 19);
    names.into_iter().map(|name| (name.clone(), adverts(&name))).collect()
}

#[test]
fn every_advert_is_understood_and_says_what_the_senders_were_configured_with() {
    let mut counted = BTreeMap::new();
    for (name, seen) in all() {
        for seen in &seen {
            let Parsed { advert, .. } = read(seen);
            assert_eq!(advert.vrid, 51, "{name}");
            *counted.entry((name.clone(), advert.priority)).or_insert(0) += 1;
            let ipv6 = name.contains("ipv6");
            assert_eq!(advert.version, if name.contains("v2") { Version::V2 } else { Version::V3 }, "{name}");
            let interval = if name.contains("100ms") { 10 } else { 100 };
            assert_eq!(advert.interval.centiseconds(), interval, "{name}");
            let expected: &[&str] = match () {
                () if ipv6 => &["fe80::50", "fd09::50"],
                () if name.contains("3vips") => &["10.9.0.50", "10.9.0.51", "10.9.0.52"],
                () => &["10.9.0.50"],
            };
            let expected: Vec<IpAddr> = expected.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(advert.addresses, expected, "{name}");
            let authentication = match name.as_str() {
                "v2-mcast-pass.pcap" | "v2-unicast-pass.pcap" => Authentication::password("s3cr3t12"),
                "v2-mcast-pass-short.pcap" => Authentication::password("abc"),
                _ => Authentication::None,
            };
            assert_eq!(advert.authentication, authentication, "{name}");
        }
    }
    let of = |name: &str, priority: u8| counted.get(&(name.to_owned(), priority)).copied().unwrap_or(0);
    assert_eq!(
        (of("v2-mcast-pass.pcap", 150), of("v2-mcast-pass.pcap", 0), of("v2-mcast-pass.pcap", 100)),
        (3, 2, 2)
    );
    assert_eq!(of("v3-owner255.pcap", 255), 3);
    assert_eq!(of("frr-vrrpd-v3-100ms.pcap", 150), 114);
}

#[test]
fn every_advert_is_built_again_byte_by_byte() {
    for (name, seen) in all() {
        for seen in &seen {
            let Parsed { advert, sum } = read(seen);
            assert_eq!(build(&advert, sum, &seen.envelope).unwrap(), seen.message, "{name}");
        }
    }
}

#[test]
fn the_frame_around_it_is_built_again_but_for_what_the_senders_kernel_chooses() {
    for (name, seen) in all() {
        for seen in &seen {
            let mut expected = seen.frame.clone();
            let ip = ETHERNET_LEN;
            let identification = u16::from_be_bytes([expected[ip + 4], expected[ip + 5]]);
            if seen.envelope.source.is_ipv6() {
                // The flow label.
                expected[ip + 1] &= 0xf0;
                expected[ip + 2..ip + 4].fill(0);
            } else if expected[ip + 6] == 0x40 {
                // FRR sets "don't fragment".
                expected[ip + 6] = 0;
                expected[ip + 10..ip + 12].fill(0);
                let sum = lb_common::checksum::sum(&expected[ip..ip + 20]);
                expected[ip + 10..ip + 12].copy_from_slice(&(!lb_common::checksum::fold(sum)).to_ne_bytes());
            }
            let frame = Frame {
                destination_mac: expected[..6].try_into().unwrap(),
                source_mac: expected[6..12].try_into().unwrap(),
                envelope: seen.envelope,
                identification,
            };
            assert_eq!(frame.around(&seen.message).unwrap(), expected, "{name}");
            if seen.envelope.destination == IpAddr::from(GROUP_V4)
                || seen.envelope.destination == IpAddr::from(GROUP_V6)
            {
                assert_eq!(frame.destination_mac, group_mac(seen.envelope.destination), "{name}");
            }
        }
    }
}

#[test]
fn adverts_of_a_virtual_mac_come_from_it() {
    for (name, ipv6) in
        [("v2-mcast-vmac.pcap", false), ("v3-mcast-vmac.pcap", false), ("v3-ipv6-vmac.pcap", true)]
    {
        for seen in adverts(name) {
            assert_eq!(seen.frame[6..12], virtual_mac(51, ipv6), "{name}");
        }
    }
}

#[test]
fn version_3_over_ipv4_comes_with_a_pseudo_header_and_once_with_the_wrong_one() {
    for (name, expected) in [
        ("v3-mcast-1s.pcap", Ipv4Sum::Pseudo),
        ("v3-unicast.pcap", Ipv4Sum::Pseudo),
        ("frr-vrrpd-v3-100ms.pcap", Ipv4Sum::Pseudo),
    ] {
        assert!(adverts(name).iter().all(|seen| read(seen).sum == expected), "{name}");
    }
    let old: Vec<Ipv4Sum> = adverts("v3-unicast-oldcsum.pcap").iter().map(|seen| read(seen).sum).collect();
    assert!(old.contains(&Ipv4Sum::GroupPseudo), "{old:?}");
    // What RFC 9568 wants instead is understood as well.
    let seen = &adverts("v3-mcast-1s.pcap")[0];
    let advert = read(seen).advert;
    let plain = build(&advert, Ipv4Sum::Plain, &seen.envelope).unwrap();
    assert_ne!(plain, seen.message);
    assert_eq!(parse(&plain, &seen.envelope), Ok(Parsed { advert, sum: Ipv4Sum::Plain }));
}

#[test]
fn unicast_ipv6_of_keepalived_has_no_hop_limit_of_255() {
    let seen = &adverts("v3-ipv6-unicast.pcap")[0];
    let advert = read(seen).advert;
    let mut filter = filter_for(&advert);
    assert_eq!(filter.admit(&advert, &seen.envelope), Err(Reject::HopLimit(64)));
    filter.check_hop_limit = false;
    assert_eq!(filter.admit(&advert, &seen.envelope), Ok(None));
}

#[test]
fn every_other_capture_passes_the_filter_of_a_router_configured_alike() {
    for (name, seen) in all() {
        for seen in seen.iter().filter(|seen| seen.envelope.hop_limit == 255) {
            let advert = read(seen).advert;
            assert_eq!(filter_for(&advert).admit(&advert, &seen.envelope), Ok(None), "{name}");
        }
    }
}

#[test]
fn an_authentication_header_is_not_vrrp() {
    let protocols = frames(&fixture("v2-mcast-ah.pcap")).into_iter().filter_map(|frame| {
        let to_group = frame[12..14] == [0x08, 0x00] && frame[30..34] == GROUP_V4.octets();
        to_group.then(|| ipv4_packet(&frame[ETHERNET_LEN..]).map(|_| ()))
    });
    let protocols: Vec<_> = protocols.collect();
    assert_eq!(protocols, [Err(Reject::Protocol(51)); 7]);
}

fn filter_for(advert: &Advert) -> Filter {
    Filter {
        version: advert.version,
        vrid: advert.vrid,
        addresses: advert.addresses.clone(),
        interval: Interval::DEFAULT,
        authentication: advert.authentication,
        check_hop_limit: true,
        peers: None,
        own_addresses: vec!["10.9.0.99".parse().unwrap()],
        owner: false,
    }
}
