//! What vips say of their addresses.

use super::*;
use crate::state::{Announce, UnknownPorts};

/// [`GOOD`] with `lines` in its vip and `others` in a second vip of the same address, whose block begins at line 20 when
/// `lines` is one line.
fn two(lines: &str, others: &str) -> String {
    let other = "[[vip]]\nname = \"other\"\naddress = \"192.0.2.1\"\nport = 443\nprotocol = \"tcp\"\n";
    format!("{GOOD}{lines}\n\n{other}{others}\n")
}

fn address(text: &str) -> DesiredAddress {
    let config = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.addresses.len(), 1);
    config.addresses.into_values().next().expect("one address")
}

#[test]
fn an_address_of_which_nothing_is_said_is_left_to_others_and_pinged() {
    let expected = DesiredAddress { ping: true, ..DesiredAddress::default() };
    assert_eq!(address(GOOD), expected);
    assert_eq!(address(&two("", "")), expected);
}

#[test]
fn what_one_vip_says_counts_for_all_of_its_address() {
    let text = two(
        "announce = \"address\"",
        "announce_on = [\"eth0\", \"eth0.42\"]\nping = false\nunknown_ports = \"reject\"",
    );
    assert_eq!(
        address(&text),
        DesiredAddress {
            announce: Announce::Address,
            announce_on: vec!["eth0".to_owned(), "eth0.42".to_owned()],
            unknown_ports: UnknownPorts::Reject,
            ping: false,
            withdraw_when_down: false,
        }
    );
    assert!(address(&two("announce = \"arp\"", "withdraw_when_down = true")).withdraw_when_down);
    address(&two(
        "announce = \"arp\"\nannounce_on = [\"b\", \"a\"]",
        "announce = \"arp\"\nannounce_on = [\"a\", \"b\"]",
    ));
}

#[test]
fn unknown_ports_of_an_address_that_the_program_answers_for_are_dropped() {
    let unknown = |lines: &str| address(&two("", lines)).unknown_ports;
    assert_eq!(unknown("announce = \"arp\""), UnknownPorts::Drop);
    assert_eq!(unknown("announce = \"address\""), UnknownPorts::Pass);
    assert_eq!(unknown("announce = \"arp\"\nunknown_ports = \"pass\""), UnknownPorts::Pass);
}

#[test]
fn vips_of_one_address_must_not_contradict_each_other() {
    for (one, other, expected) in [
        ("announce = \"arp\"", "announce = \"none\"", "announce: \"none\" contradicts \"arp\""),
        ("announce = \"arp\"", "announce = \"address\"", "announce: \"address\" contradicts \"arp\""),
        ("ping = false", "ping = true", "ping: true contradicts false"),
        (
            "unknown_ports = \"drop\"",
            "unknown_ports = \"pass\"",
            "unknown_ports: \"pass\" contradicts \"drop\"",
        ),
    ] {
        assert_eq!(
            problems(&two(one, other)),
            [format!(
                "f.toml:25: vip 192.0.2.1:443/tcp: {expected} of vip 192.0.2.1:80/tcp in line 18; both have the same address: write the same, or take one out"
            )]
        );
    }
    let text = two("announce = \"arp\"\nannounce_on = [\"eth0\"]", "announce_on = [\"eth1\"]");
    assert!(problems(&text)[0].contains("announce_on: [\"eth1\"] contradicts [\"eth0\"]"));
    let elsewhere =
        two("ping = false", "ping = true").replacen("192.0.2.1\"\nport = 443", "192.0.2.2\"\nport = 443", 1);
    parse(&elsewhere).expect("another address is another matter");
}

#[test]
fn interfaces_to_announce_on_need_something_to_announce() {
    assert_eq!(
        problems(&two("announce_on = [\"eth0\"]", "")),
        [
            "f.toml:18: vip 192.0.2.1:80/tcp: announce_on: nothing is announced; add announce = \"arp\" or \"address\", or take announce_on out"
        ]
    );
    assert_eq!(
        problems(&two("announce = \"arp\"", "announce_on = [\"eth0\", \"eth0:1\", \"eth0\"]")),
        [
            "f.toml:25: vip 192.0.2.1:443/tcp: announce_on: 'eth0:1' is an alias of an address, not an interface; write the part before the ':'",
            "f.toml:25: vip 192.0.2.1:443/tcp: announce_on: 'eth0' is named twice; remove one",
        ]
    );
}

#[test]
fn what_another_vip_says_of_the_address_is_from_the_file_but_written_where_it_was() {
    let config = parse(&two("announce = \"arp\"", "ping = false")).expect("valid");
    let values = config.values();
    for (path, shown, origin) in [
        ("vip.web.announce", "arp", Origin::File),
        ("vip.other.announce", "arp", Origin::File),
        ("vip.web.unknown_ports", "drop", Origin::Default),
        ("vip.web.ping", "false", Origin::File),
    ] {
        let value = values.iter().find(|value| value.path == path).expect(path);
        assert_eq!((value.value.as_str(), value.origin), (shown, origin), "{path}");
    }
    let written = config.to_toml();
    assert_eq!(written.matches("announce").count(), 1, "{written}");
    let (_, other) = written.split_once("name = \"other\"").expect("the second vip");
    assert!(other.contains("ping = false") && !other.contains("announce"), "{written}");
}
