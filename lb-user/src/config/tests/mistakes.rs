//! Mistakes in keys, forms and single values.

use super::*;

/// Each row: a text of the good file, what a user writes instead, and the only problem that must come of it.
#[track_caller]
fn each_is_one_problem(rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        assert_eq!(problems(&with(from, to)), [format!("f.toml:{expected}")], "{to}");
    }
}

const TOP: &str = "interfaces = [\"eth0\"]\n";

fn top(line: &str) -> String {
    with(TOP, &format!("{TOP}{line}\n"))
}

#[track_caller]
fn top_problem(line: &str, expected: &str) {
    assert_eq!(problems(&top(line)), [format!("f.toml:2: {expected}")], "{line}");
}

#[track_caller]
fn section_problem(section: &str, line: &str, expected: &str) {
    let text = top(&format!("[{section}]\n{line}"));
    assert_eq!(problems(&text), [format!("f.toml:3: {expected}")], "{line}");
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    top_problem("xdp-mode = \"native\"", "unknown key 'xdp-mode' in the top level; did you mean 'xdp_mode'?");
    top_problem("Hash_Seed = 1", "unknown key 'Hash_Seed' in the top level; did you mean 'hash_seed'?");
    top_problem("vips = []", "unknown key 'vips' in the top level; did you mean [[vip]]?");
    top_problem("ttl = 3", "unknown key 'ttl' in the top level; it belongs in [tunnel]");
    top_problem(
        "colour = 3",
        "unknown key 'colour' in the top level; known are interfaces, xdp_mode, hash_seed, metrics_listen, peer_listen, tunnel, limits, flows, access, check, backend, vip, vrrp, peer, hook",
    );
    section_problem(
        "tunnel",
        "source = \"192.0.2.9\"",
        "unknown key 'source' in [tunnel]; did you mean 'source4'?",
    );
    each_is_one_problem(&[
        ("weight = 50", "wieght = 50", "10: unknown key 'wieght' in [[backend]]; did you mean 'weight'?"),
        (
            "weight = 50",
            "port = 80",
            "10: unknown key 'port' in [[backend]]; it belongs in [[check]] or [[vip]] or [[hook]]",
        ),
        ("weight = 7", "wait = 7", "17: unknown key 'wait' in 'backends' of [[vip]]; known are name, weight"),
    ]);
}

#[test]
fn a_key_of_the_top_level_behind_a_section_is_sent_back_there() {
    section_problem(
        "tunnel",
        "hash_seed = 1",
        "unknown key 'hash_seed' in [tunnel]; it belongs at the top of the file, before the first [section]",
    );
}

#[test]
fn single_brackets_are_told_from_double_ones() {
    let text = with("[[vip]]", "[vip]");
    assert_eq!(
        problems(&text),
        ["f.toml:12: vip: found a table; write [[vip]] before each vip, with double brackets"]
    );
    let text = top("[[tunnel]]\nttl = 3");
    assert_eq!(problems(&text), ["f.toml:2: tunnel: found a list; write the table [tunnel]"]);
    top_problem("limits = 3", "limits: found the number 3; write the table [limits]");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let error = problems("interfaces = [\"eth0\"]\nxdp_mode = native\n");
    assert!(error[0].starts_with("f.toml:2: not TOML: "), "{error:?}");
    let error = problems("interfaces = [\"eth0\"]\n\n\ninterfaces = [\"eth1\"]\n");
    assert!(error[0].starts_with("f.toml:4: not TOML: duplicate key"), "{error:?}");
    let error = problems("interfaces = [\"eth0\"");
    assert!(error[0].starts_with("f.toml:1: not TOML: "), "{error:?}");
}

#[test]
fn an_empty_file_asks_for_interfaces() {
    assert_eq!(problems(""), ["f.toml:1: 'interfaces' is missing; add interfaces = …"]);
}

#[test]
fn interfaces_must_be_names_that_can_exist() {
    let rows = [
        ("\"eth0\"", "found the text 'eth0'; write a list of texts, such as [\"eth0\"]"),
        ("[3]", "found the number 3; write a list of texts, such as [\"eth0\"]"),
        (
            "[\"lo\"]",
            "'lo' is the loopback interface, where no packets of clients arrive; `ip link` lists others",
        ),
        (
            "[\"eth0:1\"]",
            "'eth0:1' is an alias of an address, not an interface; write the part before the ':'",
        ),
        (
            "[\"eth0@if2\"]",
            "'eth0@if2' is how `ip link` shows a child interface; write the part before the '@'",
        ),
        ("[\"eth 0\"]", "'eth 0' is no name that an interface can have; `ip link` lists interfaces"),
        ("[\"\"]", "'' is empty; `ip link` lists interfaces"),
        ("[\"abcdefghijklmnop\"]", "'abcdefghijklmnop' is longer than the 15 bytes that a name can have"),
        ("[\"eth0\", \"eth0\"]", "'eth0' is named twice; remove one"),
    ];
    for (value, expected) in rows {
        let text = with("[\"eth0\"]", value);
        assert_eq!(problems(&text), [format!("f.toml:1: interfaces: {expected}")], "{value}");
    }
    let many: Vec<_> = (0..65).map(|n| format!("\"eth{n}\"")).collect();
    let text = with("[\"eth0\"]", &format!("[{}]", many.join(", ")));
    assert_eq!(problems(&text), ["f.toml:1: interfaces: 65 are too many; name at most 64"]);
}

#[test]
fn settings_of_the_top_level_say_what_they_take() {
    top_problem(
        "xdp_mode = \"nativ\"",
        "xdp_mode: 'nativ' is not known; write \"native\" or \"generic\" or \"offload\"; did you mean 'native'?",
    );
    top_problem("xdp_mode = true", "xdp_mode: found true; write \"native\" or \"generic\" or \"offload\"");
    top_problem(
        "hash_seed = -1",
        "hash_seed: -1 is out of range; write a whole number from 0 to 18446744073709551615",
    );
    top_problem(
        "hash_seed = 1.5",
        "hash_seed: found the number 1.5; write a whole number from 0 to 18446744073709551615",
    );
    let refuse = |text: &str, example: &str| {
        top_problem(
            &format!("metrics_listen = \"{text}\""),
            &format!("metrics_listen: '{text}' is not ADDRESS:PORT; write for example \"{example}\""),
        );
    };
    refuse(":9100", "0.0.0.0:9100");
    refuse("localhost:9100", "127.0.0.1:9100");
    refuse("9100", "127.0.0.1:9100");
    refuse("::1", "[::1]:9464");
    refuse("192.0.2.1:0", "192.0.2.1:9464");
    top_problem(
        "metrics_listen = 9464",
        "metrics_listen: found the number 9464; write ADDRESS:PORT in quotes",
    );
}

#[test]
fn tunnel_settings_say_what_they_take() {
    let tunnel =
        |line: &str, expected: &str| section_problem("tunnel", line, &format!("[tunnel]: {expected}"));
    tunnel("ttl = 0", "ttl: 0 is out of range; write a whole number from 1 to 255");
    tunnel("ttl = 256", "ttl: 256 is out of range; write a whole number from 1 to 255");
    tunnel("dscp = 64", "dscp: 64 is out of range; write a whole number from 0 to 63");
    tunnel("dscp = \"ef\"", "dscp: found the text 'ef'; write \"copy\" or a whole number from 0 to 63");
    tunnel("source4 = \"2001:db8::1\"", "source4: '2001:db8::1' is of family IPv6; write it as source6");
    tunnel("source6 = \"192.0.2.0/24\"", "source6: '192.0.2.0/24' is of family IPv4; write it as source4");
    tunnel(
        "source4 = \"172.16.0.1/16\"",
        "source4: '172.16.0.1/16' has host bits set, but those carry flow entropy; write \"172.16.0.0/16\", or \"172.16.0.1\" for one address",
    );
    tunnel(
        "source4 = \"172.16.0.0/33\"",
        "source4: '172.16.0.0/33': the prefix length of an IPv4 source goes from /8 to /32",
    );
    tunnel(
        "source6 = \"2001:db8::/64\"",
        "source6: '2001:db8::/64': the prefix length of an IPv6 source goes from /96 to /128",
    );
    tunnel(
        "source4 = \"eth0\"",
        "source4: 'eth0' is neither address nor prefix; write \"192.0.2.10\" or \"172.16.0.0/16\"",
    );
    tunnel("source4 = \"127.0.0.1\"", "source4: 127.0.0.1 is a loopback address and never leaves its host");
}

#[test]
fn a_tunnel_source_is_nobody_elses_address() {
    let forged = "which would drop such packets as forged; use addresses of this host";
    section_problem(
        "tunnel",
        "source4 = \"192.0.2.1\"",
        &format!("[tunnel]: source4: 192.0.2.1 is the address of vip 192.0.2.1:80/tcp, {forged}"),
    );
    let text = top("[tunnel]\nsource4 = \"10.0.0.8/29\"");
    assert_eq!(
        problems(&text),
        ["web-1", "web-2"].map(|name| format!(
            "f.toml:3: [tunnel]: source4: 10.0.0.8/29 contains the address of backend {name}, {forged}"
        ))
    );
}

#[test]
fn amounts_of_memory_have_binary_units() {
    let memory = |value: &str| {
        let text = top(&format!("[limits]\nring_memory = {value}"));
        parse(&text).map(|config| config.limits.ring_memory)
    };
    for (value, bytes) in [
        ("33554432", 32 << 20),
        ("\"1048576\"", 1 << 20),
        ("\"786432B\"", 768 << 10),
        ("\"2048KiB\"", 2 << 20),
        ("\"32 MiB\"", 32 << 20),
        ("\"4GiB\"", 4 << 30),
    ] {
        assert_eq!(memory(value).expect(value), bytes, "{value}");
    }
    for wrong in ["32MB", "32M", "MiB", "", "-1MiB", "5GiB", "0", "99999999999999999999GiB"] {
        let error = memory(&format!("\"{wrong}\"")).expect_err(wrong).to_string();
        let expected = format!(
            "[limits]: ring_memory: '{wrong}' is not an amount of memory; write bytes or for example \"64MiB\""
        );
        assert!(error.contains(&expected), "{error}");
    }
    assert!(memory("0").is_err());
}
