//! Virtual routers: what is read, and what does not fit together.

mod router;

use std::time::Duration;

use lb_vrrp::announce::Schedule;
use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::{Authentication, Interval, Ipv4Sum, Version};

use super::*;
use crate::state::Announce;
use crate::vrrp::{Address, External, Router, Subject, Tracker};

const V4: &str = "\n[[vrrp.router]]\nname = \"edge4\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"192.0.2.1\"]\n";
const V6: &str = "\n[[vrrp.router]]\nname = \"edge6\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = [\"fe80::33\", \"2001:db8::10/64\"]\n";
const EXTERNAL: &str = "\n[[vrrp.external]]\nname = \"kd\"\naddresses = [\"192.0.2.1\"]\n";

/// [`GOOD`] with more at its end; the first line of `more` is number 18.
fn and(more: &str) -> String {
    format!("{GOOD}{more}")
}

/// [`GOOD`], whose vip is announced, with more at its end, beginning with line 19.
fn announced(more: &str) -> String {
    format!("{GOOD}announce = \"arp\"\n{more}")
}

/// The only problem of [`V4`] with `more`, in the line of the key that `expected` begins with.
#[track_caller]
fn router_problem(more: &str, expected: &str) {
    let found = problems(&and(&format!("{V4}{more}\n")));
    let key = expected.split(':').next().expect("a key");
    let line = 24 + more.lines().position(|line| line.starts_with(key)).expect("the key's line");
    assert_eq!(found, [format!("f.toml:{line}: virtual router edge4: {expected}")], "{more}");
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|problem| format!("f.toml:{problem}")).collect();
    assert_eq!(problems(text), expected, "{text}");
}

fn address(text: &str, prefix_len: u8, announce: Announce) -> Address {
    let address: IpAddr = text.parse().expect("address");
    let is_vip = address.to_string() == "192.0.2.1";
    Address { address, prefix_len, announce, is_vip, on: None }
}

#[test]
fn a_small_virtual_router_takes_keepalived_s_defaults() {
    let config = parse(&and(&format!("announce = \"arp\"\nannounce_on = [\"eth0\"]\n{V4}"))).expect("valid");
    let expected = Router {
        interface: "eth0".to_owned(),
        vrid: 51,
        version: Version::V3,
        priority: 100,
        interval: Interval::DEFAULT,
        addresses: vec![address("192.0.2.1", 32, Announce::Arp)],
        more_addresses: Vec::new(),
        preempt: Preempt::Now,
        authentication: Authentication::None,
        peers: Vec::new(),
        source: None,
        check_hop_limit: true,
        sum: Ipv4Sum::Pseudo,
        virtual_mac: false,
        fencing: true,
        accept: true,
        announce: Schedule::default(),
        track: Vec::new(),
    };
    assert_eq!(config.vrrp.routers["edge4"], expected);
    assert_eq!(config.vrrp.gate_limit, Duration::from_secs(30));
    assert_eq!(parse(GOOD).expect("valid").vrrp, crate::vrrp::Wanted::default());
}

#[test]
fn every_setting_of_virtual_routers_is_read() {
    let more = r#"
announce = "address"
announce_on = ["eth1"]

[vrrp]
start_limit = "5s"

[[vrrp.router]]
name = "edge4"
interface = "eth0"
router_id = 51
addresses = ["192.0.2.1/24", "192.0.2.11"]
more_addresses = ["2001:db8::99"]
version = 2
priority = 150
interval = "2s"
preempt = "after"
preempt_delay = "30s"
peers = ["192.0.2.3"]
source = "192.0.2.2"
check_hop_limit = false
password = "secret"
fencing = false
accept = false
announce_repeat = 2
announce_delay = "0s"
announce_refresh = "1min"
announce_refresh_repeat = 3
announce_lower_priority_repeat = 0
track = [{ interface = "eth1", weight = -20 }, { tracker = "uplink" }, { vip = "web", weight = 50 }, { fitness = true, weight = -100 }]

[[vrrp.router]]
name = "edge6"
interface = "eth0"
router_id = 51
priority = 150
preempt = "after"
preempt_delay = "30s"
addresses = ["fe80::33", "2001:db8::10/64"]
virtual_mac = true

[[vrrp.router]]
name = "other"
interface = "eth1"
router_id = 51
addresses = ["192.0.2.12"]
checksum = "rfc9568"
preempt = "never"

[[vrrp.group]]
name = "edge"
routers = ["edge6", "edge4"]

[[vrrp.tracker]]
name = "uplink"
command = ["/bin/check", "-x"]
interval = "3s"
timeout = "2s"
rise = 2
fall = 3

[[vrrp.tracker]]
name = "number"
file = "/run/prio"
"#;
    let vrrp = parse(&and(more)).expect("valid").vrrp;
    let edge4 = &vrrp.routers["edge4"];
    let on_eth1 = Address { on: Some("eth1".to_owned()), ..address("192.0.2.1", 24, Announce::Address) };
    assert_eq!(edge4.addresses, [on_eth1, address("192.0.2.11", 32, Announce::Address)]);
    assert_eq!(edge4.more_addresses, [address("2001:db8::99", 128, Announce::Address)]);
    assert_eq!((edge4.version, edge4.priority), (Version::V2, 150));
    assert_eq!(edge4.interval.duration(), Duration::from_secs(2));
    assert_eq!(edge4.preempt, Preempt::After(Duration::from_secs(30)));
    assert_eq!(edge4.authentication, Authentication::password("secret"));
    assert_eq!(edge4.peers, ["192.0.2.3".parse::<IpAddr>().expect("address")]);
    assert_eq!(edge4.source, "192.0.2.2".parse().ok());
    assert!(!edge4.check_hop_limit && !edge4.fencing && !edge4.accept && !edge4.virtual_mac);
    let closed: Vec<_> = edge4.closed().map(|address| address.to_string()).collect();
    assert_eq!(closed, ["192.0.2.11", "2001:db8::99"]);
    let schedule = Schedule {
        repeat: 2,
        delay: Duration::ZERO,
        refresh: Duration::from_secs(60),
        refresh_repeat: 3,
        lower_priority_repeat: 0,
    };
    assert_eq!(edge4.announce, schedule);
    let track = [
        (Subject::Interface("eth1".to_owned()), -20),
        (Subject::Tracker("uplink".to_owned()), 0),
        (Subject::Vip("web".to_owned()), 50),
        (Subject::Fitness, -100),
    ];
    assert_eq!(edge4.track, track);
    assert!(vrrp.routers["edge6"].virtual_mac);
    assert_eq!(vrrp.routers["other"].sum, Ipv4Sum::Plain);
    assert_eq!(vrrp.routers["other"].preempt, Preempt::Never);
    assert_eq!(vrrp.groups["edge"], ["edge6", "edge4"]);
    let script = Tracker::Script {
        command: vec!["/bin/check".to_owned(), "-x".to_owned()],
        interval: Duration::from_secs(3),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 3,
    };
    assert_eq!(vrrp.trackers["uplink"], script);
    assert_eq!(vrrp.trackers["number"], Tracker::File { path: "/run/prio".into() });
    assert_eq!(vrrp.gate_limit, Duration::from_secs(5));
}

#[test]
fn addresses_of_other_elections_are_those_of_announced_vips() {
    let config =
        parse(&announced(&format!("{EXTERNAL}follows = \"192.0.2.9\"\nlease = \"0s\"\n"))).expect("valid");
    let addresses = vec![address("192.0.2.1", 32, Announce::Arp)];
    let follows = "192.0.2.9".parse().ok();
    assert_eq!(config.vrrp.external["kd"], External { addresses, follows, lease: Duration::ZERO });
    let usual = parse(&announced(EXTERNAL)).expect("valid");
    assert_eq!(usual.vrrp.external["kd"].lease, Duration::from_secs(3));
    refused(
        &announced(&format!("{EXTERNAL}lease = \"100ms\"\n")),
        &[
            "23: external kd: lease: it is renewed three times before it ends, which takes 300ms at least; write \"300ms\" or more, or \"0s\" for one without end",
        ],
    );
    refused(
        &announced(&format!("{V4}accept = false\n")),
        &[
            "25: virtual router edge4: accept: all its addresses are those of vips, for which unknown_ports = \"drop\" and ping = false say it; write these there, or take accept out",
        ],
    );
    refused(
        &and(EXTERNAL),
        &[
            "21: external kd: addresses: 192.0.2.1 is announced by nobody here, so that there is nothing to own; write announce = \"arp\" in its vip, or take it out",
        ],
    );
    refused(
        &announced(&EXTERNAL.replace("192.0.2.1", "192.0.2.7")),
        &["22: external kd: addresses: 192.0.2.7 is no vip's address; add a [[vip]], or take it out"],
    );
    let follows = announced(&format!("{EXTERNAL}follows = \"192.0.2.1\"\n"));
    refused(
        &follows,
        &[
            "23: external kd: follows: 192.0.2.1 is one of its addresses, which this host is to have only when it may; name one that the other program moves beside them",
        ],
    );
}

#[test]
fn an_address_has_one_owner() {
    let text = announced(&format!("{V4}{EXTERNAL}"));
    refused(
        &text,
        &[
            "28: external kd: addresses: 192.0.2.1 is in virtual router edge4 in line 24 already; it can have one owner only: remove one",
        ],
    );
    router_problem(
        "more_addresses = [\"192.0.2.1\"]",
        "more_addresses: 192.0.2.1 is in virtual router edge4 in line 23 already; it can have one owner only: remove one",
    );
    router_problem(
        "more_addresses = [\"10.0.0.11\"]",
        "more_addresses: 10.0.0.11 is the address of backend web-1; a backend is another host",
    );
}

#[test]
fn a_number_stands_for_one_virtual_router_of_an_interface_and_family() {
    parse(&and(&format!("{V4}{V6}"))).expect("one of each family");
    let second = V4.replace("edge4", "second").replace("192.0.2.1", "192.0.2.2");
    parse(&and(&format!("{V4}{}", second.replace("eth0", "eth1")))).expect("another interface");
    refused(
        &and(&format!("{V4}{second}")),
        &[
            "28: virtual router second: router_id: 51 is that of virtual router edge4 in line 19, on the same interface and of the same family; give each its own",
        ],
    );
}

#[test]
fn names_are_unique_among_all_that_commands_can_name() {
    let group = "\n[[vrrp.group]]\nname = \"edge4\"\nrouters = [\"edge4\"]\n";
    refused(
        &and(&format!("{V4}{group}")),
        &[
            "26: virtual router group edge4: the name is taken by virtual router edge4 in line 20; choose another or remove one",
        ],
    );
    let bad = V4.replace("edge4", "edge 4");
    refused(
        &and(&bad),
        &["20: virtual router edge 4: name: 'edge 4' contains ' '; use letters, digits and . _ : / [ ] -"],
    );
}

#[test]
fn a_group_has_known_routers_of_one_mind() {
    let group = "\n[[vrrp.group]]\nname = \"edge\"\nrouters = [\"edge4\", \"edge6\"]\n";
    let say = |line: u32, text: &str| format!("{line}: virtual router group edge: routers: {text}");
    parse(&and(&format!("{V4}{V6}{group}"))).expect("valid");
    refused(
        &and(&format!("{V4}{group}")),
        &[&say(27, "no virtual router is called 'edge6'; did you mean 'edge4'?")],
    );
    refused(
        &and(&format!("{V4}{V6}priority = 90\n{group}")),
        &[&say(
            34,
            "edge6: priority is 90, but 100 in edge4; the routers of a group have one role: write the same in all",
        )],
    );
    refused(
        &and(&format!("{V4}{V6}preempt = \"never\"\n{group}")),
        &[&say(
            34,
            "edge6: preempt is \"never\", but \"now\" in edge4; the routers of a group have one role: write the same in all",
        )],
    );
    let twice = group.replace("\"edge6\"", "\"edge4\"");
    refused(
        &and(&format!("{V4}{twice}")),
        &[&say(
            27,
            "'edge4' is in virtual router group edge in line 27 already; a router is in one group: remove one",
        )],
    );
    let none = group.replace("\"edge4\", \"edge6\"", "");
    refused(&and(&format!("{V4}{none}")), &[&say(27, "the list is empty; name its routers")]);
}

#[test]
fn a_tracker_is_a_script_or_a_file() {
    let tracker = |lines: &str| and(&format!("\n[[vrrp.tracker]]\nname = \"t\"\n{lines}\n"));
    refused(&tracker(""), &["19: tracker t: it has neither command nor file; write one of them"]);
    refused(
        &tracker("command = [\"/bin/x\"]\nfile = \"/run/x\""),
        &["21: tracker t: it has command and file; write one of them"],
    );
    refused(&tracker("command = []"), &["21: tracker t: command: the list is empty; name the program"]);
    refused(
        &tracker("command = [\"check\"]"),
        &["21: tracker t: command: 'check' is no absolute path; begin with '/'"],
    );
    refused(
        &tracker("file = \"prio\""),
        &["21: tracker t: file: 'prio' is no absolute path; begin with '/'"],
    );
    refused(
        &tracker("file = \"/run/x\"\nrise = 3"),
        &["22: tracker t: rise: it is for command; take it out"],
    );
    refused(
        &tracker("command = [\"/bin/x\"]\ninterval = \"1s\"\ntimeout = \"2s\""),
        &["23: tracker t: timeout: it is longer than interval; write no more than that"],
    );
}

#[test]
fn vips_say_nothing_else_of_an_address_that_an_election_moves() {
    refused(
        &and(&format!("announce = \"arp\"\nwithdraw_when_down = true\n{V4}")),
        &[
            "25: virtual router edge4: addresses: 192.0.2.1 has withdraw_when_down = true in its vip, but an election says who has it; take that out, and let the priority depend on backends: track = [{ vip = \"web\", weight = -50 }]",
        ],
    );
    refused(
        &and(&format!("announce = \"arp\"\nannounce_on = [\"eth0\", \"eth1\"]\n{V4}")),
        &[
            "25: virtual router edge4: addresses: 192.0.2.1 is announced on eth0, eth1; an elected address is on one interface: name one in announce_on",
        ],
    );
}

#[test]
fn keys_of_virtual_routers_are_known_by_their_tables() {
    refused(
        &and(&format!("{V4}prioritty = 3\n")),
        &["24: unknown key 'prioritty' in [[vrrp.router]]; did you mean 'priority'?"],
    );
    refused(
        &and("\n[vrrp.router]\nname = \"a\"\n"),
        &[
            "19: [vrrp]: router: found a table; write [[vrrp.router]] before each router, with double brackets",
        ],
    );
    let missing = ["addresses", "name", "interface", "router_id"]
        .map(|key| format!("f.toml:19: [[vrrp.router]]: '{key}' is missing; add {key} = …"));
    assert_eq!(problems(&and("\n[[vrrp.router]]\n")), missing);
}

#[test]
fn more_elected_addresses_than_the_kernel_holds_are_refused() {
    let more = |router: usize| {
        let addresses: Vec<_> =
            (0..2100).map(|n| format!("\"10.{}.{}.{}\"", router + 1, n / 200, n % 200 + 1)).collect();
        V4.replace("edge4", &format!("r{router}"))
            .replace("51", &(router + 1).to_string())
            .replace("192.0.2.1", &format!("192.0.2.{}", router + 2))
            + &format!("more_addresses = [{}]\n", addresses.join(", "))
    };
    parse(&and(&(0..3).map(more).collect::<String>())).expect("6303 fit");
    refused(
        &and(&(0..4).map(more).collect::<String>()),
        &["40: [vrrp]: 8404 addresses are elected, the kernel's table holds 8192; use fewer"],
    );
}
