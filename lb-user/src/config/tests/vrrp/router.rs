//! What does not fit together within one virtual router.

use super::*;

#[test]
fn intervals_are_those_that_the_version_can_say() {
    router_problem(
        "version = 2\ninterval = \"500ms\"",
        "interval: version 2 counts whole seconds, and 500ms are none from 1 to 255; write \"1s\", or version = 3",
    );
    router_problem(
        "interval = \"15ms\"",
        "interval: version 3 counts steps of 10 ms, and 15ms are none up to 40.95 s; write for example \"100ms\"",
    );
    router_problem(
        "interval = \"41s\"",
        "interval: version 3 counts steps of 10 ms, and 41s are none up to 40.95 s; write for example \"100ms\"",
    );
    router_problem("interval = \"1ms\"", "interval: '1ms' is out of range; write 10ms to 4m 15s");
    parse(&and(&format!("{V4}version = 2\ninterval = \"255s\"\n"))).expect("the most of version 2");
    parse(&and(&format!("{V4}interval = \"40s 950ms\"\n"))).expect("the most of version 3");
}

#[test]
fn passwords_are_for_version_2_and_not_cut_silently() {
    router_problem(
        "password = \"secret\"",
        "password: version 3 has none (RFC 9568 9); take it out, or write version = 2",
    );
    router_problem(
        "version = 2\npassword = \"secretsecret\"",
        "password: it has 12 bytes; adverts hold 8, and keepalived cuts off what is above: write \"secretse\"",
    );
    router_problem("version = 2\npassword = \"\"", "password: write 1 to 8 bytes without control characters");
    router_problem(
        "version = 2\npassword = \"a\\u0000b\"",
        "password: write 1 to 8 bytes without control characters",
    );
}

#[test]
fn priority_255_takes_its_addresses_always_and_never_changes() {
    router_problem(
        "priority = 255\npreempt = \"never\"",
        "preempt: with priority 255 a host takes its addresses whenever it is there; write another priority, or take preempt out",
    );
    router_problem(
        "priority = 255\ntrack = [{ vip = \"web\", weight = -5 }]",
        "track: weight: a priority of 255 is never changed; write weight = 0 for a fault, or another priority",
    );
    parse(&and(&format!("{V4}priority = 255\ntrack = [{{ vip = \"web\" }}]\n"))).expect("a fault");
    router_problem("priority = 0", "priority: 0 is out of range; write a whole number from 1 to 255");
}

#[test]
fn a_delay_goes_with_preempt_after() {
    router_problem("preempt = \"after\"", "preempt: after which time? Add preempt_delay = \"30s\"");
    router_problem(
        "preempt_delay = \"3s\"",
        "preempt_delay: it is for preempt = \"after\"; add that, or take it out",
    );
    router_problem(
        "preempt = \"nopreempt\"",
        "preempt: 'nopreempt' is not known; write \"now\" or \"never\" or \"after\"",
    );
}

#[test]
fn peers_are_other_hosts_of_the_family() {
    router_problem(
        "peers = [\"2001:db8::2\"]",
        "peers: 2001:db8::2 is of another family than the addresses; write IPv4 addresses of the other hosts",
    );
    router_problem("peers = [\"192.0.2.3\", \"192.0.2.3\"]", "peers: 192.0.2.3 is named twice; remove one");
    router_problem(
        "peers = [\"192.0.2.1\"]",
        "peers: 192.0.2.1 is one of the addresses that move; write one that stays",
    );
    router_problem(
        "peers = [\"192.0.2.3\"]\nsource = \"192.0.2.3\"",
        "peers: 192.0.2.3 is this host's source; name the other hosts only",
    );
    router_problem(
        "peers = [\"224.0.0.18\"]",
        "peers: 224.0.0.18 is a multicast address; write the address of one host",
    );
    router_problem(
        "check_hop_limit = false",
        "check_hop_limit: what is sent to the group stays on the link, so that a TTL below 255 is forged; name peers, or take it out",
    );
    router_problem(
        "source = \"192.0.2.1\"",
        "source: 192.0.2.1 is one of the addresses that move; write one that stays",
    );
    refused(
        &and(&format!("{V6}source = \"2001:db8::2\"\n")),
        &[
            "24: virtual router edge6: source: 2001:db8::2 is not link-local, as adverts to the group have to be (RFC 9568 5.1.2.1); write the interface's fe80:: address, or take it out",
        ],
    );
}

#[test]
fn a_virtual_mac_address_is_for_one_link() {
    router_problem(
        "virtual_mac = true\npeers = [\"192.0.2.3\"]",
        "virtual_mac: with peers the hosts need not be on one link, where such an address means something; take one of the two out",
    );
}

#[test]
fn adverts_name_addresses_of_one_family_and_not_too_many() {
    let addresses = |list: &str| and(&V4.replace("[\"192.0.2.1\"]", list));
    let edge4 = |text: &str| format!("23: virtual router edge4: addresses: {text}");
    refused(&addresses("[]"), &[&edge4("the list is empty; name what the master is to have")]);
    refused(
        &addresses("[\"192.0.2.1\", \"2001:db8::1\"]"),
        &[&edge4(
            "2001:db8::1 is of another family than 192.0.2.1; put it into more_addresses, or into a virtual router of its own and both into a [[vrrp.group]]",
        )],
    );
    refused(
        &addresses("[\"2001:db8::1\"]"),
        &[&edge4(
            "2001:db8::1 is not link-local, as the first one of IPv6 has to be (RFC 9568 5.2.9); put for example \"fe80::33\" before it, on all hosts",
        )],
    );
    refused(
        &addresses("[\"192.0.2.1/33\"]"),
        &[&edge4("'192.0.2.1/33': the prefix length goes from /1 to /32")],
    );
    refused(
        &addresses("[\"224.0.0.1\"]"),
        &[&edge4("224.0.0.1 is a multicast address; write the address of one host")],
    );
    let many: Vec<_> = (0..256).map(|n| format!("\"198.51.{}.{}\"", n / 200, n % 200 + 1)).collect();
    refused(
        &addresses(&format!("[{}]", many.join(", "))),
        &[&edge4(
            "256 are more than the 255 that an advert names; put the others into more_addresses, or into another virtual router",
        )],
    );
    let many: Vec<_> = (1..92).map(|n| format!("\"fe80::{n:x}\"")).collect();
    refused(
        &addresses(&format!("[{}]", many.join(", "))),
        &[&edge4(
            "91 are more than the 90 that an advert names; put the others into more_addresses, or into another virtual router",
        )],
    );
}

#[test]
fn a_version_that_cannot_do_it_says_so() {
    refused(
        &and(&format!("{V6}version = 2\n")),
        &["24: virtual router edge6: version: 2 is for IPv4 only; write version = 3"],
    );
    router_problem("version = 4", "version: 4 is out of range; write a whole number from 2 to 3");
    router_problem(
        "version = 2\nchecksum = \"rfc9568\"",
        "checksum: version 2 has one way only; take it out, or write version = 3",
    );
    refused(
        &and(&format!("{V6}checksum = \"rfc9568\"\n")),
        &["24: virtual router edge6: checksum: IPv6 has one way only; take it out"],
    );
}

#[test]
fn what_is_tracked_must_exist() {
    router_problem(
        "track = [{ tracker = \"uplink\" }]",
        "track: tracker: no tracker is called 'uplink'; add a [[vrrp.tracker]] with name = \"uplink\"",
    );
    router_problem("track = [{ vip = \"wob\" }]", "track: vip: no vip is called 'wob'; did you mean 'web'?");
    router_problem(
        "track = [{ interface = \"eth0\" }]",
        "track: interface: 'eth0' is the router's own, which is always tracked, since adverts need it; take it out",
    );
    router_problem(
        "track = [{ vip = \"web\", fitness = true }]",
        "track: write one of interface, tracker, vip and fitness in each entry",
    );
    router_problem(
        "track = [{ fitness = false }]",
        "track: fitness: it is always tracked; write true, or take it out",
    );
    router_problem(
        "track = [{ vip = \"web\" }, { vip = \"web\", weight = 3 }]",
        "track: the same is tracked twice; remove one",
    );
    router_problem(
        "track = [{ vip = \"web\", weight = -254 }]",
        "track: weight: -254 is out of range; write a whole number from -253 to 253",
    );
    router_problem(
        "track = [\"web\"]",
        "track: found the text 'web'; write a list such as [{ interface = \"eth1\", weight = -20 }]",
    );
    let found = problems(&and(&format!("{V4}track = [{{ vpi = \"web\", vip = \"web\" }}]\n")));
    assert_eq!(found, ["f.toml:24: unknown key 'vpi' in 'track' of [[vrrp.router]]; did you mean 'vip'?"]);
}
