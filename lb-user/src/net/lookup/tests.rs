//! Facts in, next hop or reason out.

use super::*;
use crate::net::snapshot::LinkAddress;

const ETH: IfIndex = 2;
const VLAN: IfIndex = 3;
const OTHER: IfIndex = 4;
const OWN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ethernet(name: &str) -> Link {
    Link {
        name: name.to_owned(),
        kind: "ether".to_owned(),
        ethernet: true,
        mac: Some(OWN_MAC),
        mtu: 1500,
        up: true,
        vlan: None,
    }
}

fn vlan(name: &str, parent: Option<IfIndex>, id: u16) -> Link {
    Link {
        kind: "vlan".to_owned(),
        mac: Some(MacAddress([2, 0, 0, 0, 0, 9])),
        mtu: 1496,
        vlan: Some(VlanLink { parent, id, dot1q: true }),
        ..ethernet(name)
    }
}

fn on_link(link: IfIndex) -> Route {
    Route::Unicast { link, gateway: None, preferred_source: Some(ip("192.0.2.1")), mtu: None }
}

fn via(link: IfIndex, gateway: &str) -> Route {
    Route::Unicast { link, gateway: Some(ip(gateway)), preferred_source: None, mtu: None }
}

fn reachable(mac: MacAddress) -> Neighbour {
    Neighbour { state: NeighbourState::Reachable, mac: Some(mac) }
}

/// `eth0`, and the route to 192.0.2.7 with its neighbour on `link`.
fn facts(route: Route, link: IfIndex, hop: &str) -> Snapshot {
    let mut facts = Snapshot::default();
    facts.links.insert(ETH, ethernet("eth0"));
    facts.routes.insert(ip("192.0.2.7"), route);
    let address = ip(hop);
    facts.neighbours.insert(Hop { link, address }, reachable(PEER_MAC));
    facts
}

fn reason(facts: &Snapshot) -> String {
    facts.next_hop(ip("192.0.2.7")).unwrap_err().to_string()
}

#[test]
fn a_backend_on_the_link_is_its_own_hop() {
    let facts = facts(on_link(ETH), ETH, "192.0.2.7");
    let expected = NextHop {
        ifindex: ETH,
        interface: "eth0".to_owned(),
        source_mac: OWN_MAC,
        destination_mac: PEER_MAC,
        gateway: None,
        vlan: None,
        preferred_source: Some(ip("192.0.2.1")),
        mtu: 1500,
    };
    assert_eq!(facts.next_hop(ip("192.0.2.7")), Ok(expected));
}

#[test]
fn a_gateway_of_either_family_is_the_hop() {
    for gateway in ["192.0.2.254", "fe80::1"] {
        let hop = facts(via(ETH, gateway), ETH, gateway).next_hop(ip("192.0.2.7")).unwrap();
        assert_eq!((hop.gateway, hop.destination_mac), (Some(ip(gateway)), PEER_MAC));
    }
}

#[test]
fn a_vlan_interface_means_its_parent_and_a_tag() {
    let mut facts = facts(on_link(VLAN), VLAN, "192.0.2.7");
    facts.links.insert(VLAN, vlan("eth0.42", Some(ETH), 42));
    let hop = facts.next_hop(ip("192.0.2.7")).unwrap();
    assert_eq!((hop.ifindex, hop.interface.as_str(), hop.vlan), (ETH, "eth0", Some(42)));
    assert_eq!(hop.source_mac, MacAddress([2, 0, 0, 0, 0, 9]), "the VLAN interface's own address");
    assert_eq!(hop.mtu, 1496);
}

#[test]
fn vlans_that_one_tag_cannot_express_are_not_supported() {
    let mut facts = facts(on_link(VLAN), VLAN, "192.0.2.7");
    facts.links.insert(OTHER, vlan("eth0.1", Some(ETH), 1));
    facts.links.insert(VLAN, vlan("eth0.1.42", Some(OTHER), 42));
    assert!(reason(&facts).starts_with("interface eth0.1.42 is a VLAN on a VLAN, which is not supported"));

    facts.links.insert(VLAN, vlan("far", None, 42));
    assert!(reason(&facts).contains("parent is in another network namespace"));

    let mut service = vlan("s42", Some(ETH), 42);
    service.vlan.as_mut().unwrap().dot1q = false;
    facts.links.insert(VLAN, service);
    assert!(reason(&facts).contains("802.1ad"));
}

#[test]
fn a_vlan_needs_its_parent_up() {
    let mut facts = facts(on_link(VLAN), VLAN, "192.0.2.7");
    facts.links.insert(VLAN, vlan("eth0.42", Some(ETH), 42));
    facts.links.get_mut(&ETH).unwrap().up = false;
    assert_eq!(reason(&facts), "interface eth0 is down");
}

#[test]
fn the_smaller_mtu_of_route_and_interface_counts() {
    for (of_route, expected) in [(Some(1400), 1400), (Some(9000), 1500), (None, 1500)] {
        let route = Route::Unicast { link: ETH, gateway: None, preferred_source: None, mtu: of_route };
        let hop = facts(route, ETH, "192.0.2.7").next_hop(ip("192.0.2.7"));
        assert_eq!(hop.unwrap().mtu, expected);
    }
}

#[test]
fn only_entries_with_a_valid_address_count() {
    use NeighbourState::*;
    let states = [Incomplete, Reachable, Stale, Delay, Probe, Failed, Permanent, NoArp];
    for state in states {
        let mut facts = facts(on_link(ETH), ETH, "192.0.2.7");
        let entry = facts.neighbours.values_mut().next().unwrap();
        entry.state = state;
        let usable = !matches!(state, Incomplete | Failed);
        assert_eq!(facts.next_hop(ip("192.0.2.7")).is_ok(), usable, "{state:?}");
        facts.neighbours.values_mut().next().unwrap().mac = None;
        assert!(facts.next_hop(ip("192.0.2.7")).is_err(), "{state:?} without an address");
    }
}

#[test]
fn a_silent_neighbour_is_named_with_its_interface_and_state() {
    let mut facts = facts(via(ETH, "192.0.2.254"), ETH, "192.0.2.254");
    facts.neighbours.clear();
    assert!(reason(&facts).starts_with("192.0.2.254 does not answer on eth0 (neighbour incomplete)"));
    let hop = Hop { link: ETH, address: ip("192.0.2.254") };
    facts.neighbours.insert(hop, Neighbour { state: NeighbourState::Failed, mac: None });
    assert!(reason(&facts).starts_with("192.0.2.254 does not answer on eth0 (neighbour failed)"));
}

#[test]
fn the_same_address_on_another_link_is_another_neighbour() {
    let mut facts = facts(on_link(ETH), OTHER, "192.0.2.7");
    facts.links.insert(OTHER, ethernet("eth1"));
    assert!(matches!(facts.next_hop(ip("192.0.2.7")), Err(Unresolved::NoNeighbour { .. })));
}

#[test]
fn routes_that_lead_nowhere_say_why() {
    let address = ip("192.0.2.7");
    let of = |route| facts(route, ETH, "192.0.2.7").next_hop(address).unwrap_err();
    assert_eq!(of(Route::None), Unresolved::NoRoute(address));
    assert_eq!(of(Route::Local), Unresolved::Local(address));
    let kind = "blackhole".to_owned();
    assert_eq!(of(Route::Bad(kind.clone())), Unresolved::BadRoute { address, kind });
    assert_eq!(of(Route::Error("x".to_owned())), Unresolved::Netlink("x".to_owned()));
    assert!(matches!(of(on_link(99)), Unresolved::Netlink(_)), "an interface that nobody told of");
}

#[test]
fn an_address_that_no_route_was_asked_for_is_pending() {
    assert_eq!(Snapshot::default().next_hop(ip("192.0.2.7")), Err(Unresolved::Pending));
}

#[test]
fn links_that_carry_no_ethernet_are_refused() {
    let mut facts = facts(on_link(ETH), ETH, "192.0.2.7");
    let link = facts.links.get_mut(&ETH).unwrap();
    link.ethernet = false;
    link.kind = "tun".to_owned();
    link.up = false;
    assert!(reason(&facts).contains("eth0 cannot carry Ethernet frames (tun)"), "before anything else");
}

#[test]
fn a_link_without_carrier_is_down() {
    let mut facts = facts(on_link(ETH), ETH, "192.0.2.7");
    facts.links.get_mut(&ETH).unwrap().up = false;
    assert_eq!(reason(&facts), "interface eth0 is down");
}

#[test]
fn no_route_because_the_link_is_off_says_that_the_link_is_down() {
    let mut facts = facts(Route::None, ETH, "192.0.2.7");
    facts.addresses.insert(LinkAddress { link: ETH, address: ip("192.0.2.1"), prefix_len: 24 });
    assert_eq!(reason(&facts), "no route to 192.0.2.7; add a route", "the link is up");
    facts.links.get_mut(&ETH).unwrap().up = false;
    assert_eq!(reason(&facts), "interface eth0 is down");
}
