//! Any text ends in a configuration or in problems, and a configuration written out reads back the same.

use proptest::prelude::*;

use super::any::{config, list};
use super::*;

proptest! {
    #[test]
    fn a_written_configuration_reads_back_equal(config in config()) {
        let text = config.to_toml();
        let parse = |text: &str| Config::parse_with(Path::new("f.toml"), text, &list);
        let read = match parse(&text) {
            Ok(read) => read,
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{text}"))),
        };
        let without_provenance = Config { provenance: Provenance::default(), ..read.clone() };
        prop_assert_eq!(&without_provenance, &config, "{}", text);
        prop_assert_eq!(parse(&read.to_toml()).expect("valid again"), read);
    }

    #[test]
    fn any_text_ends_in_a_configuration_or_in_problems(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.problems().is_empty());
        }
    }

    /// Lines that nearly make sense reach deeper than random text.
    #[test]
    fn lines_in_any_order_end_in_a_configuration_or_in_problems(
        lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..30)
    ) {
        let text = lines.join("\n");
        match parse(&text) {
            Ok(config) => prop_assert_eq!(parse(&config.to_toml()).expect("valid again"), config),
            Err(error) => {
                let last = 1 + text.matches('\n').count() as u32;
                prop_assert!(!error.problems().is_empty());
                prop_assert!(error.problems().iter().all(|problem| (1..=last).contains(&problem.line)));
            }
        }
    }

    #[test]
    fn a_file_with_damage_anywhere_ends_in_a_configuration_or_in_problems(
        at in 0..GOOD.len(), length in 0usize..9, scrap in ".{0,6}"
    ) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + length).min(GOOD.len()), &scrap);
        if let Err(error) = parse(&text) {
            prop_assert!(!error.problems().is_empty());
        }
    }
}

const LINES: &[&str] = &[
    "interfaces = [\"eth0\"]",
    "interfaces = []",
    "xdp_mode = \"generic\"",
    "hash_seed = 9",
    "hash_seed = \"x\"",
    "[tunnel]",
    "source4 = \"10.0.0.0/8\"",
    "source6 = \"::/0\"",
    "source4 = \"0.0.0.0/0\"",
    "ttl = 0",
    "dscp = \"copy\"",
    "[limits]",
    "dests = 1",
    "fragments = 5",
    "fragments = \"hash\"",
    "fragment_timeout = \"1s\"",
    "replies_per_second = 0",
    "gue_variant = 0",
    "oversize = \"drop\"",
    "[flows]",
    "tcp_idle = \"1s\"",
    "quiet = \"2min\"",
    "transition = \"90s\"",
    "flows = 1024",
    "flows = 1025",
    "tracking = \"full\"",
    "slow_start = \"5s\"",
    "[access]",
    "allow = [\"10.0.0.0/8\"]",
    "deny = [\"10.0.0.0/8\", \"::/0\"]",
    "deny_file = \"no-such-file\"",
    "server_id = \"01\"",
    "server_id = \"02\"",
    "mode = \"l2\"",
    "mode = \"gue\"",
    "group = \"g\"",
    "affinity = \"source\"",
    "new_flows_per_second = 5",
    "source_prefix4 = 24",
    "quic_server_id_length = 1",
    "quic_config_id = 3",
    "announce = \"arp\"",
    "announce = \"none\"",
    "announce_on = [\"eth0\"]",
    "unknown_ports = \"reject\"",
    "ping = false",
    "[[vip.route]]",
    "sources = [\"10.0.0.0/8\"]",
    "sources = [\"10.1.0.0/16\", \"10.1.0.0/16\"]",
    "ring_memory = \"1B\"",
    "[[check]]",
    "type = \"tcp\"",
    "type = \"http\"",
    "type = \"exec\"",
    "command = [\"/bin/true\"]",
    "status = [\"2xx\"]",
    "send = \"x\"",
    "interval = \"1s\"",
    "timeout = \"1s\"",
    "check = \"a\"",
    "fail_open = \"none\"",
    "backup = [\"b\"]",
    "quorum_up = 2",
    "quorum_down = 1",
    "panic_percent = 50",
    "guard_percent = 30",
    "guard_hold = \"1min\"",
    "flap_changes = 4",
    "flap_window = \"1min\"",
    "role_check = true",
    "role_conflict = \"newest\"",
    "withdraw_when_down = true",
    "on_unhealthy = \"drain\"",
    "[[backend]]",
    "name = \"a\"",
    "name = \"b\"",
    "address = \"10.0.0.1\"",
    "address = \"10.0.0.2\"",
    "address = \"::\"",
    "weight = 3",
    "weight = 99999",
    "[[vip]]",
    "port = 80",
    "port = 0",
    "protocol = \"tcp\"",
    "protocol = \"udp\"",
    "ring_size = 251",
    "ring_size = 0",
    "backends = [\"a\", \"b\"]",
    "backends = [{ name = \"a\", weight = 1 }]",
    "backends = [[]]",
    "[vrrp]",
    "start_limit = \"5s\"",
    "[[vrrp.router]]",
    "interface = \"eth0\"",
    "router_id = 51",
    "addresses = [\"192.0.2.10\"]",
    "addresses = [\"fe80::33\", \"2001:db8::10/64\"]",
    "more_addresses = [\"192.0.2.11\"]",
    "version = 2",
    "priority = 255",
    "preempt = \"after\"",
    "preempt_delay = \"3s\"",
    "peers = [\"192.0.2.3\"]",
    "check_hop_limit = false",
    "password = \"secret\"",
    "virtual_mac = true",
    "announce_refresh = \"1min\"",
    "track = [{ vip = \"a\", weight = -20 }, { fitness = true }]",
    "[[vrrp.group]]",
    "routers = [\"a\"]",
    "[[vrrp.tracker]]",
    "file = \"/run/prio\"",
    "[[vrrp.external]]",
    "follows = \"192.0.2.9\"",
    "[vip]",
    "[backend.x]",
    "vip = 1",
    "x.y.z = 1",
    "= 1",
];
