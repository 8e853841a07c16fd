//! The worlds of fixtures and of fuzzing, by name: the one list of them.
//!
//! A world added here can be named by a fixture (`tests/fixtures/packets`), and fuzzing sends packets to it from then on.
//! Clients are 203.0.113.9 and 2001:db8:9::9; vips 198.51.100.1 and 2001:db8::1; backends 10.0.0.N and 2001:db8:b::N.

use std::net::IpAddr;

use lb_user::state::{
    Affinity, Announce, DesiredAddress, DesiredVip, Dscp, Fragments, GueVariant, Mode, Oversize, QuicRouting,
    ServerId, TrackingMode, UnknownPorts,
};

use crate::world::{World, rules};

/// A world, and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct NamedWorld {
    pub name: &'static str,
    pub what: &'static str,
    build: fn() -> World,
}

impl NamedWorld {
    #[must_use]
    pub fn build(&self) -> World {
        (self.build)()
    }
}

/// All of them.
pub const WORLDS: &[NamedWorld] = &[
    NamedWorld { name: "4in4", what: "IPv4 vip, IPv4 backend", build: || one(V4, BACKEND4) },
    NamedWorld { name: "4in6", what: "IPv4 vip, IPv6 backend", build: || one(V4, BACKEND6) },
    NamedWorld { name: "6in4", what: "IPv6 vip, IPv4 backend", build: || one(V6, BACKEND4) },
    NamedWorld { name: "6in6", what: "IPv6 vip, IPv6 backend", build: || one(V6, BACKEND6) },
    NamedWorld {
        name: "transition",
        what: "TCP and UDP vips of both families: backend 2 was drained just now; one vip remembers all flows",
        build: transition,
    },
    NamedWorld { name: "vlan", what: "both families, next hops in VLAN 100", build: vlan },
    NamedWorld {
        name: "entropy",
        what: "both families, outer sources from 172.16.0.0/16 and 2001:db8:e::/112",
        build: entropy,
    },
    NamedWorld { name: "dscp", what: "both families, outer DSCP 46", build: dscp },
    NamedWorld { name: "gue", what: "both families, GUE without a header of its own", build: gue },
    NamedWorld {
        name: "gue-header",
        what: "both families, GUE with a header, next hops in VLAN 100",
        build: gue_header,
    },
    NamedWorld { name: "l2", what: "both families, backends on the segment", build: l2 },
    NamedWorld {
        name: "l2-vlan",
        what: "both families, backends on the segment of VLAN 100",
        build: || l2().vlan(BACKEND4, 100).vlan(BACKEND6, 100),
    },
    NamedWorld {
        name: "ports",
        what: "all-ports vips beside vips of single ports, TCP and UDP",
        build: ports,
    },
    NamedWorld {
        name: "quic",
        what: "server ids 0a01, 0a02 and 0a03 in QUIC connection ids of configuration 0",
        build: quic,
    },
    NamedWorld { name: "source", what: "source affinity, three backends", build: source },
    NamedWorld { name: "fleet", what: "many vips of all kinds, backends of both families", build: fleet },
    NamedWorld {
        name: "empty",
        what: "a vip that never had backends, and one whose backends are drained",
        build: empty,
    },
    NamedWorld {
        name: "answering",
        what: "both families, addresses that the program announces, pings answered, unknown ports rejected",
        build: || addressed(UnknownPorts::Reject, true),
    },
    NamedWorld {
        name: "elected",
        what: "both families, addresses of elections: .1 and ::1 are held, the leases of .2 and ::2 have lapsed",
        build: elected,
    },
    NamedWorld {
        name: "closed",
        what: "both families, unknown ports dropped",
        build: || addressed(UnknownPorts::Drop, false),
    },
    NamedWorld {
        name: "narrow",
        what: "both families, 120 bytes to the backend over IPv4, 1400 over IPv6",
        build: narrow,
    },
    NamedWorld {
        name: "narrow-drop",
        what: "the same, and `tunnel.oversize = \"drop\"`",
        build: narrow_drop,
    },
    NamedWorld {
        name: "access",
        what: "both families, 203.0.113.0/28 and 2001:db8:9::/48 allowed, 203.0.113.6/31 and 2001:db8:9::6 denied for all vips",
        build: access,
    },
    NamedWorld {
        name: "limits",
        what: "both families; port 80: three new flows a second, and one of each source; port 81: one of each /24 or /48",
        build: limits,
    },
    NamedWorld {
        name: "routes",
        what: "both families, 203.0.113.8/29 and 2001:db8:9:2::/64 to 10.0.0.2, 203.0.113.12 to nobody",
        build: routes,
    },
    NamedWorld {
        name: "circle",
        what: "both families, backends that lead back to the vips, tunnels of both kinds",
        build: circle,
    },
    NamedWorld {
        name: "fragments",
        what: "both families, UDP on ports 53 and 54, TCP on 80 and 81; port 81 takes no fragments; ten datagrams in fragments a second",
        build: fragments,
    },
    NamedWorld {
        name: "fragments-hash",
        what: "both families, one vip over UDP and one over TCP, fragments go by addresses alone",
        build: fragments_hash,
    },
    NamedWorld { name: "nothing", what: "no vip at all", build: World::default },
];

/// The world with this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static NamedWorld> {
    WORLDS.iter().find(|world| world.name == name)
}

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";
const VIP4: &str = "198.51.100.1";
const VIP6: &str = "2001:db8::1";
const BACKEND4: &str = "10.0.0.1";
const BACKEND6: &str = "2001:db8:b::1";

fn one(vip: &str, backend: &str) -> World {
    World::default().vip(vip, &[backend])
}

/// Both families, each to a backend of its own and to one of the other: the port chooses.
fn both() -> World {
    World::default()
        .vip(V4, &[BACKEND4])
        .vip("198.51.100.1:81/tcp", &[BACKEND6])
        .vip(V6, &[BACKEND4])
        .vip("[2001:db8::1]:81/tcp", &[BACKEND6])
}

fn vlan() -> World {
    both().vlan(BACKEND4, 100).vlan(BACKEND6, 100)
}

fn entropy() -> World {
    both().entropy("172.16.0.0", 16, "2001:db8:e::", 112)
}

/// Ways that are narrower than what clients send, for IPv4 so narrow that fixtures stay short.
fn narrow() -> World {
    let mut world = both();
    for (backend, mtu) in [(BACKEND4, 120), (BACKEND6, 1400)] {
        let hop = world.hops.get_mut(&backend.parse().expect("an address")).expect("the backend");
        hop.as_mut().expect("a next hop").mtu = mtu;
    }
    world
}

fn narrow_drop() -> World {
    let mut world = narrow();
    world.desired.tunnel.oversize = Oversize::Drop;
    world
}

fn dscp() -> World {
    let mut world = both();
    world.desired.tunnel.dscp = Dscp::Fixed(46);
    world
}

/// As [`both`], with UDP on port 53 as well.
fn both_and_udp() -> World {
    both().vip("198.51.100.1:53/udp", &[BACKEND4]).vip("[2001:db8::1]:53/udp", &[BACKEND6])
}

fn gue() -> World {
    both_and_udp().mode(Mode::Gue).entropy("172.16.0.0", 16, "2001:db8:e::", 112)
}

fn gue_header() -> World {
    let mut world = both_and_udp().mode(Mode::Gue).vlan(BACKEND4, 100).vlan(BACKEND6, 100);
    world.desired.tunnel.gue_variant = GueVariant::Header;
    world
}

fn l2() -> World {
    both_and_udp().mode(Mode::L2)
}

fn transition() -> World {
    let vips = [
        (V4, [BACKEND4, "10.0.0.2", "10.0.0.3"]),
        (V6, [BACKEND4, "10.0.0.2", BACKEND6]),
        ("198.51.100.1:443/udp", [BACKEND4, "10.0.0.2", "10.0.0.3"]),
        ("[2001:db8::1]:443/udp", [BACKEND4, "10.0.0.2", BACKEND6]),
    ];
    let all = |world: World| vips.iter().fold(world, |world, (key, backends)| world.vip(key, backends));
    let full = |vip: &mut DesiredVip| vip.options.tracking = TrackingMode::Full;
    let world = || all(World::default()).with("198.51.100.1:443/udp", full);
    let drain = |vip: &mut DesiredVip| {
        let second = vip.members.values_mut().find(|member| member.address == IpAddr::from([10, 0, 0, 2]));
        second.expect("backend 2").weight = 0;
    };
    let drained = vips.iter().fold(world(), |world, (key, _)| world.with(key, drain));
    drained.instead_of(world())
}

fn ports() -> World {
    World::default()
        .vip("198.51.100.1:0/tcp", &["10.0.0.1"])
        .vip(V4, &["10.0.0.2"])
        .vip("[2001:db8::1]:0/udp", &["10.0.0.1"])
        .vip("[2001:db8::1]:443/udp", &["10.0.0.2"])
}

fn quic() -> World {
    ["198.51.100.1:443/udp", "[2001:db8::1]:443/udp"].iter().fold(World::default(), |world, vip| {
        world.vip(vip, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]).with(vip, |vip| {
            vip.options.quic = Some(QuicRouting { server_id_len: 2, config_id: 0 });
            for (number, member) in (1..).zip(vip.members.values_mut()) {
                member.server_id = Some(ServerId { bytes: [0x0a, number, 0, 0, 0, 0, 0, 0], len: 2 });
            }
        })
    })
}

fn source() -> World {
    [V4, V6].iter().fold(World::default(), |world, vip| {
        world.vip(vip, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]).with(vip, |vip| vip.affinity = Affinity::Source)
    })
}

fn fleet() -> World {
    let backends = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8:b::1", "2001:db8:b::2"];
    (1..=20u8).fold(World::default(), |world, host| {
        let port = [80, 443, 53, 0][usize::from(host) % 4];
        let protocol = if host % 3 == 0 { "udp" } else { "tcp" };
        let few = &backends[usize::from(host) % 5..];
        world
            .vip(&format!("198.51.100.{host}:{port}/{protocol}"), few)
            .vip(&format!("[2001:db8::{host:x}]:{port}/{protocol}"), &backends)
    })
}

fn empty() -> World {
    World::default().vip(V4, &[]).vip(V6, &[BACKEND4]).with(V6, |vip| {
        vip.members.values_mut().for_each(|member| member.drained = true);
    })
}

/// Of every two addresses, an election gives the first one to this node ([`crate::fuzz::Pair`]).
fn elected() -> World {
    let address = DesiredAddress { announce: Announce::Arp, ping: true, ..DesiredAddress::default() };
    let vips = [VIP4, "198.51.100.2", "2001:db8::1", "2001:db8::2"]
        .map(|vip| vip.parse::<IpAddr>().expect("an address"));
    let mut world = vips.into_iter().fold(World::default(), |world, vip| {
        let name = std::net::SocketAddr::new(vip, 80);
        world.vip(&format!("{name}/tcp"), &[BACKEND4, BACKEND6]).address(&vip.to_string(), address.clone())
    });
    world.desired.elected = vips.into();
    world
}

/// Both families, to one backend of each.
fn addressed(unknown_ports: UnknownPorts, answers: bool) -> World {
    let announce = if answers { Announce::Arp } else { Announce::None };
    let address = DesiredAddress { announce, unknown_ports, ping: answers, ..DesiredAddress::default() };
    let backends = [BACKEND4, BACKEND6];
    World::default()
        .vip(V4, &backends)
        .vip(V6, &backends)
        .address("198.51.100.1", address.clone())
        .address("2001:db8::1", address)
}

fn access() -> World {
    let mut world = [V4, V6].iter().fold(both(), |world, vip| {
        world.with(vip, |vip| vip.options.access = rules(&["203.0.113.0/28", "2001:db8:9::/48"], &[]))
    });
    world.desired.access = rules(&[], &["203.0.113.6/31", "2001:db8:9::6"]);
    world
}

fn limits() -> World {
    let world = [V4, V6].iter().fold(both(), |world, vip| {
        world.with(vip, |vip| {
            vip.options.limits.vip_per_second = Some(3);
            vip.options.limits.source_per_second = Some(1);
        })
    });
    ["198.51.100.1:81/tcp", "[2001:db8::1]:81/tcp"].iter().fold(world, |world, vip| {
        world.with(vip, |vip| {
            let limits = &mut vip.options.limits;
            (limits.source_per_second, limits.source_prefix4, limits.source_prefix6) = (Some(1), 24, 48);
        })
    })
}

fn routes() -> World {
    [V4, V6].iter().fold(both(), |world, vip| {
        world.route(vip, &["203.0.113.8/29", "2001:db8:9:2::/64"], &["10.0.0.2"]).route(
            vip,
            &["203.0.113.12"],
            &[],
        )
    })
}

fn fragments() -> World {
    let backends = [BACKEND4, "10.0.0.2", BACKEND6];
    let mut world = [VIP4, "[2001:db8::1]"].iter().fold(World::default(), |world, vip| {
        let refusing = format!("{vip}:81/tcp");
        let world = ["53/udp", "54/udp", "80/tcp"]
            .iter()
            .fold(world, |world, service| world.vip(&format!("{vip}:{service}"), &backends));
        world.vip(&refusing, &backends).with(&refusing, |vip| vip.options.fragments = Fragments::Drop)
    });
    let address = DesiredAddress { announce: Announce::Arp, ping: true, ..DesiredAddress::default() };
    for vip in [VIP4, VIP6] {
        world = world.address(vip, address.clone());
    }
    world.desired.answers.fragments_per_second = 10;
    world
}

fn fragments_hash() -> World {
    let vips = ["198.51.100.1:53/udp", V4, "[2001:db8::1]:53/udp", V6];
    vips.iter().fold(World::default(), |world, vip| {
        world
            .vip(vip, &[BACKEND4, "10.0.0.2", BACKEND6])
            .with(vip, |vip| vip.options.fragments = Fragments::Hash)
    })
}

/// By ports: 80 over IPv4, 81 over IPv6, 82 in UDP.
fn circle() -> World {
    let vips = [(80, VIP4), (81, VIP6), (82, VIP4)];
    let mut world = vips.iter().fold(World::default(), |world, (port, backend)| {
        let in_udp = |vip: &mut DesiredVip| {
            if *port == 82 {
                vip.mode = Mode::Gue;
                vip.members.values_mut().for_each(|member| member.mode = Mode::Gue);
            }
        };
        let (vip4, vip6) = (format!("{VIP4}:{port}/tcp"), format!("[{VIP6}]:{port}/tcp"));
        world.vip(&vip4, &[*backend]).vip(&vip6, &[*backend]).with(&vip4, in_udp).with(&vip6, in_udp)
    });
    for address in [VIP4, VIP6] {
        world = world.address(address, DesiredAddress::default());
    }
    world
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for world in WORLDS {
            assert_eq!(WORLDS.iter().filter(|other| other.name == world.name).count(), 1, "{}", world.name);
        }
    }
}
