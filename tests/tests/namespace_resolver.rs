//! The resolver against a real kernel: it finds what the kernel would do, and hears when that changes.

#[path = "namespace_resolver/world.rs"]
mod world;

use lb_user::net::link;
use lb_user::state::{MacAddress, Unresolved};
use world::{World, can_run, ip};

const V4: &str = "192.0.2.2";
const V6: &str = "2001:db8::2";

#[test]
fn neighbours_on_the_link_are_found_by_asking_for_them() {
    if !can_run() {
        return;
    }
    World::new().resolve(&[V4, V6], async |world, resolver| {
        for (backend, own) in [(V4, "192.0.2.1"), (V6, "2001:db8::1")] {
            let hop = resolver.until_found(backend, |_| true).await;
            assert_eq!(hop.interface, "lb0");
            assert_eq!(hop.ifindex, link::ifindex("lb0").unwrap());
            assert_eq!(hop.source_mac, world.balancer.mac("lb0"));
            assert_eq!(hop.destination_mac, world.peer.mac("peer0"));
            assert_eq!(hop.preferred_source, Some(ip(own)));
            assert_eq!((hop.gateway, hop.vlan, hop.mtu), (None, None, 1500));
        }
    });
}

#[test]
fn a_gateway_is_the_hop_of_what_lies_behind_it() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let link_local = world.peer.link_local("peer0");
    world.balancer.ip("route add 198.51.100.0/24 via 192.0.2.2 mtu 1400 src 192.0.2.1");
    world.balancer.ip(&format!("route add 2001:db8:1::/64 via {link_local} dev lb0"));
    world.balancer.ip(&format!("route add 203.0.113.0/24 via inet6 {link_local} dev lb0"));
    let behind = ["198.51.100.7", "2001:db8:1::7", "203.0.113.7"];
    world.resolve(&behind, async move |world, resolver| {
        for (backend, gateway, mtu) in [
            ("198.51.100.7", ip(V4), 1400),
            ("2001:db8:1::7", link_local, 1500),
            ("203.0.113.7", link_local, 1500),
        ] {
            let hop = resolver.until_found(backend, |_| true).await;
            assert_eq!(hop.destination_mac, world.peer.mac("peer0"), "{backend}");
            assert_eq!((hop.gateway, hop.mtu), (Some(gateway), mtu), "{backend}");
        }
    });
}

#[test]
fn a_route_that_appears_is_used_and_one_that_goes_is_not() {
    if !can_run() {
        return;
    }
    World::new().resolve(&["198.51.100.7"], async |world, resolver| {
        let missing = Unresolved::NoRoute(ip("198.51.100.7"));
        resolver.until_missing("198.51.100.7", missing.clone()).await;
        world.balancer.ip("route add default via 192.0.2.2");
        resolver.until_found("198.51.100.7", |_| true).await;
        world.balancer.ip("route del default");
        resolver.until_missing("198.51.100.7", missing).await;
    });
}

#[test]
fn routes_that_lead_nowhere_are_named_by_their_type() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let kinds = ["blackhole", "unreachable", "prohibit"];
    let backends = |n: usize| [format!("198.51.{n}.7"), format!("2001:db8:b{n}::7")];
    for (n, kind) in kinds.iter().enumerate() {
        world.balancer.ip(&format!("route add {kind} 198.51.{n}.0/24"));
        world.balancer.ip(&format!("route add {kind} 2001:db8:b{n}::/64"));
    }
    let all: Vec<String> = (0..kinds.len()).flat_map(backends).collect();
    let wanted: Vec<&str> = all.iter().map(String::as_str).collect();
    world.resolve(&wanted, async move |_, resolver| {
        for (n, kind) in kinds.iter().enumerate() {
            for backend in backends(n) {
                let reason = Unresolved::BadRoute { address: ip(&backend), kind: (*kind).to_owned() };
                resolver.until_missing(&backend, reason).await;
            }
        }
    });
}

#[test]
fn own_multicast_and_tunnel_addresses_are_no_backends() {
    if !can_run() {
        return;
    }
    let world = World::new();
    world.balancer.ip("tuntap add dev tun0 mode tun");
    world.balancer.ip("addr add 10.9.0.1/24 dev tun0");
    world.balancer.ip("link set tun0 up");
    world.balancer.ip("route add 224.0.0.0/4 dev lb0");
    world.balancer.ip("route add 10.8.0.0/24 dev lo");
    let wanted = ["192.0.2.1", "2001:db8::1", "224.0.0.9", "10.9.0.7", "10.8.0.7"];
    world.resolve(&wanted, async |_, resolver| {
        for own in ["192.0.2.1", "2001:db8::1"] {
            resolver.until_missing(own, Unresolved::Local(ip(own))).await;
        }
        let multicast = Unresolved::BadRoute { address: ip("224.0.0.9"), kind: "multicast".to_owned() };
        resolver.until_missing("224.0.0.9", multicast).await;
        for (backend, interface, kind) in [("10.9.0.7", "tun0", "tun"), ("10.8.0.7", "lo", "loopback")] {
            let not_ethernet =
                Unresolved::NotEthernet { interface: interface.to_owned(), kind: kind.to_owned() };
            resolver.until_missing(backend, not_ethernet).await;
        }
    });
}

#[test]
fn a_link_without_carrier_or_switched_off_is_down() {
    if !can_run() {
        return;
    }
    World::new().resolve(&[V4, V6], async |world, resolver| {
        let down = Unresolved::LinkDown("lb0".to_owned());
        resolver.until_found(V4, |_| true).await;
        resolver.until_found(V6, |_| true).await;
        world.peer.ip("link set peer0 down");
        resolver.until_missing(V4, down.clone()).await;
        resolver.until_missing(V6, down.clone()).await;
        world.peer.ip("link set peer0 up");
        world.peer.ip("addr replace 2001:db8::2/64 dev peer0 nodad");
        resolver.until_found(V4, |_| true).await;
        resolver.until_found(V6, |_| true).await;
        world.balancer.ip("link set lb0 down");
        resolver.until_missing(V4, down).await;
        world.balancer.ip("link set lb0 up");
        resolver.until_found(V4, |_| true).await;
    });
}

#[test]
fn a_silent_neighbour_is_asked_until_it_answers() {
    if !can_run() {
        return;
    }
    let late = ["192.0.2.3", "2001:db8::3"];
    World::new().resolve(&late, async move |world, resolver| {
        for backend in late {
            let silent = Unresolved::NoNeighbour {
                hop: ip(backend),
                interface: "lb0".to_owned(),
                state: "failed".to_owned(),
            };
            resolver.until_missing(backend, silent).await;
        }
        world.peer.ip("addr add 192.0.2.3/24 dev peer0");
        world.peer.ip("addr add 2001:db8::3/64 dev peer0 nodad");
        for backend in late {
            let hop = resolver.until_found(backend, |_| true).await;
            assert_eq!(hop.destination_mac, world.peer.mac("peer0"));
        }
    });
}

#[test]
fn a_neighbour_that_falls_silent_is_noticed_though_nothing_but_xdp_uses_it() {
    if !can_run() {
        return;
    }
    let world = World::new();
    for family in ["ipv4", "ipv6"] {
        let settings = format!("{family}/neigh/lb0");
        world.balancer.set(&format!("{settings}/base_reachable_time_ms"), "1000");
        world.balancer.set(&format!("{settings}/delay_first_probe_time"), "1");
    }
    world.resolve(&[V4, V6], async |world, resolver| {
        resolver.until_found(V4, |_| true).await;
        resolver.until_found(V6, |_| true).await;
        world.peer.ip("addr del 192.0.2.2/24 dev peer0");
        world.peer.ip("addr del 2001:db8::2/64 dev peer0");
        for backend in [V4, V6] {
            let silent = Unresolved::NoNeighbour {
                hop: ip(backend),
                interface: "lb0".to_owned(),
                state: "failed".to_owned(),
            };
            resolver.until_missing(backend, silent).await;
        }
    });
}

#[test]
fn a_gateway_that_moves_to_another_mac_address_is_followed() {
    if !can_run() {
        return;
    }
    let world = World::new();
    world.peer.set("ipv4/conf/peer0/arp_notify", "1");
    world.balancer.ip("route add 198.51.100.0/24 via 192.0.2.2");
    world.resolve(&["198.51.100.7"], async |world, resolver| {
        resolver.until_found("198.51.100.7", |_| true).await;
        // The peer announces its new address by gratuitous ARP, as a failed-over gateway does.
        let moved = MacAddress([2, 0, 0, 0, 0, 0x77]);
        world.peer.ip(&format!("link set peer0 address {moved}"));
        resolver.until_found("198.51.100.7", |hop| hop.destination_mac == moved).await;
    });
}

#[test]
fn a_route_that_changes_its_gateway_is_followed() {
    if !can_run() {
        return;
    }
    let world = World::new();
    world.peer.ip("addr add 192.0.2.3/24 dev peer0");
    world.balancer.ip("nexthop add id 7 via 192.0.2.2 dev lb0");
    world.balancer.ip("route add 198.51.100.0/24 via 192.0.2.2");
    world.balancer.ip("route add 203.0.113.0/24 nhid 7");
    let behind = ["198.51.100.7", "203.0.113.7"];
    world.resolve(&behind, async move |world, resolver| {
        for backend in behind {
            resolver.until_found(backend, |hop| hop.gateway == Some(ip("192.0.2.2"))).await;
        }
        world.balancer.ip("route replace 198.51.100.0/24 via 192.0.2.3");
        world.balancer.ip("nexthop replace id 7 via 192.0.2.3 dev lb0");
        for backend in behind {
            resolver.until_found(backend, |hop| hop.gateway == Some(ip("192.0.2.3"))).await;
        }
        world.balancer.ip("rule add to 198.51.100.0/24 table 77");
        world.balancer.ip("route add 198.51.100.0/24 via 192.0.2.2 table 77");
        resolver.until_found("198.51.100.7", |hop| hop.gateway == Some(ip("192.0.2.2"))).await;
    });
}

#[test]
fn a_permanent_entry_is_used_and_stays_permanent() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let set = MacAddress([2, 0, 0, 0, 0, 0x99]);
    world.balancer.ip(&format!("neigh add 192.0.2.9 lladdr {set} dev lb0 nud permanent"));
    world.resolve(&["192.0.2.9", "192.0.2.3"], async move |world, resolver| {
        resolver.until_found("192.0.2.9", |hop| hop.destination_mac == set).await;
        // The other neighbour's failure proves that a round of probing is over.
        resolver
            .until(|hops| matches!(&hops[&ip("192.0.2.3")], Err(Unresolved::NoNeighbour { state, .. }) if state == "failed"))
            .await;
        let entry = world.balancer.ip("neigh show 192.0.2.9 dev lb0");
        assert!(entry.contains("PERMANENT"), "{entry}");
    });
}

#[test]
fn backends_that_are_no_longer_wanted_are_forgotten() {
    if !can_run() {
        return;
    }
    World::new().resolve(&[V4, V6], async |_, resolver| {
        resolver.until(|hops| hops.len() == 2).await;
        resolver.want(&[V6, "2001:db8::3"]);
        let hops = resolver.until(|hops| !hops.contains_key(&ip(V4))).await;
        assert!(hops.contains_key(&ip("2001:db8::3")));
        resolver.want(&[]);
        resolver.until(|hops| hops.is_empty()).await;
    });
}

#[test]
fn lost_events_are_made_up_for() {
    if !can_run() {
        return;
    }
    World::new().resolve(&["198.51.100.7"], async |world, resolver| {
        let missing = Unresolved::NoRoute(ip("198.51.100.7"));
        resolver.until_missing("198.51.100.7", missing).await;
        // These commands hold up the runtime's only thread, so the socket overflows before the event that matters.
        let file = tempfile::NamedTempFile::new().unwrap();
        let flood: String =
            (0..20_000).map(|n| format!("route add 10.{}.{}.0/24 dev lb0\n", n / 250, n % 250)).collect();
        std::fs::write(file.path(), flood).unwrap();
        world.balancer.ip(&format!("-batch {}", file.path().display()));
        world.balancer.ip("route add 198.51.100.0/24 via 192.0.2.2");
        resolver.until_found("198.51.100.7", |_| true).await;
    });
}

#[test]
fn a_vlan_interface_means_its_parent_and_a_tag() {
    if !can_run() {
        return;
    }
    let world = World::new();
    if !world.balancer.try_ip("link add link lb0 name lb0.42 type vlan id 42") {
        eprintln!("skipped: this kernel has no 802.1Q");
        return;
    }
    world.peer.ip("link add link peer0 name peer0.42 type vlan id 42");
    world.peer.ip("addr add 10.42.0.2/24 dev peer0.42");
    world.peer.ip("link set peer0.42 up");
    world.balancer.ip("addr add 10.42.0.1/24 dev lb0.42");
    world.balancer.ip("link set lb0.42 up");
    world.resolve(&["10.42.0.2"], async |world, resolver| {
        let hop = resolver.until_found("10.42.0.2", |_| true).await;
        assert_eq!((hop.interface.as_str(), hop.vlan), ("lb0", Some(42)));
        assert_eq!(hop.destination_mac, world.peer.mac("peer0.42"));
    });
}

#[test]
fn drivers_are_told_apart() {
    if !can_run() {
        return;
    }
    let world = World::new();
    world.balancer.ip("tuntap add dev tap0 mode tap");
    world.balancer.inside(|| {
        assert_eq!(link::driver("lb0"), "veth");
        assert_eq!(link::driver("tap0"), "tun");
        assert_eq!(link::driver("peer0"), "unknown");
        assert!(link::ifindex("peer0").is_err(), "in the other namespace");
    });
}
