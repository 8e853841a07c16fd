//! Mistakes in backends and vips, and in how they go together.

use super::*;

#[track_caller]
fn each_is_one_problem(rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        assert_eq!(problems(&with(from, to)), [format!("f.toml:{expected}")], "{to}");
    }
}

#[test]
fn missing_keys_of_backends_and_vips_are_named() {
    each_is_one_problem(&[
        (
            "name = \"web-2\"\naddress = \"10.0.0.12\"",
            "name = \"web-2\"",
            "7: backend web-2: 'address' is missing; add address = …",
        ),
        ("port = 80\n", "", "12: vip web: 'port' is missing; add port = …"),
        ("protocol = \"tcp\"\n", "", "12: vip web: 'protocol' is missing; add protocol = …"),
        (
            "{ name = \"web-2\", weight = 7 }",
            "{ weight = 7 }",
            "17: vip 192.0.2.1:80/tcp: backends: 'name' is missing; add name = …",
        ),
    ]);
    let text = format!("{GOOD}[[backend]]\naddress = \"10.0.0.13\"\n");
    assert_eq!(problems(&text), ["f.toml:18: [[backend]]: 'name' is missing; add name = …"]);
}

#[test]
fn addresses_are_written_bare() {
    each_is_one_problem(&[
        (
            "\"10.0.0.11\"",
            "\"10.0.0.11/32\"",
            "5: backend web-1: address: '10.0.0.11/32' is not an address; write \"10.0.0.11\" without the prefix length",
        ),
        (
            "\"10.0.0.11\"",
            "\"web.example.org\"",
            "5: backend web-1: address: 'web.example.org' is not an address; write an IPv4 or IPv6 address; host names are not looked up",
        ),
        (
            "\"10.0.0.11\"",
            "\"fe80::1%eth0\"",
            "5: backend web-1: address: 'fe80::1%eth0' is not an address; write \"fe80::1\" without the zone",
        ),
        (
            "\"192.0.2.1\"",
            "\"[2001:db8::1]\"",
            "14: vip web: address: '[2001:db8::1]' is not an address; write \"2001:db8::1\" without the brackets",
        ),
        (
            "\"192.0.2.1\"",
            "\"192.0.2.1:80\"",
            "14: vip web: address: '192.0.2.1:80' is not an address; write \"192.0.2.1\" without the port",
        ),
        (
            "\"192.0.2.1\"",
            "3232235777",
            "14: vip web: address: found the number 3232235777; write an address in quotes",
        ),
    ]);
}

#[test]
fn addresses_that_are_no_hosts_are_refused_with_the_reason() {
    each_is_one_problem(&[
        (
            "\"10.0.0.11\"",
            "\"127.0.0.1\"",
            "5: backend web-1: address: 127.0.0.1 is a loopback address and never leaves its host",
        ),
        (
            "\"10.0.0.11\"",
            "\"fe80::1\"",
            "5: backend web-1: address: fe80::1 is a link-local address, which is no address beyond its link; write a global or unique local one",
        ),
        (
            "\"192.0.2.1\"",
            "\"0.0.0.0\"",
            "14: vip 0.0.0.0:80/tcp: address: 0.0.0.0 is the unspecified address; write the real one",
        ),
        (
            "\"192.0.2.1\"",
            "\"224.0.0.1\"",
            "14: vip 224.0.0.1:80/tcp: address: 224.0.0.1 is a multicast address; write the address of one host",
        ),
        (
            "\"192.0.2.1\"",
            "\"255.255.255.255\"",
            "14: vip 255.255.255.255:80/tcp: address: 255.255.255.255 is the broadcast address; write the address of one host",
        ),
    ]);
}

#[test]
fn a_vip_and_a_backend_never_share_an_address() {
    each_is_one_problem(&[(
        "\"192.0.2.1\"",
        "\"10.0.0.12\"",
        "14: vip 10.0.0.12:80/tcp: address: 10.0.0.12 is also the address of backend web-2 in line 8; tunnels to it would end at the vip itself: give the vip an address of its own",
    )]);
}

#[test]
fn weights_stay_within_sixteen_bits() {
    let range = "is out of range; write a whole number from 0 to 65535";
    each_is_one_problem(&[
        ("weight = 50", "weight = 65536", &format!("10: backend web-2: weight: 65536 {range}")),
        ("weight = 50", "weight = -1", &format!("10: backend web-2: weight: -1 {range}")),
        (
            "weight = 7",
            "weight = 70000",
            &format!("17: vip 192.0.2.1:80/tcp: backends: weight: 70000 {range}"),
        ),
        (
            "weight = 50",
            "weight = \"50\"",
            "10: backend web-2: weight: found the text '50'; write a whole number from 0 to 65535",
        ),
    ]);
}

#[test]
fn names_are_unique_and_safe_to_type() {
    each_is_one_problem(&[
        (
            "name = \"web\"",
            "name = \"my web\"",
            "13: vip 192.0.2.1:80/tcp: name: 'my web' contains ' '; use letters, digits and . _ : / [ ] -",
        ),
        (
            "name = \"web\"",
            "name = \"wéb\"",
            "13: vip 192.0.2.1:80/tcp: name: 'wéb' contains 'é'; use letters, digits and . _ : / [ ] -",
        ),
        (
            "name = \"web\"",
            "name = \"\"",
            "13: vip 192.0.2.1:80/tcp: name: '' is empty; write 1 to 64 characters",
        ),
        (
            "name = \"web\"",
            "name = \"192.0.2.9:80/tcp\"",
            "13: vip 192.0.2.1:80/tcp: name: '192.0.2.9:80/tcp' reads like another vip's address; choose a name that is none",
        ),
    ]);
    // The name that is gone is missed by the vip, too.
    let text = with("name = \"web-2\"\n", "name = \"web-1\"\n");
    assert_eq!(
        problems(&text),
        [
            "f.toml:8: backend web-1: the name is taken by the backend in line 4; choose another or remove one",
            "f.toml:17: vip 192.0.2.1:80/tcp: backends: no backend is called 'web-2'; did you mean 'web-1'?",
        ]
    );
    let long = "x".repeat(65);
    let text = with("name = \"web\"", &format!("name = \"{long}\""));
    assert_eq!(
        problems(&text),
        [format!("f.toml:13: vip 192.0.2.1:80/tcp: name: '{long}' has 65 characters; write at most 64")]
    );
}

#[test]
fn a_vip_stands_in_one_block_only() {
    let again = "[[vip]]\naddress = \"192.0.2.1\"\nport = 80\nprotocol = \"tcp\"\n";
    assert_eq!(
        problems(&format!("{GOOD}{again}")),
        [
            "f.toml:18: vip 192.0.2.1:80/tcp: the same address, port and protocol are in line 12; put all backends into one of the two"
        ]
    );
    let same_name = "[[vip]]\nname = \"web\"\naddress = \"192.0.2.1\"\nport = 81\nprotocol = \"tcp\"\n";
    assert_eq!(
        problems(&format!("{GOOD}{same_name}")),
        [
            "f.toml:19: vip 192.0.2.1:81/tcp: name: 'web' is taken by vip 192.0.2.1:80/tcp in line 12; choose another"
        ]
    );
    let other_protocol = again.replace("tcp", "udp");
    parse(&format!("{GOOD}{other_protocol}")).expect("another protocol is another vip");
}

#[test]
fn ring_sizes_are_primes_and_the_nearest_are_named() {
    let size = |size: &str, expected: &str| {
        let text = with("port = 80\n", &format!("port = 80\nring_size = {size}\n"));
        assert_eq!(problems(&text), [format!("f.toml:16: vip 192.0.2.1:80/tcp: ring_size: {expected}")]);
    };
    size("65536", "65536 is not a prime; write 65521 or 65537");
    size("100", "100 is out of range (251 to 655373); write 251");
    size("1000000", "1000000 is out of range (251 to 655373); write 655373");
    size("-7", "-7 is out of range; write a whole number from 0 to 4294967295");
}

#[test]
fn a_vip_names_each_backend_and_each_address_once() {
    let vip = "f.toml:17: vip 192.0.2.1:80/tcp: backends:";
    let list = "[\"web-1\", { name = \"web-2\", weight = 7 }]";
    let refuse =
        |to: &str, expected: &str| assert_eq!(problems(&with(list, to)), [format!("{vip} {expected}")]);
    refuse("[\"web-1\", \"web-1\"]", "'web-1' is named twice; remove one, and use weight for a larger share");
    refuse("[\"cache\"]", "no backend is called 'cache'; add a [[backend]] with name = \"cache\"");
    refuse(
        "\"web-1\"",
        "found the text 'web-1'; write a list such as [\"web-1\", { name = \"web-2\", weight = 50 }]",
    );
    refuse("[1]", "found the number 1; write a list such as [\"web-1\", { name = \"web-2\", weight = 50 }]");
    let text = with("\"10.0.0.12\"", "\"10.0.0.11\"");
    assert_eq!(
        problems(&text),
        [format!(
            "{vip} 'web-1' and 'web-2' have the same address 10.0.0.11; remove one, and use weight for a larger share"
        )]
    );
}

#[test]
fn a_broken_backend_is_not_missed_by_its_vips() {
    let text = with("\"10.0.0.11\"", "\"10.0.0\"");
    assert_eq!(problems(&text).len(), 1);
}

/// A file of `count` vips with rings of `ring_size` slots, each with both backends of [`GOOD`].
fn many_vips(count: u32, ring_size: u32, limits: &str) -> String {
    let (head, _) = GOOD.split_once("[[vip]]").expect("a vip");
    let mut text = format!("{head}{limits}");
    for n in 0..count {
        let [_, _, high, low] = n.to_be_bytes();
        text.push_str(&format!(
            "[[vip]]\naddress = \"198.18.{high}.{low}\"\nport = 80\nprotocol = \"tcp\"\nring_size = {ring_size}\nbackends = [\"web-1\", \"web-2\"]\n"
        ));
    }
    text
}

#[test]
fn rings_must_fit_the_ring_memory_twice_with_one_to_spare() {
    // 65537 slots are 65 pages of 2 KiB; 32 MiB hold 252 such rings.
    let limit = "[limits]\nring_memory = \"32MiB\"\n";
    parse(&many_vips(125, 65_537, limit)).expect("125 rings fit twice");
    let refused = problems(&many_vips(126, 65_537, limit));
    assert_eq!(
        refused,
        [
            "f.toml:13: [limits]: ring_memory: the 126 rings of this file take 33020KiB (each twice, for what a change leaves behind, and the largest once more), but ring_memory = \"32MiB\"; write ring_memory = \"33MiB\" or choose smaller ring sizes"
        ]
    );
    parse(&many_vips(126, 65_537, "[limits]\nring_memory = \"33MiB\"\n")).expect("the advice is right");
    let refused = problems(&many_vips(1, 251, "[limits]\nring_memory = \"3KiB\"\n"));
    assert!(refused[0].starts_with("f.toml:13: [limits]: ring_memory: the 1 rings"), "{refused:?}");
}

#[test]
fn dests_must_fit_twice_with_one_block_to_spare() {
    parse(&many_vips(3, 251, "[limits]\ndests = 16\n")).expect("3 x 4 + 4 fit");
    assert_eq!(
        problems(&many_vips(3, 251, "[limits]\ndests = 15\n")),
        [
            "f.toml:13: [limits]: dests: the vips of this file take 16 (each a power of two with room for its backends twice, and one spare), but dests = 15; write dests = 16 or more"
        ]
    );
}

/// A file of `count` vips, `ports` on each address; the block of the first begins at line 4, each has 5 lines.
fn vips_on_ports(count: u32, ports: u32) -> String {
    let mut text =
        "interfaces = [\"eth0\"]\nlimits.dests = 32768\nlimits.ring_memory = \"64MiB\"\n".to_owned();
    for n in 0..count {
        let [_, _, high, low] = (n / ports).to_be_bytes();
        let port = 80 + n % ports;
        text.push_str(&format!(
            "[[vip]]\naddress = \"198.18.{high}.{low}\"\nport = {port}\nprotocol = \"tcp\"\nring_size = 251\n"
        ));
    }
    text
}

#[test]
fn a_family_has_room_for_4096_vips() {
    parse(&vips_on_ports(4096, 2)).expect("4096 vips fit");
    assert_eq!(
        problems(&vips_on_ports(4097, 2)),
        [format!(
            "f.toml:{}: [[vip]]: 4097 IPv4 vips do not fit, there is room for 4096; take port 0 for addresses with many ports, or split them over two instances",
            4 + 4096 * 5
        )]
    );
}

#[test]
fn a_family_has_room_for_7000_vips_and_addresses() {
    parse(&vips_on_ports(3500, 1)).expect("3500 vips with an address each fit");
    assert_eq!(
        problems(&vips_on_ports(3501, 1)),
        [format!(
            "f.toml:{}: [[vip]]: the IPv4 vips with their routes and addresses take 7002 places, there are 7000; put vips on fewer addresses, or split them over two instances",
            4 + 3500 * 5
        )]
    );
}
