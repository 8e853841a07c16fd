//! Flows while the ring changes, packet by packet, on the host and in the kernel: every one of them goes where it began.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::Reason;
use lb_user::state::{DesiredVip, Forwarding, Previous, TrackingMode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tests::control::{ethernet, ipv4};
use tests::kernel::is_root;
use tests::packets::{Kind, Packet};
use tests::story::Story;
use tests::tunnel::outer;
use tests::world::World;

const TCP4: &str = "198.51.100.1:80/tcp";
const TCP6: &str = "[2001:db8::1]:80/tcp";
const UDP4: &str = "198.51.100.1:53/udp";
const BACKENDS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
const SECOND: u64 = 1_000_000_000;
const FIN: u8 = 0x01;
const FLAGS: usize = 14 + 20 + 13;

fn world() -> World {
    World::default().vip(TCP4, &BACKENDS).vip(TCP6, &BACKENDS).vip(UDP4, &BACKENDS)
}

/// The world with other weights of the backends.
fn weighted(weights: [u32; 3]) -> World {
    all_vips(world(), |vip| {
        for (member, weight) in vip.members.values_mut().zip(weights) {
            member.weight = weight;
        }
    })
}

fn all_vips(world: World, change: impl Fn(&mut DesiredVip)) -> World {
    [TCP4, TCP6, UDP4].into_iter().fold(world, |world, key| world.with(key, &change))
}

/// A story whose tables change.
struct Play {
    story: Story,
    forwarding: Forwarding,
    now_ns: u64,
}

impl Play {
    fn new(world: &World) -> Self {
        Self { story: Story::new(world), forwarding: world.forwarding(), now_ns: 0 }
    }

    fn change(&mut self, world: &World) {
        self.forwarding = world.after(Previous::Forwarding(&self.forwarding), self.now_ns);
        self.story.apply(&self.forwarding);
    }

    fn wait(&mut self, seconds: u64) {
        self.now_ns += seconds * SECOND;
        self.story.set_clock(self.now_ns);
    }

    /// Ends what is over, with what the kernel remembers.
    fn end(&mut self) {
        let Some(flows) = self.story.flows(&self.forwarding, self.now_ns) else { return };
        let over = self
            .forwarding
            .without_what_is_over(|vip, route, backend| flows.has(vip, route, backend), self.now_ns);
        if let Some(over) = over {
            self.forwarding = over;
            self.story.apply(&self.forwarding);
        }
    }

    fn sends(&mut self, frame: &[u8]) -> IpAddr {
        let output = self.story.forwarded(frame);
        let destination = outer(&output).destination;
        match <[u8; 4]>::try_from(destination.as_slice()) {
            Ok(v4) => v4.into(),
            Err(_) => <[u8; 16]>::try_from(destination.as_slice()).expect("an address").into(),
        }
    }
}

fn packet(kind: Kind, port: u16) -> Vec<u8> {
    let destination = if kind == Kind::Udp { "198.51.100.1:53" } else { "198.51.100.1:80" };
    Packet::new(kind, &format!("203.0.113.9:{port}"), destination).frame()
}

fn packet6(kind: Kind, port: u16) -> Vec<u8> {
    Packet::new(kind, &format!("[2001:db8:9::9]:{port}"), "[2001:db8::1]:80").frame()
}

const PORTS: std::ops::Range<u16> = 40_000..40_060;

#[test]
fn open_connections_stay_when_a_backend_is_drained_and_new_ones_avoid_it() {
    let mut play = Play::new(&world());
    for frame in [packet as fn(Kind, u16) -> Vec<u8>, packet6] {
        let before: Vec<_> = PORTS.map(|port| play.sends(&frame(Kind::Syn, port))).collect();
        play.change(&weighted([100, 0, 100]));
        let drained: IpAddr = BACKENDS[1].parse().unwrap();
        assert!(before.contains(&drained));
        for _ in 0..2 {
            let after: Vec<_> = PORTS.map(|port| play.sends(&frame(Kind::Ack, port))).collect();
            assert_eq!(after, before);
        }
        let new: Vec<_> = PORTS.map(|port| play.sends(&frame(Kind::Syn, port + 1000))).collect();
        assert!(!new.contains(&drained));
        let went_on: Vec<_> = PORTS.map(|port| play.sends(&frame(Kind::Ack, port + 1000))).collect();
        assert_eq!(went_on, new);
        play.change(&weighted([100, 100, 100]));
        let back: Vec<_> = PORTS.map(|port| play.sends(&frame(Kind::Ack, port + 1000))).collect();
        assert_eq!(back, new, "those that began meanwhile stay where they are");
        let old: Vec<_> = PORTS.map(|port| play.sends(&frame(Kind::Ack, port))).collect();
        assert_eq!(old, before);
    }
}

#[test]
fn a_transition_ends_when_no_flow_is_left_and_the_slots_are_steady_again() {
    let mut play = Play::new(&world());
    let before: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port))).collect();
    play.change(&weighted([100, 0, 100]));
    for port in PORTS {
        let _backend = play.sends(&packet(Kind::Ack, port));
    }
    if !is_root() {
        return;
    }
    play.wait(301);
    play.end();
    assert!(play.forwarding.has_past(), "connections with a record are followed on");
    let after: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).collect();
    assert_eq!(after, before);
    for port in PORTS {
        let mut last = packet(Kind::Ack, port);
        last[FLAGS] |= FIN;
        play.sends(&last);
    }
    play.wait(40);
    play.end();
    assert!(!play.forwarding.has_past(), "all are closed");
    let stray: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).collect();
    assert!(!stray.contains(&BACKENDS[1].parse().unwrap()));
}

#[test]
fn datagrams_are_taken_for_older_flows_for_a_while() {
    let mut play = Play::new(&world());
    let before: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Udp, port))).collect();
    play.change(&weighted([100, 0, 100]));
    let learnt: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Udp, port))).collect();
    assert_eq!(learnt, before);
    play.wait(11);
    let after: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Udp, port))).collect();
    assert_eq!(after, before, "what was learnt stays");
    let new: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Udp, port + 1000))).collect();
    assert!(!new.contains(&BACKENDS[1].parse().unwrap()));
}

#[test]
fn a_backend_that_was_given_up_keeps_nobody() {
    let mut play = Play::new(&world());
    for port in PORTS {
        let _backend = play.sends(&packet(Kind::Syn, port));
    }
    let gone: IpAddr = BACKENDS[1].parse().unwrap();
    play.change(&weighted([100, 0, 100]));
    assert!(PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).any(|backend| backend == gone));
    play.change(&all_vips(weighted([100, 0, 100]), |vip| _ = vip.given_up.insert(gone)));
    assert!(PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).all(|backend| backend != gone));
}

#[test]
fn the_last_backend_keeps_its_connections_and_gets_no_new_ones() {
    let mut play = Play::new(&world());
    let before: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port))).collect();
    play.change(&weighted([0, 0, 0]));
    let after: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).collect();
    assert_eq!(after, before);
    assert_eq!(play.story.dropped(&packet(Kind::Syn, 50_000)), Reason::NoBackend);
}

#[test]
fn a_vip_that_tracks_all_flows_keeps_even_those_of_a_changed_seed() {
    let full = |world| all_vips(world, |vip| vip.options.tracking = TrackingMode::Full);
    let mut play = Play::new(&full(world()));
    let before: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port))).collect();
    play.change(&full(weighted([1, 300, 1])));
    play.change(&full(weighted([300, 1, 1])));
    let after: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).collect();
    assert_eq!(after, before);
}

#[test]
fn a_vip_without_tracking_moves_flows_with_their_slots() {
    let none = |world| all_vips(world, |vip| vip.options.tracking = TrackingMode::None);
    let mut play = Play::new(&none(world()));
    for port in PORTS {
        let _backend = play.sends(&packet(Kind::Syn, port));
    }
    play.change(&none(weighted([100, 0, 100])));
    let after: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).collect();
    assert!(!after.contains(&BACKENDS[1].parse().unwrap()));
}

#[test]
fn an_icmp_error_follows_the_flow_through_a_transition() {
    let mut play = Play::new(&world());
    let before: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port))).collect();
    play.change(&weighted([100, 0, 100]));
    let new: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port + 1000))).collect();
    for (port, expected) in PORTS.zip(before).chain(PORTS.map(|port| port + 1000).zip(new)) {
        let quoted = [&[0, 80][..], &port.to_be_bytes(), &[0; 4]].concat();
        let quoted = ipv4([198, 51, 100, 1].into(), [203, 0, 113, 9].into(), 6, &[], &quoted);
        let mut icmp = [&[3, 4, 0, 0, 0, 0, 5, 0][..], &quoted].concat();
        let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&icmp).ones_complement();
        icmp[2..4].copy_from_slice(&sum.to_ne_bytes());
        let error = ethernet(&[], &ipv4([192, 0, 2, 77].into(), [198, 51, 100, 1].into(), 1, &[], &icmp));
        assert_eq!(play.sends(&error), expected, "port {port}");
    }
}

#[test]
fn fragments_follow_their_flow_through_a_transition() {
    let mut play = Play::new(&world());
    let whole = |port: u16| {
        let mut packet = Packet::new(Kind::Udp, &format!("203.0.113.9:{port}"), "198.51.100.1:53");
        packet.payload = vec![7; 1200];
        packet.frame()
    };
    let before: BTreeMap<u16, _> = PORTS.map(|port| (port, play.sends(&whole(port)))).collect();
    play.change(&weighted([100, 0, 100]));
    for (port, expected) in before {
        for fragment in tests::cut::cut(&whole(port), u32::from(port), 576) {
            assert_eq!(play.sends(&fragment), expected, "port {port}");
        }
    }
}

#[test]
fn a_restart_in_a_transition_is_like_none() {
    if !is_root() {
        return;
    }
    let mut play = Play::new(&world());
    let before: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port))).collect();
    play.change(&weighted([100, 0, 100]));
    let new: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Syn, port + 1000))).collect();
    for weights in [[100, 0, 100], [0, 100, 1], [100, 0, 100]] {
        // The file has been changed, too, while no daemon was there.
        let found = play.story.found().expect("a kernel");
        let next = weighted(weights).after(Previous::Found(&found), play.now_ns);
        play.story.restart(&next);
        play.change(&weighted(weights));
        let after: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port))).collect();
        assert_eq!(after, before, "{weights:?}");
        let went_on: Vec<_> = PORTS.map(|port| play.sends(&packet(Kind::Ack, port + 1000))).collect();
        assert_eq!(went_on, new, "{weights:?}");
    }
}

#[test]
fn no_connection_leaves_its_backend_whatever_changes() {
    let step = (0..6u8, 0..4u16, prop::array::uniform3(0..4u32));
    let config = Config { cases: 6, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step, 30), |steps| {
            let mut play = Play::new(&world());
            let mut began: BTreeMap<u16, IpAddr> = BTreeMap::new();
            let mut next = 41_000;
            for (what, port, weights) in steps {
                match what {
                    0..3 => {
                        for _ in 0..4 {
                            if let (tests::kernel::Action::Transmit, output) =
                                play.story.run(&packet(Kind::Syn, next))
                            {
                                let destination = outer(&output).destination;
                                let v4 = <[u8; 4]>::try_from(destination.as_slice()).expect("IPv4");
                                began.insert(next, v4.into());
                            }
                            next += 1;
                        }
                    }
                    3 => play.change(&weighted(weights)),
                    4 => play.wait(u64::from(port)),
                    _ => play.end(),
                }
                for (port, backend) in &began {
                    prop_assert_eq!(play.sends(&packet(Kind::Ack, *port)), *backend);
                }
            }
            Ok(())
        })
        .unwrap();
}
