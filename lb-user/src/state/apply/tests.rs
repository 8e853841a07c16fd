mod drains;
mod groups;
mod model;
mod quic;
mod refusals;
mod reload;

use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::state::{DesiredMember, NextHops};

const FILE: &str = r#"
interfaces = ["eth0"]
limits.dests = 32

[[backend]]
name = "a"
address = "10.0.0.1"

[[backend]]
name = "b"
address = "10.0.0.2"
weight = 70

[[backend]]
name = "c"
address = "10.0.0.3"

[[vip]]
name = "one"
address = "192.0.2.1"
port = 80
protocol = "tcp"
ring_size = 251
backends = ["a", "b"]

[[vip]]
name = "two"
address = "2001:db8::1"
port = 0
protocol = "udp"
ring_size = 251
backends = [{ name = "b", weight = 5 }, "c"]
"#;

fn config() -> Config {
    parse(FILE)
}

/// As things are before any deadline.
fn merge(config: &Config, overlay: &Overlay) -> Merged {
    super::merge(config, overlay, SystemTime::UNIX_EPOCH)
}

fn parse(text: &str) -> Config {
    Config::parse(Path::new("/etc/test.toml"), text).unwrap()
}

fn mark(second: usize) -> ChangeMark {
    ChangeMark { by: "alice".to_owned(), pid: None, at: format!("2026-01-01T00:00:{second:02}Z") }
}

fn add(vip: &str, backend: &str, address: Option<&str>, weight: Option<u32>) -> Change {
    let address = address.map(|address| address.parse().unwrap());
    Change::Add { vip: vip.to_owned(), backend: backend.to_owned(), address, weight }
}

fn remove(backend: &str, vip: Option<&str>) -> Change {
    Change::Remove { backend: backend.to_owned(), vip: vip.map(str::to_owned), force: false }
}

fn drain(backend: &str, vip: Option<&str>) -> Change {
    let vip = vip.map(str::to_owned);
    Change::Drain { backend: backend.to_owned(), vip, timeout_seconds: None, force: false }
}

fn undrain(backend: &str, vip: Option<&str>) -> Change {
    Change::Undrain { backend: backend.to_owned(), vip: vip.map(str::to_owned) }
}

fn weigh(backend: &str, vip: Option<&str>, weight: u32) -> Change {
    Change::Weight { backend: backend.to_owned(), vip: vip.map(str::to_owned), weight }
}

/// The overlay after `changes`, all of which are possible.
fn overlay(config: &Config, changes: &[Change]) -> Overlay {
    changes.iter().enumerate().fold(Overlay::default(), |overlay, (second, change)| {
        overlay.apply(change, &mark(second), config).unwrap().overlay
    })
}

/// `vip`'s members after `changes`.
fn members(config: &Config, changes: &[Change], vip: &str) -> Vec<(String, DesiredMember)> {
    let desired = merge(config, &overlay(config, changes)).desired;
    let key = find_vip(&desired, vip).unwrap();
    desired.vips[&key].members.clone().into_iter().collect()
}

fn member(name: &str, address: &str, weight: u32, drained: bool) -> (String, DesiredMember) {
    (name.to_owned(), DesiredMember { drained, ..DesiredMember::new(address.parse().unwrap(), weight) })
}

#[test]
fn a_change_without_a_vip_means_all_vips_that_have_the_backend() {
    let config = config();
    let changes = [drain("b", None)];
    assert_eq!(members(&config, &changes, "one")[1], member("b", "10.0.0.2", 70, true));
    assert_eq!(members(&config, &changes, "two")[0], member("b", "10.0.0.2", 5, true));
    assert_eq!(members(&config, &changes, "two")[1], member("c", "10.0.0.3", 100, false));
}

#[test]
fn a_vip_is_known_by_its_key_too() {
    let config = config();
    let changes = [weigh("b", Some("[2001:db8::1]:0/udp"), 9)];
    assert_eq!(members(&config, &changes, "two")[0], member("b", "10.0.0.2", 9, false));
    assert_eq!(members(&config, &changes, "one")[1], member("b", "10.0.0.2", 70, false));
}

#[test]
fn address_and_weight_of_an_added_backend_default_to_those_of_the_file() {
    let config = config();
    let changes = [add("two", "a", None, None), add("one", "x", Some("10.0.0.9"), None)];
    assert_eq!(members(&config, &changes, "two")[0], member("a", "10.0.0.1", 100, false));
    assert_eq!(members(&config, &changes, "one")[2], member("x", "10.0.0.9", 100, false));
    let more = [&changes[..], &[add("two", "x", None, Some(3))]].concat();
    assert_eq!(members(&config, &more, "two")[3], member("x", "10.0.0.9", 3, false));
}

#[test]
fn a_removed_backend_of_the_file_comes_back_as_the_file_has_it() {
    let config = config();
    let changes = [drain("b", Some("two")), remove("b", Some("two")), add("two", "b", None, None)];
    assert!(overlay(&config, &changes).is_empty());
    let changes = [remove("b", Some("two")), add("two", "b", None, Some(8))];
    assert_eq!(members(&config, &changes, "two")[0], member("b", "10.0.0.2", 8, false));
}

#[test]
fn the_first_drain_keeps_its_mark_and_doing_it_again_is_said() {
    let config = config();
    let first = overlay(&config, &[drain("a", None)]);
    let again = first.apply(&drain("a", None), &mark(9), &config).unwrap();
    assert_eq!(again.overlay, first);
    assert_eq!(again.notes, ["nothing to change: it is so already"]);
}

#[test]
fn taking_the_last_backend_out_is_done_and_said() {
    let config = config();
    let before = overlay(&config, &[remove("a", Some("one"))]);
    for last in [remove("b", Some("one")), drain("b", Some("one")), weigh("b", Some("one"), 0)] {
        let done = before.apply(&last, &mark(3), &config).unwrap();
        assert_eq!(done.notes, ["vip one has no backend left in its ring: its packets will be dropped"]);
    }
}

#[test]
fn an_undrained_backend_gets_exactly_its_slots_back() {
    use crate::state::{Forwarding, MacAddress, NextHop};
    let config = config();
    let hop = |address: IpAddr| NextHop {
        ifindex: 1,
        interface: "eth0".to_owned(),
        source_mac: MacAddress([2; 6]),
        destination_mac: MacAddress([4; 6]),
        gateway: None,
        vlan: None,
        preferred_source: Some(address),
        mtu: 1500,
    };
    let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse::<IpAddr>().unwrap());
    let hops: NextHops = addresses.into_iter().map(|address| (address, Ok(hop(address)))).collect();
    let run = |changes: &[Change], previous: Option<&Forwarding>| {
        Forwarding::build(&merge(&config, &overlay(&config, changes)).desired, &hops, previous)
    };
    let before = run(&[], None);
    let drained = run(&[drain("b", None)], Some(&before));
    assert!(before != drained);
    let after = run(&[drain("b", None), undrain("b", None)], Some(&drained));
    // Flows that have begun meanwhile are still looked up; nothing else differs.
    let over = after.without_what_is_over(|_, _, _| false, 0).unwrap_or(after);
    assert!(before == over, "the same slots and nothing left of the drain");
}
