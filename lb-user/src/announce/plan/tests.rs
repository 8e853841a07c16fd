use super::*;
use crate::net::{AddressState, LinkFact};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(name: &str) -> LinkFact {
    let mac = Some(MacAddress([2, 0, 0, 0, 0, name.len() as u8]));
    LinkFact {
        name: name.to_owned(),
        mac,
        ethernet: true,
        up: true,
        vlan_parent: None,
        vlan_id: None,
        master: None,
    }
}

fn address(ifindex: u32, text: &str) -> AddressFact {
    let (address, len) = text.split_once('/').unwrap();
    AddressFact {
        ifindex,
        address: ip(address),
        prefix_len: len.parse().unwrap(),
        state: AddressState::Usable,
        protocol: None,
        label: None,
    }
}

/// `lo`, `eth0` with a VLAN interface, `eth1`, and `mgmt`, which the program is not attached to.
fn host() -> HostFacts {
    let lo = LinkFact { mac: None, ethernet: false, ..link("lo") };
    let vlan = LinkFact { vlan_parent: Some(2), ..link("eth0.42") };
    let links = [(1, lo), (2, link("eth0")), (3, link("eth1")), (4, vlan), (5, link("mgmt"))];
    let mut facts = HostFacts { links: links.into_iter().collect(), ..HostFacts::default() };
    for (ifindex, text) in [
        (1, "192.0.2.0/24"),
        (2, "192.0.2.1/24"),
        (3, "198.51.100.1/24"),
        (4, "10.42.0.1/16"),
        (5, "192.0.2.5/24"),
        (2, "2001:db8::1/64"),
    ] {
        facts.add_address(address(ifindex, text));
    }
    facts
}

fn planned(text: &str, desired: DesiredAddress, facts: &HostFacts) -> Vec<String> {
    let wanted = Wanted {
        addresses: [(ip(text), desired)].into(),
        attached: vec!["eth0".to_owned(), "eth1".to_owned()],
        ..Wanted::default()
    };
    plan(&wanted, facts).remove(&ip(text)).map(|placement| placement.interfaces).unwrap_or_default()
}

fn arp() -> DesiredAddress {
    DesiredAddress { announce: Announce::Arp, ..DesiredAddress::default() }
}

#[test]
fn an_address_is_announced_where_its_network_is() {
    for (vip, interfaces) in [
        ("192.0.2.10", vec!["eth0"]),
        ("198.51.100.10", vec!["eth1"]),
        ("10.42.7.7", vec!["eth0.42"]),
        ("2001:db8::10", vec!["eth0"]),
    ] {
        assert_eq!(planned(vip, arp(), &host()), interfaces, "{vip}");
    }
}

#[test]
fn an_address_of_no_network_is_announced_wherever_the_program_is() {
    for vip in ["203.0.113.10", "2001:db8:1::10"] {
        assert_eq!(planned(vip, arp(), &host()), ["eth0", "eth1"], "{vip}");
    }
}

#[test]
fn named_interfaces_count_whatever_the_networks_are() {
    let desired = DesiredAddress {
        announce_on: vec!["mgmt".to_owned(), "eth1".to_owned(), "mgmt".to_owned()],
        ..arp()
    };
    assert_eq!(planned("192.0.2.10", desired, &host()), ["eth1", "mgmt"]);
}

#[test]
fn an_address_that_the_kernel_owns_goes_to_one_interface() {
    let desired = DesiredAddress { announce: Announce::Address, ..DesiredAddress::default() };
    assert_eq!(planned("203.0.113.10", desired.clone(), &host()), ["eth0"]);
    let mut facts = host();
    facts.add_address(address(3, "203.0.113.10/32"));
    assert_eq!(planned("203.0.113.10", desired, &facts), ["eth0"], "its own address is no network");
}

#[test]
fn what_others_announce_is_not_planned() {
    let desired = DesiredAddress { announce_on: vec!["eth0".to_owned()], ..DesiredAddress::default() };
    assert_eq!(planned("192.0.2.10", desired, &host()), Vec::<String>::new());
}

#[test]
fn a_bond_stands_for_its_members() {
    let mut facts = host();
    facts.links.insert(6, link("bond0"));
    facts.links.insert(7, LinkFact { vlan_parent: Some(6), ..link("bond0.7") });
    facts.links.get_mut(&3).unwrap().master = Some(6);
    facts.add_address(address(6, "203.0.113.1/24"));
    facts.add_address(address(7, "10.7.0.1/24"));
    assert_eq!(planned("203.0.113.10", arp(), &facts), ["bond0"]);
    assert_eq!(planned("10.7.0.10", arp(), &facts), ["bond0.7"]);
}

#[test]
fn a_change_names_what_comes_what_goes_and_what_stays() {
    let place = |text: &str, interface: &str, mode| Place {
        address: ip(text),
        interface: interface.to_owned(),
        mode,
    };
    let placement = |mode, interfaces: &[&str]| Placement {
        mode,
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
    };
    let before: Plan = [
        (ip("192.0.2.1"), placement(Announce::Arp, &["eth0", "eth1"])),
        (ip("192.0.2.2"), placement(Announce::Arp, &["eth0"])),
    ]
    .into();
    let after: Plan = [
        (ip("192.0.2.1"), placement(Announce::Arp, &["eth0", "eth2"])),
        (ip("192.0.2.2"), placement(Announce::Address, &["eth0"])),
    ]
    .into();
    let change = compare(&before, &after);
    assert_eq!(
        change.announced,
        [place("192.0.2.1", "eth2", Announce::Arp), place("192.0.2.2", "eth0", Announce::Address)]
    );
    assert_eq!(
        change.withdrawn,
        [place("192.0.2.1", "eth1", Announce::Arp), place("192.0.2.2", "eth0", Announce::Arp)]
    );
    assert_eq!(change.same, [place("192.0.2.1", "eth0", Announce::Arp)]);
    assert_eq!(compare(&after, &after).announced, []);
}

#[test]
fn an_interface_that_cannot_be_used_is_named_with_the_reason() {
    let mut facts = host();
    facts.links.get_mut(&3).unwrap().up = false;
    assert_eq!(port("eth0", &facts), Ok(Port { ifindex: 2, mac: MacAddress([2, 0, 0, 0, 0, 4]) }));
    assert_eq!(port("eth1", &facts), Err(NotReady::Down("eth1".to_owned())));
    assert_eq!(port("lo", &facts), Err(NotReady::NotEthernet("lo".to_owned())));
    assert_eq!(
        port("eth9", &facts).unwrap_err().to_string(),
        "interface eth9 does not exist; `ip link` lists those that do"
    );
}
