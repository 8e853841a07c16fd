//! Events in, changed facts and the work that follows out.

use super::*;

const ETH: IfIndex = 2;
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link() -> Link {
    Link {
        name: "eth0".to_owned(),
        kind: "ether".to_owned(),
        ethernet: true,
        mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        up: true,
        vlan: None,
    }
}

fn hop(address: &str) -> Hop {
    Hop { link: ETH, address: ip(address) }
}

fn entry(state: NeighbourState) -> Neighbour {
    Neighbour { state, mac: state.is_usable().then_some(MAC) }
}

/// One backend, 192.0.2.7, on `eth0`.
fn facts() -> Snapshot {
    let mut facts = Snapshot::default();
    facts.links.insert(ETH, link());
    facts.routes.insert(
        ip("192.0.2.7"),
        Route::Unicast { link: ETH, gateway: None, preferred_source: None, mtu: None },
    );
    facts
}

#[test]
fn neighbours_of_backends_matter_and_others_do_not() {
    let mut facts = facts();
    let reachable = entry(NeighbourState::Reachable);
    assert_eq!(facts.apply(Event::Neighbour(hop("192.0.2.7"), reachable)), Work::Derive);
    assert_eq!(facts.apply(Event::Neighbour(hop("192.0.2.7"), reachable)), Work::None, "nothing new");
    assert_eq!(facts.apply(Event::Neighbour(hop("192.0.2.8"), reachable)), Work::None);
    assert_eq!(facts.apply(Event::NeighbourGone(hop("192.0.2.8"))), Work::None);
    assert_eq!(facts.apply(Event::NeighbourGone(hop("192.0.2.7"))), Work::Derive);
}

#[test]
fn a_link_matters_when_it_changed() {
    let mut facts = facts();
    assert_eq!(facts.apply(Event::Link(ETH, link())), Work::None);
    let down = Link { up: false, ..link() };
    assert_eq!(facts.apply(Event::Link(ETH, down)), Work::Routes);
    assert_eq!(facts.apply(Event::LinkGone(ETH)), Work::Routes);
    assert_eq!(facts.apply(Event::LinkGone(ETH)), Work::None);
}

#[test]
fn a_link_takes_its_neighbours_and_addresses_along() {
    let mut facts = facts();
    facts.neighbours.insert(hop("192.0.2.7"), entry(NeighbourState::Reachable));
    let own = LinkAddress { link: ETH, address: ip("192.0.2.1"), prefix_len: 24 };
    assert_eq!(facts.apply(Event::Address(own)), Work::Routes);
    facts.apply(Event::LinkGone(ETH));
    assert!(facts.neighbours.is_empty() && facts.addresses.is_empty());
}

#[test]
fn routes_matter_to_the_backends_they_cover() {
    let mut facts = facts();
    let mut work = |prefix: &str, prefix_len| facts.apply(Event::Route { prefix: ip(prefix), prefix_len });
    assert_eq!(work("0.0.0.0", 0), Work::Routes);
    assert_eq!(work("192.0.2.0", 24), Work::Routes);
    assert_eq!(work("192.0.2.7", 32), Work::Routes);
    assert_eq!(work("192.0.2.8", 32), Work::None);
    assert_eq!(work("192.0.3.0", 24), Work::None);
    assert_eq!(work("::", 0), Work::None);
    assert_eq!(facts.apply(Event::Rules), Work::Routes);
    assert_eq!(facts.apply(Event::Overrun), Work::Everything);
}

#[test]
fn prefixes_cover_by_their_leading_bits() {
    for (prefix, len, address, expected) in [
        ("10.0.0.0", 8, "10.255.0.1", true),
        ("10.0.0.0", 9, "10.128.0.1", false),
        ("10.0.0.1", 32, "10.0.0.1", true),
        ("10.0.0.1", 32, "10.0.0.0", false),
        ("2001:db8::", 32, "2001:db8:ffff::1", true),
        ("2001:db8::", 33, "2001:db8:8000::1", false),
        ("::1", 128, "::1", true),
        ("::", 0, "10.0.0.1", false),
        ("0.0.0.0", 0, "::ffff:10.0.0.1", false),
    ] {
        let contains = Prefix { address: ip(prefix), len }.contains(ip(address));
        assert_eq!(contains, expected, "{prefix}/{len} {address}");
    }
}

#[test]
fn a_failed_neighbour_stays_failed_while_it_is_asked_again() {
    let mut facts = facts();
    let mut work = |state| facts.apply(Event::Neighbour(hop("192.0.2.7"), entry(state)));
    assert_eq!(work(NeighbourState::Incomplete), Work::Derive);
    assert_eq!(work(NeighbourState::Failed), Work::Derive);
    assert_eq!(work(NeighbourState::Incomplete), Work::None);
    assert_eq!(work(NeighbourState::Failed), Work::None);
    assert_eq!(work(NeighbourState::Reachable), Work::Derive);
    assert_eq!(work(NeighbourState::Incomplete), Work::Derive);
}

#[test]
fn missing_stale_and_failed_neighbours_are_probed_and_permanent_ones_never() {
    use NeighbourState::*;
    let mut facts = facts();
    assert_eq!(facts.hops_to_probe(), BTreeSet::from([hop("192.0.2.7")]), "missing");
    for (state, probed) in [
        (Incomplete, false),
        (Reachable, false),
        (Stale, true),
        (Delay, false),
        (Probe, false),
        (Failed, true),
        (Permanent, false),
        (NoArp, false),
    ] {
        facts.neighbours.insert(hop("192.0.2.7"), entry(state));
        assert_eq!(!facts.hops_to_probe().is_empty(), probed, "{state:?}");
    }
}

#[test]
fn nothing_is_probed_through_a_link_that_is_down() {
    let mut facts = facts();
    facts.links.get_mut(&ETH).unwrap().up = false;
    assert!(facts.hops_to_probe().is_empty());
}

#[test]
fn a_fresh_reading_replaces_facts_but_not_routes() {
    let mut facts = facts();
    facts.neighbours.insert(hop("192.0.2.7"), entry(NeighbourState::Failed));
    facts.neighbours.insert(hop("192.0.2.9"), entry(NeighbourState::Reachable));
    let mut fresh = Snapshot::default();
    fresh.links.insert(7, link());
    fresh.neighbours.insert(hop("192.0.2.7"), entry(NeighbourState::Incomplete));
    facts.replace_facts(fresh);
    assert_eq!(facts.links.keys().collect::<Vec<_>>(), [&7]);
    assert_eq!(facts.neighbours, HashMap::from([(hop("192.0.2.7"), entry(NeighbourState::Failed))]));
    assert_eq!(facts.routes.len(), 1);
}
