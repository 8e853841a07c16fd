use super::*;

const LEAST: &str = "-i eth1 -m 02:00:00:00:00:01 -d 192.0.2.1:443";

fn plan(text: &str) -> Result<Plan, String> {
    let words = std::iter::once("generate").chain(text.split_whitespace());
    let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
    arguments.plan().map_err(|error| format!("{error:#}"))
}

fn sending(text: &str) -> Sending {
    match plan(text) {
        Ok(Plan::Send(sending)) => sending,
        other => panic!("{text}: {other:?}"),
    }
}

fn collecting(text: &str) -> Collecting {
    match plan(text) {
        Ok(Plan::Collect(collecting)) => collecting,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn three_arguments_are_enough() {
    let sending = sending(LEAST);
    assert_eq!((&*sending.interface, sending.source, sending.sink), ("eth1", None, None));
    assert_eq!((sending.lasting, sending.cores.len()), (Duration::from_secs(10), 1));
    let offered = sending.offered;
    assert_eq!((offered.traffic, offered.vip_key()), (Traffic::Ack, "192.0.2.1:443/tcp".to_owned()));
    assert_eq!(offered.sources, IpAddr::from([198, 18, 0, 0]));
    assert_eq!(offered.macs[1], [2, 0, 0, 0, 0, 1]);
    assert_eq!((offered.flows, offered.size, offered.rate), (1 << 16, Size::Least, None));
}

#[test]
fn names_that_other_generators_have_are_known() {
    let theirs = sending("-i eth1 --dst-mac 02:00:00:00:00:01 --dst-addr 192.0.2.1:443 --pkt-size 128");
    let ours = sending(&format!("{LEAST} --size 128"));
    assert_eq!(theirs, ours);
    assert_eq!(ours.offered.size, Size::Frame(128));
}

#[test]
fn everything_that_is_asked_for_is_offered() {
    let sending = sending(
        "-i eth1 -m 02:00:00:00:00:01 -d [2001:db8::1]:53 --protocol udp --kind quic --sources 2001:db8:5::/64 --flows 99 \
         --zipf 1.1 --size imix --rate 1.5M --cores 0 --seconds 600 --mode socket --sink eth2 --latency \
         --connection-id 00112233445566778899aabbcc",
    );
    let offered = sending.offered;
    assert_eq!((offered.traffic, offered.flows, offered.timed), (Traffic::Quic, 99, true));
    assert_eq!(offered.sources, "2001:db8:5::".parse::<IpAddr>().unwrap());
    assert_eq!((offered.spread, offered.size, offered.rate), (Spread::Zipf(1.1), Size::Imix, Some(1.5e6)));
    assert_eq!((offered.connection_id[0], offered.connection_id[12]), (0, 0xcc));
    assert_eq!((sending.source, sending.cores), (Some(Source::Socket), vec![0]));
    assert_eq!((sending.sink.as_deref(), sending.lasting), (Some("eth2"), Duration::from_secs(600)));
}

#[test]
fn a_sink_knows_the_packets_of_every_generator_to_its_vip() {
    let sink = collecting("sink -i eth2 -d 192.0.2.1:443 --sources 10.0.0.0/22");
    assert_eq!((&*sink.interface, sink.offered.flows), ("eth2", 1024));
    assert_eq!(sink.lasting, Duration::from_secs(600));
    let sink = collecting("sink -i eth2 -d [2001:db8::1]:443 --protocol udp");
    assert_eq!(sink.offered.sources, "2001:2::".parse::<IpAddr>().unwrap());
    assert_eq!(sink.offered.flows, OFFER_FLOWS);
}

#[test]
fn what_cannot_be_is_refused_with_the_way_out() {
    for (more, expected) in [
        ("--flows 0", "1 to 131072"),
        ("--flows 200000", "choose wider --sources"),
        ("--flows 300 --sources 10.0.0.0/24", "10.0.0.0/24 holds 1 to 256"),
        ("--sources 2001:db8::/64", "different families"),
        ("--sources 10.0.0.1/24", "10.0.0.0/24"),
        ("--kind udp", "--protocol udp"),
        ("--protocol udp --kind mixed", "--protocol tcp"),
        ("--size 59", "60 to 1514"),
        ("--size 1515", "60 to 1514"),
        ("--size 60 --latency --sink eth2", "68 to 1514"),
        ("--size big", "nor imix"),
        ("--rate 0", "500k or 1.5M"),
        ("--rate fast", "500k or 1.5M"),
        ("--seconds 601", "1 to 600"),
        ("--seconds 0", "1 to 600"),
        ("--cores 0,0", "twice"),
        ("--cores 1000", "this process may use"),
        ("--zipf=-1", "--zipf -1: 0 to 10"),
        ("--zipf 11", "0 to 10"),
        ("--latency", "--sink"),
        ("--connection-id 00112233445566778899aabbcc", "only --protocol udp --kind quic"),
        ("--protocol udp --kind quic --connection-id 0011", "13 bytes"),
        ("sink -i eth2 -d 192.0.2.1:443", "cannot be used with"),
    ] {
        let error = plan(&format!("{LEAST} {more}")).unwrap_err();
        assert!(error.contains(expected), "{more}: {error}");
    }
    for (whole, expected) in [
        ("", "--interface"),
        ("-i eth1 -m 02:00:00:00:00:01", "--destination"),
        ("-i eth1 -m 02:00:00:00:00 -d 192.0.2.1:443", "write 02:00:00:00:00:01"),
        ("-i eth1 -m 01:00:5e:00:00:01 -d 192.0.2.1:443", "no host's"),
        ("-i eth1 -m ff:ff:ff:ff:ff:ff -d 192.0.2.1:443", "no host's"),
        ("-i eth1 -m 02:00:00:00:00:01 -d 192.0.2.1", "--destination"),
        ("-i eth1 -m 02:00:00:00:00:01 -d 192.0.2.1:0", "port 0"),
        ("-i eth1 -m 02:00:00:00:00:01 -d 224.0.0.1:80", "no vip's address"),
        ("-i eth1 -m 02:00:00:00:00:01 -d [2001:db8::1]:80 --sources 2001:db8::/100", "at most /96"),
        ("sink -d 192.0.2.1:443", "--interface"),
        ("sink -i eth2 -d 192.0.2.1:443 --seconds 0", "1 to 600"),
    ] {
        let error = plan(whole).unwrap_err();
        assert!(error.contains(expected), "{whole}: {error}");
    }
}
