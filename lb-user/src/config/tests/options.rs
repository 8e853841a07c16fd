//! Mistakes in the options of vips and backends, and in the settings of the whole instance that go with them.

use super::*;
use crate::state::{FlowLimits, Fragments, GueVariant, Oversize, QuicRouting};

/// [`GOOD`] with `lines` behind the vip's.
fn vip(lines: &str) -> String {
    format!("{GOOD}{lines}\n")
}

/// Each row: a line of the vip, and the only problem that must come of it.
#[track_caller]
fn each_is_one_problem(rows: &[(&str, &str)]) {
    for (line, expected) in rows {
        assert_eq!(problems(&vip(line)), [format!("f.toml:18: vip 192.0.2.1:80/tcp: {expected}")], "{line}");
    }
}

#[track_caller]
fn section_problem(section: &str, line: &str, expected: &str) {
    let text = with("[[backend]]", &format!("[{section}]\n{line}\n[[backend]]"));
    assert_eq!(problems(&text), [format!("f.toml:4: [{section}]: {expected}")], "{line}");
}

#[test]
fn every_option_is_read() {
    let text = r#"
interfaces = ["eth0"]
[tunnel]
gue_port = 6081
gue_variant = 0
oversize = "drop"
[limits]
fragments = 7
replies_per_second = 0
fragments_per_second = 9
fragment_timeout = "500ms"
[[backend]]
name = "b"
address = "10.0.0.1"
mode = "l2"
server_id = "C0FFEE01"
[[vip]]
name = "q"
address = "192.0.2.1"
port = 443
protocol = "udp"
mode = "gue"
affinity = "source"
group = "g"
fragments = "hash"
new_flows_per_second = 1000
source_new_flows_per_second = 10
source_prefix4 = 24
source_prefix6 = 56
quic_server_id_length = 4
quic_config_id = 2
backends = ["b"]
"#;
    let config = parse(text).expect("valid");
    let tunnel = &config.tunnel;
    assert_eq!(
        (tunnel.gue_port, tunnel.gue_variant, tunnel.oversize),
        (6081, GueVariant::Header, Oversize::Drop)
    );
    assert_eq!(config.limits.fragments, 7);
    let timeout = std::time::Duration::from_millis(500);
    assert_eq!(
        config.answers,
        Answers { replies_per_second: 0, fragments_per_second: 9, fragment_timeout: timeout }
    );
    let backend = &config.backends["b"];
    assert_eq!(backend.mode, Some(Mode::L2));
    let id = ServerId { bytes: [0xc0, 0xff, 0xee, 1, 0, 0, 0, 0], len: 4 };
    assert_eq!(backend.server_id, Some(id));
    let vip = config.vips.values().next().expect("one vip");
    assert_eq!((vip.mode, vip.options.fragments), (Mode::Gue, Fragments::Hash));
    assert_eq!(vip.options.group.as_deref(), Some("g"));
    assert_eq!(
        vip.options.limits,
        FlowLimits {
            vip_per_second: Some(1000),
            source_per_second: Some(10),
            source_prefix4: 24,
            source_prefix6: 56
        }
    );
    assert_eq!(vip.options.quic, Some(QuicRouting { server_id_len: 4, config_id: 2 }));
}

#[test]
fn tunnel_and_limits_say_what_they_take() {
    section_problem(
        "tunnel",
        "gue_port = 0",
        "gue_port: 0 is out of range; write a whole number from 1 to 65535",
    );
    section_problem(
        "tunnel",
        "gue_variant = 2",
        "gue_variant: 2 is out of range; write a whole number from 0 to 1",
    );
    section_problem(
        "tunnel",
        "oversize = \"kernle\"",
        "oversize: 'kernle' is not known; write \"kernel\" or \"drop\"; did you mean 'kernel'?",
    );
    section_problem(
        "limits",
        "fragments = 0",
        "fragments: 0 is out of range; write a whole number from 1 to 1048576",
    );
    section_problem(
        "limits",
        "replies_per_second = 1000001",
        "replies_per_second: 1000001 is out of range; write a whole number from 0 to 1000000",
    );
    section_problem(
        "limits",
        "fragments_per_second = 10000001",
        "fragments_per_second: 10000001 is out of range; write a whole number from 0 to 10000000",
    );
}

#[test]
fn a_timeout_is_a_text_with_a_unit() {
    let problem = |value: &str, expected: &str| {
        section_problem(
            "limits",
            &format!("fragment_timeout = {value}"),
            &format!("fragment_timeout: {expected}"),
        );
    };
    problem("15", "found the number 15; write a text such as \"15s\" or \"500ms\"");
    problem("\"15\"", "'15' is not a span of time; write a text such as \"15s\" or \"500ms\"");
    problem("\"99ms\"", "'99ms' is out of range; write 100ms to 10m");
    problem("\"1h\"", "'1h' is out of range; write 100ms to 10m");
    for edge in ["100ms", "10min", "1m 30s"] {
        let text = with("[[backend]]", &format!("[limits]\nfragment_timeout = \"{edge}\"\n[[backend]]"));
        parse(&text).expect(edge);
    }
}

#[test]
fn options_of_a_vip_say_what_they_take() {
    let rate = "is out of range; write a whole number from 1 to 100000000";
    each_is_one_problem(&[
        (
            "fragments = \"trak\"",
            "fragments: 'trak' is not known; write \"track\" or \"hash\" or \"drop\"; did you mean 'track'?",
        ),
        ("new_flows_per_second = 0", &format!("new_flows_per_second: 0 {rate}")),
        (
            "source_new_flows_per_second = 200000000",
            &format!("source_new_flows_per_second: 200000000 {rate}"),
        ),
        (
            "source_prefix4 = 24",
            "source_prefix4: there is no limit for sources to apply it to; add source_new_flows_per_second, or take source_prefix4 out",
        ),
        (
            "source_prefix6 = 64",
            "source_prefix6: there is no limit for sources to apply it to; add source_new_flows_per_second, or take source_prefix6 out",
        ),
        ("ping = 1", "ping: found the number 1; write true or false"),
        (
            "announce_on = \"eth0\"",
            "announce_on: found the text 'eth0'; write a list of texts, such as [\"eth0\"]",
        ),
    ]);
    let bits = problems(&vip("source_new_flows_per_second = 1\nsource_prefix4 = 7"));
    assert_eq!(
        bits,
        [
            "f.toml:19: vip 192.0.2.1:80/tcp: source_prefix4: 7 is out of range; write a whole number from 8 to 32"
        ]
    );
    let group = problems(&vip("affinity = \"source\"\ngroup = \"a b\""));
    assert_eq!(
        group,
        ["f.toml:19: vip 192.0.2.1:80/tcp: group: 'a b' contains ' '; use letters, digits and . _ : / [ ] -"]
    );
    let unknown = problems(&vip("anounce = \"arp\""));
    assert_eq!(unknown, ["f.toml:18: unknown key 'anounce' in [[vip]]; did you mean 'announce'?"]);
    let elsewhere = problems(&vip("server_id = \"01\""));
    assert_eq!(elsewhere, ["f.toml:18: unknown key 'server_id' in [[vip]]; it belongs in [[backend]]"]);
}

/// [`GOOD`] as a QUIC vip whose backends have these ids.
fn quic(first: &str, second: &str) -> String {
    let id = |id: &str| if id.is_empty() { String::new() } else { format!("\nserver_id = \"{id}\"") };
    vip("quic_server_id_length = 2")
        .replace("protocol = \"tcp\"", "protocol = \"udp\"")
        .replace("\"10.0.0.11\"", &format!("\"10.0.0.11\"{}", id(first)))
        .replace("weight = 50", &format!("weight = 50{}", id(second)))
}

#[test]
fn every_backend_of_a_quic_vip_has_a_server_id_of_its_own() {
    parse(&quic("0001", "0002")).expect("valid");
    let refused = |first, second, expected: &str| {
        let found = problems(&quic(first, second));
        assert_eq!(found.len(), 1, "{found:?}");
        let (_, text) = found[0].split_once(": vip 192.0.2.1:80/udp: backends: ").expect(&found[0]);
        assert_eq!(text, expected);
    };
    refused("0001", "", "'web-2' has no server_id; add server_id = \"…\" with 4 hexadecimal digits to it");
    refused(
        "01",
        "0002",
        "'web-1' has the server_id 01 of 1 bytes, but quic_server_id_length = 2; write 4 hexadecimal digits",
    );
    refused("0A0b", "0a0B", "'web-2' and 'web-1' have the same server_id 0a0b; give each its own");
    let refused = |id: &str| {
        let found = problems(&quic("0001", id));
        let expected = format!(
            "f.toml:12: backend web-2: server_id: '{id}' is no server id; write 2 to 16 hexadecimal digits in quotes, two a byte, such as \"c0ffee01\""
        );
        assert!(found.contains(&expected), "{found:?}");
    };
    for id in ["xy", "123", "00112233445566778", "001122334455667788", "+1"] {
        refused(id);
    }
}

#[test]
fn backends_of_routes_need_server_ids_too() {
    let text = quic("0001", "0002")
        + "[[backend]]\nname = \"c\"\naddress = \"10.0.0.13\"\n"
        + "[[vip.route]]\nname = \"r\"\nsources = [\"10.0.0.0/8\"]\nbackends = [\"c\"]\n";
    assert_eq!(
        problems(&text),
        [
            "f.toml:27: vip 192.0.2.1:80/udp: backends: 'c' has no server_id; add server_id = \"…\" with 4 hexadecimal digits to it"
        ]
    );
}

#[test]
fn quic_is_for_udp_and_all_of_it_hangs_on_the_length() {
    each_is_one_problem(&[(
        "quic_config_id = 1",
        "quic_config_id: QUIC routing is off; add quic_server_id_length, or take quic_config_id out",
    )]);
    let tcp = quic("0001", "0002").replace("\"udp\"", "\"tcp\"");
    assert_eq!(
        problems(&tcp),
        [
            "f.toml:20: vip 192.0.2.1:80/tcp: quic_server_id_length: QUIC is UDP, and this vip is not; write protocol = \"udp\", or take quic_server_id_length out"
        ]
    );
}

#[test]
fn tables_of_server_ids_take_ring_memory() {
    // A ring of 251 slots and its table of ids take a page of 2 KiB each, both twice, and the only ring is the largest.
    let limits = |memory: &str| {
        quic("0001", "0002").replace("port = 80", "port = 80\nring_size = 251")
            + &format!("[limits]\nring_memory = \"{memory}\"\n")
    };
    parse(&limits("16KiB")).expect("fits");
    let refused = problems(&limits("15KiB"));
    assert!(refused[0].contains("the 1 rings of this file take 16KiB"), "{refused:?}");
}
