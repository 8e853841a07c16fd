//! Any course of events: what always holds.

use proptest::prelude::*;

use super::*;

const HOSTS: u8 = 6;

prop_compose! {
    fn policy()(
        fail_open in prop::sample::select(vec![FailOpen::All, FailOpen::None]),
        backups in 0..3usize,
        (down, more) in (1..4u32, 0..3u32),
        panic_percent in prop::sample::select(vec![0u8, 50]),
        guard in any::<bool>(),
        flapping in any::<bool>(),
        role in prop::option::weighted(0.3, prop::sample::select(vec![
            RoleConflict::Keep, RoleConflict::Newest, RoleConflict::Lowest,
        ])),
    ) -> PoolPolicy {
        let seconds = Duration::from_secs;
        PoolPolicy {
            fail_open,
            backup: (0..backups).map(|index| format!("b{}", 6 - index)).collect(),
            quorum_up: down + more,
            quorum_down: down,
            panic_percent,
            guard: guard.then_some(Guard { percent: 40, window: seconds(10), hold: seconds(60) }),
            flapping: flapping.then_some(Flapping { changes: 4, window: seconds(60), hold: seconds(20) }),
            role,
            ..PoolPolicy::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_course_of_events_does_harm(
        policy in policy(),
        events in prop::collection::vec((0..20u64, prop::collection::vec((any::<bool>(), any::<bool>()), 6)), 1..30),
    ) {
        let mut played = Played::new(HOSTS, policy);
        let mut now = 0;
        for (later, states) in events {
            now += later;
            for (host, (up, passes)) in (1..=HOSTS).zip(states) {
                played.set(host, up);
                played.seen.get_mut(&host).unwrap().passes = passes;
            }
            let desired = played.decide(now);
            let serves = serving(&desired);
            let policy = &played.policy;
            let is_up = |host: &u8| played.seen[host].up;
            let alarms = played.alarms();
            if policy.role.is_some() {
                prop_assert!(serves.len() <= 1, "{serves:?}");
                let passes = played.seen.values().filter(|seen| seen.passes).count();
                prop_assert_eq!(serves.is_empty() && passes > 0, false);
                if let ([one], true) = (&serves[..], passes > 0) {
                    prop_assert!(played.seen[one].passes, "{} serves though another is active", one);
                }
            } else {
                let any_up = (1..=HOSTS).any(|host| is_up(&host));
                prop_assert!(!serves.is_empty() || !any_up || policy.fail_open == FailOpen::None);
                let healthy_left =
                    (1..=HOSTS).any(|host| is_up(&host) && !policy.backup.contains(&format!("b{host}")));
                prop_assert!(!(healthy_left && serves.is_empty()), "a healthy backend, and nobody serves");
                let spared = alarms.iter().any(|kind| {
                    matches!(kind, AlarmKind::FailOpen | AlarmKind::Panic | AlarmKind::Frozen)
                });
                prop_assert!(spared || serves.iter().all(is_up), "one that is unhealthy serves: {serves:?}");
                prop_assert!(
                    alarms.contains(&AlarmKind::Frozen)
                        || alarms.contains(&AlarmKind::Backup)
                        || serves.iter().all(|host| !policy.backup.contains(&format!("b{host}"))),
                    "a backup that is not needed serves"
                );
            }
            for member in desired.vips[&key()].members.values() {
                let serves = member.out.is_none();
                prop_assert!(!(serves && given_up(&desired).contains(&member.address)));
                prop_assert!(!(member.out.is_some() && member.spared.is_some()));
            }
            // The same again at the same time changes nothing.
            let again = played.decide(now);
            prop_assert_eq!(again, desired);
            prop_assert!(played.pools.next_due().is_none_or(|due| due > at(now)));
        }
    }
}
