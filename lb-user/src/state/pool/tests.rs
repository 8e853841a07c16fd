//! Decisions of one vip, step by step, and any course of events with what always holds.

mod any;
mod role;

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::*;
use crate::state::{Affinity, DesiredAddress, DesiredRoute, Mode, VipOptions};

fn address(host: u8) -> IpAddr {
    [10, 0, 0, host].into()
}

fn key() -> VipKey {
    "203.0.113.10:80/tcp".parse().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

/// A vip with backends `b1` to `b…`, and what checks say of them.
struct Played {
    policy: PoolPolicy,
    vip: DesiredVip,
    pools: Pools,
    seen: BTreeMap<u8, Seen>,
    withdraws: bool,
}

impl Played {
    fn new(hosts: u8, policy: PoolPolicy) -> Self {
        let members = (1..=hosts).map(|host| (format!("b{host}"), DesiredMember::new(address(host), 100)));
        let vip = DesiredVip {
            name: "web".to_owned(),
            mode: Mode::Ipip,
            ring_size: 251,
            affinity: Affinity::FiveTuple,
            options: VipOptions::default(),
            members: members.collect(),
            routes: Vec::new(),
            given_up: [].into(),
        };
        let mut played =
            Self { policy, vip, pools: Pools::default(), seen: BTreeMap::new(), withdraws: false };
        (1..=hosts).for_each(|host| played.set(host, true));
        played
    }

    fn set(&mut self, host: u8, up: bool) {
        let round = Duration::from_secs(3);
        self.seen.insert(host, Seen { up, passes: up, down_in_group: false, round });
    }

    /// What is desired at the time `seconds`, with the backends of `down` down and all others up.
    fn step(&mut self, seconds: u64, down: &[u8]) -> Desired {
        for host in self.seen.keys().copied().collect::<Vec<_>>() {
            self.set(host, !down.contains(&host));
        }
        self.decide(seconds)
    }

    fn decide(&mut self, seconds: u64) -> Desired {
        let of_address = DesiredAddress {
            announce: crate::state::Announce::Arp,
            withdraw_when_down: self.withdraws,
            ..DesiredAddress::default()
        };
        let mut desired = Desired {
            vips: [(key(), self.vip.clone())].into(),
            addresses: [(key().address, of_address)].into(),
            ..Desired::default()
        };
        let seen = self.seen.iter().map(|(host, seen)| ((key(), address(*host)), *seen)).collect();
        let policy = &self.policy;
        self.pools.follow(&mut desired, |_| Some(policy), &seen, |_| true, at(seconds));
        desired
    }

    fn alarms(&self) -> Vec<AlarmKind> {
        self.pools.alarms(key()).iter().map(|alarm| alarm.kind).collect()
    }
}

/// The last bytes of the backends that serve.
fn serving(desired: &Desired) -> Vec<u8> {
    in_ring(&desired.vips[&key()].members)
}

fn in_ring(members: &BTreeMap<String, DesiredMember>) -> Vec<u8> {
    let serve = members.iter().filter(|(_, member)| member.effective_weight() > 0);
    serve.map(|(name, _)| name[1..].parse().unwrap()).collect()
}

fn given_up(desired: &Desired) -> Vec<IpAddr> {
    desired.vips[&key()].given_up.iter().copied().collect()
}

fn backup(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn without_settings_the_unhealthy_are_out_and_all_serve_when_all_are() {
    let mut played = Played::new(3, PoolPolicy::default());
    assert_eq!(serving(&played.step(0, &[])), [1, 2, 3]);
    let desired = played.step(1, &[2]);
    assert_eq!((serving(&desired), given_up(&desired)), (vec![1, 3], vec![address(2)]));
    let desired = played.step(2, &[1, 2, 3]);
    assert_eq!((serving(&desired), given_up(&desired)), (vec![1, 2, 3], vec![]));
    assert_eq!(played.alarms(), [AlarmKind::FailOpen]);
    played.policy.fail_open = FailOpen::None;
    assert_eq!(serving(&played.step(3, &[1, 2, 3])), [0u8; 0]);
    assert_eq!(played.alarms(), [AlarmKind::Closed]);
    played.step(4, &[]);
    assert_eq!(played.alarms(), []);
}

#[test]
fn backups_serve_below_the_quorum_until_enough_are_healthy_again() {
    let policy =
        PoolPolicy { backup: backup(&["b5"]), quorum_up: 3, quorum_down: 2, ..PoolPolicy::default() };
    let mut played = Played::new(5, policy);
    let table: [(&[u8], &[u8], &[AlarmKind]); 9] = [
        (&[], &[1, 2, 3, 4], &[]),
        (&[1, 2], &[3, 4], &[]),
        (&[1, 2, 3], &[5], &[AlarmKind::Backup]),
        (&[1, 2], &[5], &[AlarmKind::Backup]),
        (&[1], &[2, 3, 4], &[]),
        (&[1, 2], &[3, 4], &[]),
        (&[1, 2, 3, 5], &[4], &[]),
        (&[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[AlarmKind::FailOpen]),
        (&[1, 2, 3, 4], &[5], &[AlarmKind::Backup]),
    ];
    for (second, (down, serves, alarms)) in table.into_iter().enumerate() {
        let desired = played.step(second as u64, down);
        assert_eq!((serving(&desired).as_slice(), played.alarms().as_slice()), (serves, alarms), "{down:?}");
    }
    let desired = played.step(9, &[2, 3, 4]);
    assert_eq!(given_up(&desired), [2, 3, 4].map(address), "b1 is healthy: its flows go on");
    assert_eq!(desired.vips[&key()].members["b1"].out, Some(Out::BelowQuorum));
}

#[test]
fn below_the_panic_threshold_all_serve() {
    let mut played = Played::new(4, PoolPolicy { panic_percent: 50, ..PoolPolicy::default() });
    assert_eq!(serving(&played.step(0, &[1, 2])), [3, 4], "half is not below half");
    assert_eq!(serving(&played.step(1, &[1, 2, 3])), [1, 2, 3, 4]);
    assert_eq!(played.alarms(), [AlarmKind::Panic]);
    assert_eq!(serving(&played.step(2, &[1])), [2, 3, 4]);
}

#[test]
fn backends_that_are_drained_or_weigh_nothing_count_nowhere() {
    let mut played = Played::new(4, PoolPolicy { panic_percent: 50, ..PoolPolicy::default() });
    played.vip.members.get_mut("b1").unwrap().drained = true;
    played.vip.members.get_mut("b2").unwrap().weight = 0;
    assert_eq!(serving(&played.step(0, &[3])), [4], "one of two");
    assert_eq!(serving(&played.step(1, &[3, 4])), [3, 4], "the drained one stays drained");
}

fn guarded() -> Played {
    let (window, hold) = (Duration::from_secs(10), Duration::from_secs(300));
    let guard = Some(Guard { percent: 40, window, hold });
    Played::new(5, PoolPolicy { guard, ..PoolPolicy::default() })
}

#[test]
fn many_failures_at_once_freeze_the_ring_until_they_recover() {
    let mut played = guarded();
    assert_eq!(serving(&played.step(0, &[1, 2, 3])), [4, 5], "what is down at the start has not failed");
    let mut played = guarded();
    played.step(0, &[]);
    played.step(1, &[5]);
    assert_eq!(serving(&played.step(20, &[5])), [1, 2, 3, 4], "one is no mass");
    assert_eq!(serving(&played.step(21, &[1, 5])), [2, 3, 4]);
    let desired = played.step(25, &[1, 2, 3, 5]);
    assert_eq!((serving(&desired), given_up(&desired)), (vec![1, 2, 3, 4], vec![address(5)]));
    assert_eq!(played.alarms(), [AlarmKind::Frozen]);
    assert_eq!(serving(&played.step(26, &[1, 2, 3])), [1, 2, 3, 4], "b5 was not in the ring");
    assert_eq!(serving(&played.step(27, &[1])), [2, 3, 4, 5], "they have recovered");
    assert_eq!(played.alarms(), []);
}

#[test]
fn a_frozen_ring_thaws_when_its_time_is_over_and_slow_failures_freeze_nothing() {
    let mut played = guarded();
    played.step(0, &[]);
    assert_eq!(serving(&played.step(5, &[1, 2, 3])), [1, 2, 3, 4, 5]);
    assert_eq!(played.pools.next_due(), Some(at(305)));
    assert_eq!(serving(&played.step(304, &[1, 2, 3])), [1, 2, 3, 4, 5]);
    assert_eq!(serving(&played.step(305, &[1, 2, 3])), [4, 5]);
    assert_eq!((played.alarms(), played.pools.next_due()), (vec![], None));
    let mut played = guarded();
    played.step(0, &[]);
    for (seconds, down) in [(0, vec![1]), (20, vec![1, 2]), (40, vec![1, 2, 3])] {
        played.step(seconds, &down);
        assert_eq!(played.alarms(), [], "{down:?}");
    }
}

#[test]
fn disabling_those_that_failed_ends_the_freeze() {
    let mut played = guarded();
    played.step(0, &[]);
    played.step(1, &[1, 2, 3]);
    assert_eq!(played.alarms(), [AlarmKind::Frozen]);
    for name in ["b1", "b2"] {
        played.vip.members.get_mut(name).unwrap().drained = true;
    }
    assert_eq!(serving(&played.step(2, &[1, 2, 3])), [4, 5]);
}

#[test]
fn a_backend_that_comes_and_goes_stays_out_until_it_is_stable() {
    let flapping = Flapping { changes: 4, window: Duration::from_secs(100), hold: Duration::from_secs(30) };
    let mut played = Played::new(2, PoolPolicy { flapping: Some(flapping), ..PoolPolicy::default() });
    for (seconds, down, serves) in [(0, vec![], vec![1, 2]), (10, vec![1], vec![2]), (20, vec![], vec![1, 2])]
    {
        assert_eq!(serving(&played.step(seconds, &down)), serves, "{seconds}");
    }
    played.step(30, &[1]);
    let desired = played.step(40, &[]);
    assert_eq!(serving(&desired), [2]);
    assert_eq!(desired.vips[&key()].members["b1"].out, Some(Out::Flapping { until: at(70) }));
    assert_eq!(played.pools.next_due(), Some(at(70)));
    assert_eq!(serving(&played.step(45, &[2])), [1], "it is better than none");
    assert_eq!(serving(&played.step(50, &[])), [2]);
    played.step(60, &[1]);
    assert_eq!(serving(&played.step(65, &[])), [2], "its time begins anew");
    assert_eq!(serving(&played.step(94, &[])), [2]);
    assert_eq!(serving(&played.step(95, &[])), [1, 2]);
    played.step(300, &[1]);
    assert_eq!(serving(&played.step(301, &[])), [1, 2], "what is long ago is forgotten");
}

#[test]
fn each_route_has_a_quorum_of_its_own() {
    let policy = PoolPolicy { backup: backup(&["b3"]), ..PoolPolicy::default() };
    let mut played = Played::new(3, policy);
    let members = played.vip.members.clone();
    let members = members.into_iter().filter(|(name, _)| name != "b1").collect();
    played.vip.routes = vec![DesiredRoute { name: "r".to_owned(), sources: [].into(), members }];
    let desired = played.step(0, &[2]);
    assert_eq!(serving(&desired), [1]);
    assert_eq!(in_ring(&desired.vips[&key()].routes[0].members), [3]);
    let route = Some("r".to_owned());
    assert_eq!(played.pools.alarms(key())[0].route, route);
}

#[test]
fn an_address_is_withdrawn_only_when_asked_and_while_no_backend_is_healthy() {
    let mut played = Played::new(2, PoolPolicy::default());
    let announce = |desired: &Desired| desired.addresses[&key().address].announce;
    assert_eq!(announce(&played.step(0, &[1, 2])), crate::state::Announce::Arp);
    played.withdraws = true;
    assert_eq!(announce(&played.step(1, &[1])), crate::state::Announce::Arp);
    assert_eq!(announce(&played.step(2, &[1, 2])), crate::state::Announce::None);
    assert_eq!(played.alarms(), [AlarmKind::FailOpen, AlarmKind::Withdrawn]);
    played.vip.members.get_mut("b2").unwrap().drained = true;
    assert_eq!(announce(&played.step(3, &[1])), crate::state::Announce::None, "a drained one serves nobody");
    assert_eq!(announce(&played.step(4, &[])), crate::state::Announce::Arp);
    assert_eq!(played.alarms(), []);
}
