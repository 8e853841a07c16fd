use proptest::prelude::*;

use super::*;
use crate::state::{Affinity, DesiredRoute, Mode, VipOptions};

const KEY: &str = "192.0.2.1:80/tcp";

fn key() -> VipKey {
    KEY.parse().unwrap()
}

fn address(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, host])
}

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + millis)
}

/// A vip with a slow start of `seconds` for all of its backends, which are `web-HOST` with a weight each.
fn desired(seconds: u64, members: &[(u8, u32)]) -> Desired {
    let member = |(host, weight): &(u8, u32)| {
        let slow_start = Duration::from_secs(seconds);
        (format!("web-{host}"), DesiredMember { slow_start, ..DesiredMember::new(address(*host), *weight) })
    };
    let vip = DesiredVip {
        name: "web".to_owned(),
        mode: Mode::Ipip,
        ring_size: 251,
        affinity: Affinity::FiveTuple,
        options: VipOptions::default(),
        members: members.iter().map(member).collect(),
        routes: Vec::new(),
        given_up: BTreeSet::new(),
    };
    Desired { vips: BTreeMap::from([(key(), vip)]), ..Desired::default() }
}

/// The weights for the ring, by host.
fn weights(desired: &Desired) -> Vec<u32> {
    desired.vips[&key()].members.values().map(DesiredMember::effective_weight).collect()
}

fn follow(slow: &mut SlowStart, desired: &mut Desired, now: SystemTime) -> Vec<u32> {
    slow.follow(desired, |_| true, now);
    weights(desired)
}

/// A vip with a warm backend, and another that has just begun with a slow start of `seconds`.
fn begun(seconds: u64) -> (SlowStart, Desired) {
    let mut slow = SlowStart::default();
    assert_eq!(follow(&mut slow, &mut desired(seconds, &[(1, 100)]), at(0)), [100]);
    let mut two = desired(seconds, &[(1, 100), (2, 100)]);
    slow.follow(&mut two, |_| true, at(0));
    (slow, two)
}

#[test]
fn backends_that_serve_when_a_vip_begins_have_their_whole_share() {
    let mut slow = SlowStart::default();
    let mut two = desired(30, &[(1, 100), (2, 50)]);
    assert_eq!(follow(&mut slow, &mut two, at(0)), [100, 50]);
    assert_eq!(slow.next_step(&two), None);
}

#[test]
fn a_backend_that_is_added_gets_its_share_in_ten_parts() {
    let (mut slow, mut two) = begun(9);
    let mut seen = Vec::new();
    let mut now = at(0);
    loop {
        let percent = two.vips[&key()].members["web-2"].slow_percent();
        seen.push(percent);
        let Some(next) = slow.next_step(&two) else { break };
        assert_eq!(next.duration_since(now).unwrap(), Duration::from_secs(1));
        slow.follow(&mut two, |_| true, next - Duration::from_nanos(1));
        assert_eq!(two.vips[&key()].members["web-2"].slow_percent(), percent, "not before its time");
        now = next;
        slow.follow(&mut two, |_| true, now);
    }
    let tenths: Vec<_> = (1..10).map(|tenth| Some(10 * tenth)).chain([None]).collect();
    assert_eq!(seen, tenths);
    assert_eq!((now, weights(&two)), (at(9000), vec![100, 100]));
    assert!(slow.began().is_empty());
}

#[test]
fn weights_keep_their_relation_when_they_are_small() {
    let mut slow = SlowStart::default();
    follow(&mut slow, &mut desired(9, &[(1, 1), (3, 2)]), at(0));
    assert_eq!(follow(&mut slow, &mut desired(9, &[(1, 1), (2, 1), (3, 2)]), at(0)), [100, 10, 200]);
}

#[test]
fn no_step_is_shorter_than_a_second() {
    for (seconds, steps) in [(1, 1), (2, 2), (5, 5), (30, 9), (3600, 9)] {
        let (slow, two) = begun(seconds);
        let warming = slow.begun_since(&SlowStart::default(), &two);
        let takes = Duration::from_secs(seconds);
        assert_eq!(warming, [Warming { vip: key(), backend: "web-2".to_owned(), takes, steps }]);
        let first = slow.next_step(&two).unwrap().duration_since(at(0)).unwrap();
        assert!(first >= Duration::from_secs(1), "{seconds} s: {first:?}");
    }
}

#[test]
fn a_drained_backend_and_one_without_a_next_hop_begin_anew_when_they_are_back() {
    for is_drained in [true, false] {
        let (mut slow, mut two) = begun(9);
        slow.follow(&mut two, |_| true, at(20_000));
        two.vips.get_mut(&key()).unwrap().members.get_mut("web-2").unwrap().drained = is_drained;
        slow.follow(&mut two, |of| is_drained || of != address(2), at(21_000));
        assert!(slow.began().is_empty());
        let mut back = desired(9, &[(1, 100), (2, 100)]);
        assert_eq!(follow(&mut slow, &mut back, at(22_000)), [10_000, 1000]);
    }
}

#[test]
fn a_backend_that_goes_in_the_middle_is_forgotten() {
    let (mut slow, _) = begun(9);
    assert_eq!(follow(&mut slow, &mut desired(9, &[(1, 100)]), at(1000)), [100]);
    assert!(slow.began().is_empty());
}

#[test]
fn a_backend_that_comes_when_nobody_serves_gets_all() {
    let mut slow = SlowStart::default();
    follow(&mut slow, &mut desired(9, &[]), at(0));
    assert_eq!(follow(&mut slow, &mut desired(9, &[(1, 100)]), at(0)), [100]);
}

#[test]
fn most_of_a_ring_cannot_start_slowly() {
    let mut slow = SlowStart::default();
    follow(&mut slow, &mut desired(9, &[(1, 100)]), at(0));
    assert_eq!(follow(&mut slow, &mut desired(9, &[(1, 100), (2, 100)]), at(0)), [10_000, 1000]);
    assert_eq!(follow(&mut slow, &mut desired(9, &[(1, 100), (2, 100), (3, 100)]), at(0)), [100, 100, 100]);
}

#[test]
fn an_earlier_daemons_slow_starts_go_on() {
    let (slow, mut two) = begun(9);
    let mut resumed = SlowStart::resumed(slow.began().clone());
    assert_eq!(follow(&mut resumed, &mut two, at(4000)), [10_000, 5000]);
    let mut late = SlowStart::resumed(slow.began().clone());
    assert_eq!(follow(&mut late, &mut two, at(9000)), [100, 100]);
}

#[test]
fn without_a_slow_start_the_whole_share_comes_at_once() {
    let (slow, two) = begun(0);
    assert_eq!((weights(&two), slow.next_step(&two)), (vec![100, 100], None));
}

#[test]
fn the_rings_of_routes_start_slowly_too() {
    let mut slow = SlowStart::default();
    let with_route = |hosts: &[(u8, u32)]| {
        let mut all = desired(9, &[(1, 100)]);
        let members = desired(9, hosts).vips.remove(&key()).unwrap().members;
        let route = DesiredRoute { name: "r".to_owned(), sources: [].into(), members };
        all.vips.get_mut(&key()).unwrap().routes = vec![route];
        all
    };
    slow.follow(&mut with_route(&[(7, 100)]), |_| true, at(0));
    let mut two = with_route(&[(7, 100), (8, 100)]);
    slow.follow(&mut two, |_| true, at(0));
    let route = &two.vips[&key()].routes[0].members;
    assert_eq!(route.values().map(DesiredMember::effective_weight).collect::<Vec<_>>(), [10_000, 1000]);
    assert_eq!(weights(&two), [100], "the vip's own ring has nobody new");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Whoever comes, goes, or waits: every backend that serves has at least a tenth of its share, most have all of it, and in
    /// the end everybody has.
    #[test]
    fn all_shares_become_whole(
        events in prop::collection::vec((prop::collection::btree_set(1u8..7, 0..7), 0u64..4000), 1..40),
        seconds in 0u64..20,
    ) {
        let mut slow = SlowStart::default();
        let mut now = at(0);
        let percent = |member: &DesiredMember| member.slow_percent().unwrap_or(100);
        for (hosts, pause) in events {
            now += Duration::from_millis(pause);
            let members: Vec<_> = hosts.into_iter().map(|host| (host, 100)).collect();
            let mut desired = desired(seconds, &members);
            slow.follow(&mut desired, |_| true, now);
            let vip = &desired.vips[&key()];
            let is_fair = vip.members.values().filter(|member| percent(member) < 100).count() * 2 <= members.len();
            prop_assert!(is_fair, "most start slowly: {:?}", vip.members);
            for member in vip.members.values() {
                prop_assert!((10..=100).contains(&percent(member)));
                prop_assert!(member.effective_weight() > 0);
                let began = slow.began().contains_key(&(key(), member.address));
                prop_assert!(began || percent(member) == 100);
            }
            if let Some(next) = slow.next_step(&desired) {
                prop_assert!(next > now);
            }
            let mut later = slow.clone();
            later.follow(&mut desired, |_| true, now + Duration::from_secs(seconds));
            prop_assert!(desired.vips[&key()].members.values().all(|member| percent(member) == 100));
            prop_assert!(later.began().is_empty());
        }
    }
}
