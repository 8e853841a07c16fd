use super::*;
use crate::state::{DesiredAddress, MacAddress};

fn link(name: &str, mac: u8) -> LinkFact {
    LinkFact {
        name: name.to_owned(),
        mac: Some(MacAddress([2, 0, 0, 0, 0, mac])),
        ethernet: true,
        up: true,
        vlan_parent: None,
        vlan_id: None,
        master: None,
    }
}

fn vlan(name: &str, mac: u8, parent: u32, id: u16) -> LinkFact {
    LinkFact { vlan_parent: Some(parent), vlan_id: Some(id), ..link(name, mac) }
}

/// `eth0` with VLAN 42 and in it VLAN 7; `eth1` and `eth2` in a bridge with VLAN 9 on it; `tun0`.
fn links() -> Links {
    Links::from([
        (2, link("eth0", 2)),
        (3, LinkFact { master: Some(6), ..link("eth1", 3) }),
        (4, LinkFact { master: Some(6), ..link("eth2", 4) }),
        (5, vlan("eth0.42", 5, 2, 42)),
        (6, link("br0", 6)),
        (7, vlan("eth0.42.7", 7, 5, 7)),
        (8, vlan("br0.9", 8, 6, 9)),
        (9, LinkFact { ethernet: false, mac: None, ..link("tun0", 9) }),
    ])
}

fn places(names: &[&str]) -> Places {
    let addresses = names.iter().enumerate().map(|(number, name)| {
        let confined = DesiredAddress { announce_on: vec![(*name).to_owned()], ..DesiredAddress::default() };
        (std::net::Ipv4Addr::from(number as u32).into(), confined)
    });
    let mut places = Places::default();
    places.follow(&addresses.collect()).unwrap();
    places
}

fn entry(mac: u8, places: u64) -> Interface {
    Interface { mac: [2, 0, 0, 0, 0, mac], places, ..Interface::default() }
}

const fn key(ifindex: u32, vlans: u32) -> InterfaceKey {
    InterfaceKey { ifindex, vlans }
}

#[test]
fn an_attached_interface_stands_for_itself() {
    let found = interfaces(["eth0", "eth1"], &links(), &places(&["eth0"]));
    assert_eq!(found, BTreeMap::from([(key(2, 0), entry(2, 1)), (key(3, 0), entry(3, 0))]));
}

#[test]
fn what_is_built_on_an_interface_is_reached_through_it() {
    let names = ["eth0.42", "eth0.42.7", "br0", "br0.9"];
    let found = interfaces(["eth0", "eth1", "eth2"], &links(), &places(&names));
    // Bits go by name.
    let [br0, br0_9, vlan, inner] = [1, 2, 4, 8];
    assert_eq!(
        found,
        BTreeMap::from([
            (key(2, 0), entry(2, 0)),
            (key(2, 42), entry(5, vlan)),
            (key(2, 42 | 7 << 16), entry(7, inner)),
            (key(3, 0), entry(6, br0)),
            (key(3, 9), entry(8, br0_9)),
            (key(4, 0), entry(6, br0)),
            (key(4, 9), entry(8, br0_9)),
        ])
    );
}

#[test]
fn interfaces_that_are_missing_or_not_ethernets_are_left_out() {
    assert_eq!(interfaces(["tun0", "eth7"], &links(), &places(&["tun0", "eth7"])), BTreeMap::new());
}

#[test]
fn links_that_lead_in_a_circle_end() {
    let mut links = links();
    links.get_mut(&6).unwrap().master = Some(3);
    links.get_mut(&3).unwrap().vlan_parent = Some(8);
    links.get_mut(&3).unwrap().vlan_id = Some(1);
    assert!(interfaces(["eth1"], &links, &places(&["br0"])).len() < 10);
}
