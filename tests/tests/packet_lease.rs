//! Addresses that an election is about: questions for them are answered while this node has them, and no longer.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::{Lease, Reason};
use lb_user::dataplane::Leases;
use lb_user::state::{Announce, DesiredAddress, MacAddress};
use tests::control::{arp_request, echo_request, solicitation, solicited_node, source_link_layer};
use tests::kernel::{Kernel, is_root};
use tests::packets::{CLIENT_SIDE, Kind, Packet};
use tests::story::Story;
use tests::world::{BALANCER, World};

/// Announced by the program.
const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The kernel has them.
const KERNELS4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const KERNELS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// No vip's.
const OTHER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77);
const ASKER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
const ASKER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe);
const VIRTUAL: MacAddress = MacAddress([0, 0, 0x5e, 0, 1, 51]);

fn world() -> World {
    let announced = DesiredAddress { announce: Announce::Arp, ping: true, ..DesiredAddress::default() };
    let kernels = DesiredAddress { announce: Announce::Address, ..DesiredAddress::default() };
    let mut world = World::default()
        .vip("198.51.100.1:80/tcp", &["10.0.0.1"])
        .vip("198.51.100.2:80/tcp", &["10.0.0.1"])
        .vip("[2001:db8::1]:80/tcp", &["10.0.0.1"])
        .vip("[2001:db8::2]:80/tcp", &["10.0.0.1"])
        .address("198.51.100.1", announced.clone())
        .address("198.51.100.2", kernels.clone())
        .address("2001:db8::1", announced)
        .address("2001:db8::2", kernels);
    world.desired.elected = all().into();
    world
}

fn all() -> [IpAddr; 6] {
    [VIP4.into(), VIP6.into(), KERNELS4.into(), KERNELS6.into(), OTHER4.into(), OTHER6.into()]
}

/// The question where an address is, in the group and, for IPv6, to the address itself.
fn asks(address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(v4) => vec![arp_request(&[], ASKER4, v4), arp_request(&[5], Ipv4Addr::UNSPECIFIED, v4)],
        IpAddr::V6(v6) => [solicited_node(v6), v6]
            .map(|destination| solicitation(ASKER6, destination, v6, &source_link_layer()))
            .into(),
    }
}

fn ping(address: IpAddr) -> Vec<u8> {
    let asker = if address.is_ipv4() { ASKER4.into() } else { ASKER6.into() };
    echo_request(asker, address, [0, 1, 0, 2], b"ferrolev")
}

/// The reason of a question that is the kernel's.
fn kernels(address: IpAddr) -> Reason {
    if address.is_ipv4() { Reason::Arp } else { Reason::Icmp }
}

fn reply(address: IpAddr) -> Reason {
    if address.is_ipv4() { Reason::ArpReply } else { Reason::NeighbourReply }
}

#[test]
fn before_an_election_has_spoken_nothing_is_answered_and_nothing_is_kept_from_the_kernel() {
    let mut story = Story::new(&world());
    for address in all() {
        for question in asks(address) {
            assert_eq!(story.passed(&question), kernels(address), "{address}");
        }
        assert_eq!(story.passed(&ping(address)), Reason::Icmp, "{address}");
    }
}

#[test]
fn an_address_is_answered_for_until_its_lease_is_over_to_the_nanosecond() {
    let mut story = Story::new(&world());
    for (number, address) in [VIP4.into(), VIP6.into()].into_iter().enumerate() {
        let until = 3_000_000_000 * (number as u64 + 1);
        story.own(address, until, None);
        story.set_clock(until - 1);
        for question in asks(address) {
            assert_eq!(story.answered(&question).0, reply(address));
        }
        assert_eq!(story.answered(&ping(address)).0, Reason::EchoReply);
        story.set_clock(until);
        for question in asks(address) {
            assert_eq!(story.dropped(&question), Reason::LeaseLapsed);
        }
        assert_eq!(story.dropped(&ping(address)), Reason::LeaseLapsed);
        story.own(address, until + 1, None);
        assert_eq!(story.answered(&asks(address)[0]).0, reply(address), "renewed");
    }
}

#[test]
fn what_the_kernel_has_is_the_kernels_while_the_lease_runs_and_nobodys_afterwards() {
    let mut story = Story::new(&world());
    for address in [KERNELS4.into(), KERNELS6.into(), OTHER4.into(), OTHER6.into()] {
        story.set_clock(0);
        story.own(address, 1_000, None);
        for question in asks(address) {
            assert_eq!(story.passed(&question), kernels(address), "{address}");
        }
        assert_eq!(story.passed(&ping(address)), Reason::Icmp, "{address}");
        story.set_clock(1_000);
        for question in asks(address) {
            assert_eq!(story.dropped(&question), Reason::LeaseLapsed, "{address}");
        }
        assert_eq!(story.dropped(&ping(address)), Reason::LeaseLapsed, "{address}");
    }
}

#[test]
fn a_lease_without_end_and_an_address_of_no_election_are_answered_at_any_time() {
    let mut world = world();
    world.desired.elected = BTreeSet::from([VIP4.into()]);
    let mut story = Story::new(&world);
    story.own(VIP4.into(), Lease::FOR_EVER, None);
    story.set_clock(u64::MAX / 2);
    for address in [VIP4.into(), VIP6.into()] {
        assert_eq!(story.answered(&asks(address)[0]).0, reply(address));
    }
    assert_eq!(story.passed(&asks(KERNELS4.into())[0]), Reason::Arp);
    assert_eq!(story.passed(&asks(KERNELS6.into())[1]), Reason::Icmp);
    assert_eq!(story.passed(&ping(OTHER4.into())), Reason::NotVip);
}

#[test]
fn what_was_given_back_is_dropped_until_it_is_another_nodes() {
    let mut story = Story::new(&world());
    story.set_clock(Lease::LAPSED);
    for address in all() {
        story.own(address, Lease::LAPSED, None);
        assert_eq!(story.dropped(&asks(address)[0]), Reason::LeaseLapsed);
        story.own(address, Lease::LEFT, None);
        assert_eq!(story.passed(&asks(address)[0]), kernels(address));
    }
}

#[test]
fn announcements_of_others_reach_the_kernel_whatever_a_lease_says() {
    let mut story = Story::new(&world());
    story.set_clock(Lease::LAPSED);
    story.own(VIP4.into(), Lease::LAPSED, None);
    story.own(VIP6.into(), Lease::LAPSED, None);
    assert_eq!(story.passed(&arp_request(&[], VIP4, VIP4)), Reason::Arp);
    let mut told = arp_request(&[], VIP4, ASKER4);
    told[21] = 2;
    assert_eq!(story.passed(&told), Reason::Arp, "a reply");
    let own = solicitation(VIP6, solicited_node(VIP6), VIP6, &[]);
    assert_eq!(story.passed(&own), Reason::Icmp);
}

#[test]
fn flows_are_forwarded_whatever_a_lease_says() {
    let mut story = Story::new(&world());
    for until in [Lease::LEFT, Lease::LAPSED, Lease::FOR_EVER] {
        for address in all() {
            story.own(address, until, None);
        }
        let ack = |client: &str, vip: &str| Packet::new(Kind::Ack, client, vip).frame();
        let _ = story.forwarded(&ack("203.0.113.9:4000", "198.51.100.1:80"));
        let _ = story.forwarded(&ack("203.0.113.9:4000", "198.51.100.2:80"));
        let _ = story.forwarded(&ack("[2001:db8:9::9]:4000", "[2001:db8::1]:80"));
        let other = ack("203.0.113.9:4000", "198.51.100.77:80");
        assert_eq!(story.passed(&other), Reason::NoService, "of an election, but of no vip");
    }
}

#[test]
fn an_address_at_the_virtual_mac_address_is_answered_from_there() {
    let mut story = Story::new(&world());
    story.own(VIP4.into(), Lease::FOR_EVER, Some(VIRTUAL));
    story.own(VIP6.into(), Lease::FOR_EVER, Some(VIRTUAL));
    let (_, arp) = story.answered(&asks(VIP4.into())[0]);
    assert_eq!(arp[..12], [CLIENT_SIDE[0], VIRTUAL.0].concat());
    assert_eq!(arp[22..28], VIRTUAL.0);
    let (_, advertisement) = story.answered(&asks(VIP6.into())[0]);
    assert_eq!(advertisement[6..12], VIRTUAL.0);
    assert_eq!(advertisement[78..], [&[2, 1][..], &VIRTUAL.0].concat());
    story.own(VIP4.into(), Lease::FOR_EVER, None);
    let (_, arp) = story.answered(&asks(VIP4.into())[0]);
    assert_eq!(arp[22..28], BALANCER.0);
}

#[test]
fn leases_outlive_the_daemon_and_addresses_that_join_are_nobodys() {
    if !is_root() {
        return;
    }
    let mut before = world();
    before.desired.elected = BTreeSet::from([VIP4.into(), VIP6.into()]);
    let mut kernel = Kernel::open(&before.forwarding()).expect("a kernel that takes the program");
    let mut leases = Leases::open(kernel.pin_dir()).expect("a pinned map");
    leases.own(VIP4.into(), 5_000, None).expect("a lease");
    let mut after = world();
    after.desired.elected = BTreeSet::from([VIP4.into(), KERNELS4.into()]);
    kernel.restart(&after.forwarding()).expect("a restart");
    assert_eq!(leases.addresses(), after.desired.elected);
    assert_eq!(leases.get(VIP4.into()).expect("a lease").until_ns, 5_000, "by a descriptor from before");
    assert_eq!(leases.get(KERNELS4.into()).expect("a lease").until_ns, Lease::LEFT);
    leases.own(VIP4.into(), 6_000, None).expect("a lease");
    kernel.apply(&before.forwarding()).expect("a change");
    assert_eq!(leases.addresses(), before.desired.elected);
    assert_eq!(leases.get(VIP4.into()).expect("a lease").until_ns, 6_000);
}
