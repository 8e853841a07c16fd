use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn envelope(source: IpAddr, destination: IpAddr) -> Envelope {
    Envelope { source, destination, hop_limit: HOP_LIMIT }
}

fn v4() -> Envelope {
    envelope(IpAddr::from([10, 9, 0, 11]), GROUP_V4.into())
}

fn v6() -> Envelope {
    envelope("fe80::11".parse().unwrap(), GROUP_V6.into())
}

fn advert(version: Version) -> Advert {
    Advert {
        version,
        vrid: 51,
        priority: 150,
        interval: Interval::DEFAULT,
        addresses: vec![IpAddr::from([10, 9, 0, 50])],
        authentication: Authentication::None,
    }
}

/// Changes bytes of a sound advert, mends the checksum, and parses it.
fn changed(version: Version, change: impl FnOnce(&mut Vec<u8>)) -> Result<Parsed, Reject> {
    let mut message = build(&advert(version), Ipv4Sum::default(), &v4()).unwrap();
    change(&mut message);
    message[6..8].fill(0);
    let sum = checksum::checksum(version, Ipv4Sum::default(), &v4(), &message);
    message[6..8].copy_from_slice(&sum.to_ne_bytes());
    parse(&message, &v4())
}

#[test]
fn each_defect_has_its_reason() {
    use Version::{V2, V3};
    let reject = |version, at: usize, value: u8| changed(version, |bytes| bytes[at] = value).unwrap_err();
    assert_eq!(reject(V3, 0, 0x41), Reject::UnknownVersion(4));
    assert_eq!(reject(V3, 0, 0x11), Reject::UnknownVersion(1));
    assert_eq!(reject(V3, 0, 0x32), Reject::Type(2));
    assert_eq!(reject(V3, 1, 0), Reject::VridZero);
    assert_eq!(reject(V3, 5, 0), Reject::IntervalZero);
    assert_eq!(reject(V2, 5, 0), Reject::IntervalZero);
    assert_eq!(reject(V2, 4, 2), Reject::AuthenticationType(2));
    assert_eq!(reject(V3, 3, 2), Reject::Length, "a second address is announced, but not there");
    assert_eq!(reject(V3, 3, 0), Reject::Length);
    let without_addresses = |bytes: &mut Vec<u8>| {
        bytes[3] = 0;
        bytes.truncate(8);
    };
    assert_eq!(changed(V3, without_addresses), Err(Reject::NoAddresses));
    assert_eq!(changed(V3, |bytes| bytes.push(0)), Err(Reject::Length));
    assert_eq!(
        changed(V2, |bytes| bytes.truncate(12)),
        Err(Reject::Length),
        "authentication data are missing"
    );
    assert_eq!(parse(&[0x31, 1, 1], &v4()), Err(Reject::Length));
    let version_2 = build(&advert(V2), Ipv4Sum::default(), &v4()).unwrap();
    assert_eq!(parse(&version_2, &v6()), Err(Reject::Version2OverIpv6));
}

#[test]
fn reserved_bits_and_idle_authentication_data_are_ignored() {
    let reserved = changed(Version::V3, |bytes| bytes[4] |= 0xf0).unwrap();
    assert_eq!(reserved.advert, advert(Version::V3));
    let idle = changed(Version::V2, |bytes| bytes[12..].fill(7)).unwrap();
    assert_eq!(idle.advert, advert(Version::V2));
}

#[test]
fn every_single_damaged_bit_is_found() {
    for version in [Version::V2, Version::V3] {
        let sound = build(&advert(version), Ipv4Sum::default(), &v4()).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged, &v4()).is_err(), "{version:?}, bit {bit}");
        }
    }
}

#[test]
fn what_no_advert_can_say_is_refused() {
    let refused =
        |advert: &Advert, envelope: &Envelope| build(advert, Ipv4Sum::default(), envelope).unwrap_err();
    let (v2_advert, v3_advert) = (advert(Version::V2), advert(Version::V3));
    let many = vec![IpAddr::from([10, 0, 0, 1]); 256];
    assert_eq!(
        refused(&Advert { addresses: many, ..v3_advert.clone() }, &v4()),
        BuildError::AddressCount(256)
    );
    assert_eq!(
        refused(&Advert { addresses: vec![], ..v3_advert.clone() }, &v4()),
        BuildError::AddressCount(0)
    );
    assert!(matches!(refused(&v3_advert, &v6()), BuildError::Family { .. }));
    let odd = Interval::from_centiseconds(150).unwrap();
    assert!(matches!(refused(&Advert { interval: odd, ..v2_advert }, &v4()), BuildError::Interval { .. }));
    let long = Interval::from_centiseconds(4_096).unwrap();
    assert!(matches!(
        refused(&Advert { interval: long, ..v3_advert.clone() }, &v4()),
        BuildError::Interval { .. }
    ));
    let secret = Authentication::password("secret");
    let locked = Advert { authentication: secret, ..v3_advert.clone() };
    assert_eq!(refused(&locked, &v4()), BuildError::Authentication);
    assert_eq!(refused(&Advert { vrid: 0, ..v3_advert }, &v4()), BuildError::Vrid);
}

#[test]
fn a_password_is_cut_or_filled_up_to_eight_bytes() {
    assert_eq!(Authentication::password("abc"), Authentication::Password(*b"abc\0\0\0\0\0"));
    assert_eq!(Authentication::password("123456789"), Authentication::Password(*b"12345678"));
}

#[test]
fn each_reason_has_a_word_of_its_own_and_is_counted_under_it() {
    let mut rejects = Rejects::default();
    rejects.count(Reject::Checksum);
    rejects.count(Reject::Type(3));
    rejects.count(Reject::Type(4));
    let counted: Vec<_> = rejects.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("type", 2), ("checksum", 1)]);
    assert_eq!(rejects.total(), 3);
    let mut words = Reject::REASONS.to_vec();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Reject::REASONS.len());
}

#[test]
fn only_whole_ipv4_packets_of_vrrp_are_opened() {
    let message = build(&advert(Version::V3), Ipv4Sum::default(), &v4()).unwrap();
    let frame = Frame { source_mac: [2; 6], destination_mac: [1; 6], envelope: v4(), identification: 1 };
    let packet = frame.around(&message).unwrap().split_off(14);
    assert_eq!(ipv4_packet(&packet), Ok((v4(), message.as_slice())));
    let with = |at: usize, value: u8| {
        let mut packet = packet.clone();
        packet[at] = value;
        ipv4_packet(&packet).map(|_| ())
    };
    assert_eq!(with(9, 51), Err(Reject::Protocol(51)));
    assert_eq!(with(6, 0x20), Err(Reject::Length), "the first fragment");
    assert_eq!(with(7, 1), Err(Reject::Length), "a later fragment");
    assert_eq!(with(6, 0x40), Ok(()), "don't fragment");
    assert_eq!(with(0, 0x44), Err(Reject::Length));
    assert_eq!(with(0, 0x65), Err(Reject::Length));
    assert_eq!(with(3, packet[3] + 1), Err(Reject::Length));
    assert_eq!(ipv4_packet(&packet[..19]), Err(Reject::Length));
    let padded = [packet.as_slice(), &[0; 14]].concat();
    assert_eq!(ipv4_packet(&padded), Ok((v4(), message.as_slice())), "Ethernet's padding is no part of it");
}

fn adverts() -> impl Strategy<Value = (Advert, Ipv4Sum, Envelope)> {
    let sums = prop_oneof![Just(Ipv4Sum::Pseudo), Just(Ipv4Sum::Plain), Just(Ipv4Sum::GroupPseudo)];
    let of_family = prop_oneof![
        (vec(any::<[u8; 4]>().prop_map(IpAddr::from), 1..=255), any::<[[u8; 4]; 2]>())
            .prop_map(|(addresses, [from, to])| (addresses, envelope(from.into(), to.into()))),
        (vec(any::<[u8; 16]>().prop_map(IpAddr::from), 1..=255), any::<[[u8; 16]; 2]>())
            .prop_map(|(addresses, [from, to])| (addresses, envelope(from.into(), to.into()))),
    ];
    let authentication =
        prop_oneof![Just(Authentication::None), any::<[u8; 8]>().prop_map(Authentication::Password)];
    (any::<bool>(), 1..=255_u8, any::<u8>(), 1..=4_095_u16, of_family, authentication, sums).prop_map(
        |(old, vrid, priority, interval, (addresses, envelope), authentication, sum)| {
            let (version, interval, authentication) = if old && envelope.source.is_ipv4() {
                (Version::V2, (interval % 255 + 1) * 100, authentication)
            } else {
                (Version::V3, interval, Authentication::None)
            };
            let interval = Interval::from_centiseconds(interval).unwrap();
            (Advert { version, vrid, priority, interval, addresses, authentication }, sum, envelope)
        },
    )
}

proptest! {
    #[test]
    fn what_is_built_is_parsed_as_the_same((advert, sum, envelope) in adverts()) {
        let message = build(&advert, sum, &envelope).unwrap();
        let parsed = parse(&message, &envelope).unwrap();
        prop_assert_eq!(&parsed.advert, &advert);
        prop_assert_eq!(build(&parsed.advert, parsed.sum, &envelope).unwrap(), message);
    }

    #[test]
    fn no_bytes_are_too_odd_to_parse(bytes in vec(any::<u8>(), 0..120), ipv6: bool) {
        let envelope = if ipv6 { v6() } else { v4() };
        let _ = parse(&bytes, &envelope);
        let _ = ipv4_packet(&bytes);
        let _ = ipv6_packet(&bytes);
    }

    /// Bytes that are nearly adverts: of sound length, version and checksum.
    #[test]
    fn what_is_parsed_can_be_built(mut bytes in vec(any::<u8>(), 8..9), tail in vec(any::<u8>(), 0..48), old: bool) {
        bytes[0] = if old { 0x21 } else { 0x31 };
        let version = if old { Version::V2 } else { Version::V3 };
        bytes[3] = (tail.len() / 4) as u8;
        bytes.extend(&tail[..tail.len() / 4 * 4]);
        if old {
            bytes.extend([0; 8]);
            bytes[4] = 0;
        }
        bytes[6..8].fill(0);
        let sum = checksum::checksum(version, Ipv4Sum::Plain, &v4(), &bytes);
        bytes[6..8].copy_from_slice(&sum.to_ne_bytes());
        if let Ok(parsed) = parse(&bytes, &v4()) {
            let again = build(&parsed.advert, parsed.sum, &v4()).unwrap();
            prop_assert_eq!(parse(&again, &v4()).unwrap().advert, parsed.advert);
        }
    }
}
