use proptest::prelude::*;

use super::*;

const OWN4: [u8; 4] = [192, 0, 2, 10];
const BACKEND4: [u8; 4] = [10, 0, 0, 1];
const ROUTER4: [u8; 4] = [192, 0, 2, 1];

fn own6() -> Ipv6Addr {
    "2001:db8:ff::10".parse().unwrap()
}

fn backend6() -> Ipv6Addr {
    "2001:db8:b::1".parse().unwrap()
}

fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, len: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = len.to_be_bytes();
    let head = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    [&head[..], &source, &destination, payload].concat()
}

fn needed(mtu: u16, quoted: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let message = [&[3, 4, 0, 0, 0, 0, high, low][..], quoted].concat();
    ipv4(ROUTER4, OWN4, 1, 20 + message.len() as u16, &message)
}

fn too_big(mtu: u32, source: Ipv6Addr, protocol: u8, payload_len: u16) -> Vec<u8> {
    let [high, low] = payload_len.to_be_bytes();
    let quoted = [&[0x60, 0, 0, 0, high, low, protocol, 64][..], &source.octets(), &backend6().octets()];
    [&[2, 0, 0, 0][..], &mtu.to_be_bytes(), &quoted.concat()].concat()
}

#[test]
fn a_report_about_a_tunnels_packet_is_understood() {
    for protocol in TUNNELS {
        let quoted = ipv4(OWN4, BACKEND4, protocol, 1520, &[0; 8]);
        let expected = Report { destination: IpAddr::from(BACKEND4), mtu: 1400 };
        assert_eq!(read_v4(&needed(1400, &quoted)), Some(expected));
        let expected = Report { destination: backend6().into(), mtu: 1400 };
        assert_eq!(
            read_v6(&too_big(1400, own6(), protocol, 1500), |address| address == own6()),
            Some(expected)
        );
    }
}

#[test]
fn options_in_front_of_the_message_are_skipped() {
    let quoted = ipv4(OWN4, BACKEND4, 4, 1520, &[0; 8]);
    let mut packet = needed(1400, &quoted);
    packet[0] = 0x46;
    packet.splice(20..20, [1, 1, 1, 0]);
    assert_eq!(read_v4(&packet).map(|report| report.mtu), Some(1400));
}

#[test]
fn what_this_host_cannot_have_sent_is_not_believed() {
    let others = ipv4(ROUTER4, BACKEND4, 4, 1520, &[0; 8]);
    assert_eq!(read_v4(&needed(1400, &others)), None, "not from the address that the report came to");
    assert_eq!(read_v6(&too_big(1400, backend6(), 41, 1500), |address| address == own6()), None);
    for (protocol, len, mtu) in [(6, 1520, 1400), (1, 1520, 1400), (4, 1400, 1400), (4, 1520, 0)] {
        let quoted = ipv4(OWN4, BACKEND4, protocol, len, &[0; 8]);
        assert_eq!(read_v4(&needed(mtu, &quoted)), None, "protocol {protocol}, {len} bytes, {mtu} fit");
        let message = too_big(mtu.into(), own6(), protocol, len - 40);
        assert_eq!(read_v6(&message, |_| true), None, "protocol {protocol}, {len} bytes, {mtu} fit");
    }
    let mut unreachable = needed(1400, &ipv4(OWN4, BACKEND4, 4, 1520, &[0; 8]));
    unreachable[21] = 3;
    assert_eq!(read_v4(&unreachable), None, "port unreachable");
}

#[test]
fn nobody_can_ask_for_crumbs() {
    let quoted = ipv4(OWN4, BACKEND4, 4, 1520, &[0; 8]);
    assert_eq!(read_v4(&needed(68, &quoted)).map(|report| report.mtu), Some(MIN_V4));
    assert_eq!(read_v6(&too_big(68, own6(), 41, 1500), |_| true).map(|report| report.mtu), Some(MIN_V6));
}

#[test]
fn a_size_holds_for_ten_minutes_and_never_widens_the_route() {
    let begin = Instant::now();
    let (backend, mut known) = (IpAddr::from(BACKEND4), PathMtus::default());
    assert_eq!(known.limit(backend, 1500), 1500);
    let report = |mtu| Report { destination: backend, mtu };
    assert!(known.learn(report(1400), begin));
    assert!(!known.learn(report(1400), begin), "no news");
    assert_eq!((known.limit(backend, 1500), known.limit(backend, 1300)), (1400, 1300));
    assert!(!known.learn(report(1450), begin + LIFETIME / 2), "of a wider link");
    assert!(!known.learn(report(1400), begin + LIFETIME / 2), "no news, but it holds on");
    assert!(!known.forget(begin + LIFETIME, |_| true));
    assert_eq!(known.limit(backend, 1500), 1400);
    assert!(known.learn(report(1450), begin + LIFETIME * 2), "too old to count");
    assert!(known.forget(begin + LIFETIME * 3, |_| true));
    assert_eq!(known.limit(backend, 1500), 1500);
    known.learn(report(1400), begin);
    assert!(known.forget(begin, |_| false), "nobody's backend any more");
}

proptest! {
    #[test]
    fn random_bytes_are_no_danger(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        for read in [read_v4(&bytes), read_v6(&bytes, |_| true)].into_iter().flatten() {
            prop_assert!(read.mtu >= MIN_V4);
        }
    }

    #[test]
    fn cut_reports_are_no_danger(len in 0..80usize) {
        let v4 = needed(1400, &ipv4(OWN4, BACKEND4, 4, 1520, &[0; 8]));
        let v6 = too_big(1400, own6(), 41, 1500);
        prop_assert_eq!(read_v4(&v4[..len.min(v4.len())]).is_some(), len >= 48);
        prop_assert_eq!(read_v6(&v6[..len.min(v6.len())], |_| true).is_some(), len >= 48);
    }
}
