//! Any valid virtual routers, for property tests.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb_vrrp::announce::Schedule;
use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::{Authentication, Interval, Ipv4Sum, OWNER, Version};
use proptest::prelude::*;

use super::*;
use crate::state::Announce;
use crate::vrrp::{Address, External, Router, Subject, Tracker, Wanted};

prop_compose! {
    fn tracker()(
        path in "/[a-z/]{1,12}",
        arguments in prop::collection::vec("[a-zA-Z0-9 \"'\\\\-]{0,8}", 0..3),
        is_file in any::<bool>(),
        (interval, timeout) in (100..=3_600_000u64, 100..=3_600_000u64),
        (rise, fall) in (1..=100u32, 1..=100u32),
    ) -> Tracker {
        if is_file {
            return Tracker::File { path: path.into() };
        }
        let [interval, timeout] = [interval, timeout.min(interval)].map(Duration::from_millis);
        let command = std::iter::once(path).chain(arguments).collect();
        Tracker::Script { command, interval, timeout, rise, fall }
    }
}

prop_compose! {
    fn schedule()(
        repeat in 1..=60u8,
        delay in 0..=3600u64,
        refresh in prop_oneof![Just(0), 1..=86_400u64],
        refresh_repeat in 1..=60u8,
        lower_priority_repeat in 0..=60u8,
    ) -> Schedule {
        Schedule {
            repeat,
            delay: Duration::from_secs(delay),
            refresh: Duration::from_secs(refresh),
            refresh_repeat: if refresh == 0 { 1 } else { refresh_repeat },
            lower_priority_repeat,
        }
    }
}

fn preempt() -> impl Strategy<Value = Preempt> {
    let after = (10..=3_600_000u64).prop_map(|millis| Preempt::After(Duration::from_millis(millis)));
    prop_oneof![Just(Preempt::Now), Just(Preempt::Never), after]
}

/// Addresses that nobody else has, since each router has its own `number`.
fn own_addresses(number: usize, v4: bool, lens: &[u8]) -> Vec<Address> {
    let address = |(index, len): (usize, &u8)| {
        let (address, most) = if v4 {
            (Ipv4Addr::new(203, 0, number as u8, index as u8 + 1).into(), 32)
        } else {
            let net = if index == 0 { 0xfe80 } else { 0x2001 };
            (Ipv6Addr::new(net, 0xdb9, 0, 0, 0, 0, number as u16, index as u16 + 1).into(), 128)
        };
        let prefix_len = (*len).clamp(1, most);
        Address { address, prefix_len, announce: Announce::Address, is_vip: false, on: None }
    };
    lens.iter().enumerate().map(address).collect()
}

prop_compose! {
    /// Without addresses and what it tracks.
    fn router()(
        (interface, vrid, v2) in ("[a-km-z][a-z0-9]{1,8}", 1..=255u8, any::<bool>()),
        priority in 1..=255u8,
        interval in 1..=4095u16,
        preempt in preempt(),
        password in prop::option::of("[a-z\"'\\\\ ]{1,8}"),
        (peers, source) in (prop::collection::btree_set(1..=200u8, 0..4), any::<bool>()),
        (v4, plain, checks, virtual_mac, fencing, accept) in any::<(bool, bool, bool, bool, bool, bool)>(),
        announce in schedule(),
        lens in prop::collection::vec(1..=128u8, 1..4),
    ) -> (Router, bool, Vec<u8>) {
        let version = if v2 && v4 { Version::V2 } else { Version::V3 };
        let host = |last: u8| -> IpAddr {
            if v4 {
                Ipv4Addr::new(10, 99, 0, last).into()
            } else {
                Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 9, last.into()).into()
            }
        };
        let centiseconds = if version == Version::V2 { 100 * (1 + interval % 255) } else { interval };
        let unicast = !peers.is_empty();
        let router = Router {
            interface,
            vrid,
            version,
            priority,
            interval: Interval::from_centiseconds(centiseconds).expect("not zero"),
            addresses: Vec::new(),
            more_addresses: Vec::new(),
            preempt: if priority == OWNER { Preempt::Now } else { preempt },
            authentication: match password {
                Some(password) if version == Version::V2 => Authentication::password(&password),
                _ => Authentication::None,
            },
            peers: peers.into_iter().map(host).collect(),
            source: source.then(|| host(201)),
            check_hop_limit: checks || !unicast,
            sum: if plain && v4 && version == Version::V3 { Ipv4Sum::Plain } else { Ipv4Sum::Pseudo },
            virtual_mac: virtual_mac && !unicast,
            fencing,
            accept,
            announce,
            track: Vec::new(),
        };
        (router, v4, lens)
    }
}

/// Routers, groups and trackers beside vips of these names; the addresses of `external` are those of announced vips.
pub(super) fn vrrp(vips: Vec<String>, external: Vec<Address>) -> impl Strategy<Value = Wanted> {
    let names = prop::collection::btree_set("[a-z][a-z0-9.-]{0,9}", 6);
    let trackers = prop::collection::btree_map("[a-z][a-z0-9]{0,9}", tracker(), 0..3);
    let weights = prop::collection::vec(-253..=253i16, 8);
    let routers = prop::collection::vec(router(), 0..4);
    let lease = prop_oneof![Just(0), 300..=3_600_000u64].prop_map(Duration::from_millis);
    (names, trackers, weights, routers, (any::<(bool, bool)>(), lease), 0..=3600u64).prop_map(
        move |(names, trackers, weights, routers, ((grouped, follows), lease), limit)| {
            let mut names = names.into_iter();
            let subjects = trackers.keys().cloned().map(Subject::Tracker);
            let subjects = subjects.chain(vips.iter().cloned().map(Subject::Vip));
            let subjects: Vec<_> =
                subjects.chain([Subject::Fitness, Subject::Interface("eth7".to_owned())]).collect();
            let mut ids = BTreeSet::new();
            let routers: BTreeMap<_, _> = routers
                .into_iter()
                .enumerate()
                .filter(|(_, (router, v4, _))| ids.insert((router.interface.clone(), *v4, router.vrid)))
                .map(|(number, (mut router, v4, lens))| {
                    router.addresses = own_addresses(number, v4, &lens);
                    router.more_addresses = own_addresses(10 + number, !v4, &lens[..number.min(lens.len())]);
                    let weights =
                        weights.iter().map(|weight| if router.priority == OWNER { 0 } else { *weight });
                    router.track = subjects.iter().skip(number).cloned().zip(weights).collect();
                    (names.next().expect("enough"), router)
                })
                .collect();
            let first = routers.keys().next().cloned().filter(|_| grouped);
            let groups = first.into_iter().map(|member| (names.next().expect("enough"), vec![member]));
            let groups = groups.collect();
            let follows = follows.then(|| "192.0.2.200".parse().expect("address"));
            let external = (!external.is_empty()).then(|| {
                (names.next().expect("enough"), External { addresses: external.clone(), follows, lease })
            });
            let external = external.into_iter().collect();
            Wanted { routers, groups, trackers, external, gate_limit: Duration::from_secs(limit) }
        },
    )
}
