//! Two to five nodes through random incidents on a simulated clock: what must hold always, and what must hold once
//! everything is well again.

use std::time::Duration;

use lb_vrrp::Moment;
use lb_vrrp::announce::Schedule;
use lb_vrrp::gate::Pass;
use lb_vrrp::machine::{Event, Options, Preempt, Role};
use lb_vrrp::wire::{Interval, OWNER, Version};
use proptest::collection::vec;
use proptest::prelude::*;

mod world;

use world::{Incident, NodeOptions, Overlap, World};

/// How long everything needs to settle: a preemption can begin with a whole master-down time of the lowest priority, and
/// the one that preempts may first have to find out that it may.
const SETTLE: u32 = 10;

fn options(version: Version, centiseconds: u16, preempt: Preempt) -> Options {
    Options {
        version,
        interval: Interval::from_centiseconds(centiseconds).expect("an interval"),
        preempt,
        fencing: true,
        virtual_mac: false,
        announce: Schedule::default(),
    }
}

/// Setups with an equal version and interval, as RFCs want them.
fn setups(
    preempt: impl Strategy<Value = Preempt> + Clone,
    highest: u8,
) -> impl Strategy<Value = Vec<NodeOptions>> {
    let link = prop_oneof![
        Just((Version::V2, 100)),
        Just((Version::V3, 100)),
        Just((Version::V3, 10)),
        Just((Version::V3, 1)),
    ];
    // Few different ones, so that equal ones are frequent.
    let priority = prop_oneof![Just(1), Just(100), Just(150), Just(254), 1..=highest];
    (link, vec((preempt, priority), 2..=5)).prop_map(|((version, interval), nodes)| {
        let setup =
            |(preempt, priority)| NodeOptions { options: options(version, interval, preempt), priority };
        nodes.into_iter().map(setup).collect()
    })
}

/// Incidents, each after so many percent of an interval.
fn script(incident: impl Strategy<Value = Incident>) -> impl Strategy<Value = Vec<(u16, Incident)>> {
    vec((prop_oneof![0..20_u16, 0..1_000_u16], incident), 0..25)
}

/// Daemons that die and stand still, and nothing else.
fn deaths() -> impl Strategy<Value = Incident> {
    prop_oneof![
        3 => (0..5_usize).prop_map(Incident::Kill),
        2 => (0..5_usize).prop_map(Incident::Terminate),
        3 => (0..5_usize).prop_map(Incident::Restart),
        4 => (0..5_usize, 0..1_500_u16).prop_map(|(node, percent)| Incident::Stall(node, percent)),
        2 => (0..5_usize, any::<bool>()).prop_map(|(node, fault)| Incident::Fault(node, fault)),
        1 => (0..5_usize, any::<bool>()).prop_map(|(node, muted)| Incident::Mute(node, muted)),
    ]
}

/// What is done on purpose as well.
fn doings() -> impl Strategy<Value = Incident> {
    let gate = prop_oneof![Just(Pass::Closed), Just(Pass::NoPreempt), Just(Pass::Open)];
    prop_oneof![
        6 => deaths(),
        2 => (0..5_usize, 1..=254_u8).prop_map(|(node, priority)| Incident::Priority(node, priority)),
        1 => (0..5_usize, gate).prop_map(|(node, gate)| Incident::Gate(node, gate)),
        2 => (0..5_usize).prop_map(Incident::HandOver),
        1 => (0..5_usize, any::<bool>()).prop_map(|(node, on)| Incident::Maintenance(node, on)),
    ]
}

/// A network that fails, too.
fn anything() -> impl Strategy<Value = Incident> {
    prop_oneof![
        4 => doings(),
        2 => (0..32_u8).prop_map(Incident::Partition),
        1 => prop_oneof![Just(0), 0..=100_u8].prop_map(Incident::Loss),
    ]
}

fn preempts() -> impl Strategy<Value = Preempt> + Clone {
    let delay = (0..3_000_u64).prop_map(|milliseconds| Preempt::After(Duration::from_millis(milliseconds)));
    prop_oneof![3 => Just(Preempt::Now), 1 => Just(Preempt::Never), 1 => delay]
}

fn play(world: &mut World, interval: Duration, script: &[(u16, Incident)]) {
    for (percent, incident) in script {
        world.run_to(world.now + interval * u32::from(*percent) / 100);
        let node = match incident {
            Incident::Kill(node)
            | Incident::Terminate(node)
            | Incident::Restart(node)
            | Incident::Stall(node, _)
            | Incident::Priority(node, _)
            | Incident::Fault(node, _)
            | Incident::Gate(node, _)
            | Incident::HandOver(node)
            | Incident::Maintenance(node, _)
            | Incident::Mute(node, _) => Some(*node),
            Incident::Partition(_) | Incident::Loss(_) => None,
        };
        if node.is_none_or(|node| node < world.count()) {
            world.happen(*incident);
        }
    }
}

/// Longer than any delay of preemption here.
fn settle(world: &mut World, interval: Duration) {
    world.run_to(world.now + Duration::from_secs(3) + interval * SETTLE);
}

/// Whether its nodes became master too soon after each other to have heard of it.
fn took_over_together(world: &World, overlap: &Overlap) -> bool {
    let last_takeover = |node: &usize| {
        let became = |event: &Event| matches!(event, Event::Role { to: Role::Master, .. });
        let takeovers =
            world.events.iter().filter(|(at, by, event)| by == node && became(event) && *at < overlap.to);
        takeovers.map(|(at, ..)| *at).max()
    };
    let takeovers: Vec<Moment> = overlap.nodes.iter().filter_map(last_takeover).collect();
    let latest = takeovers.iter().max();
    takeovers.iter().filter(|at| latest.is_some_and(|latest| latest.since(**at) <= world.delay())).count() > 1
}

fn longest_overlap(world: &World) -> Duration {
    world.overlaps.iter().map(|overlap| overlap.to.since(overlap.from)).max().unwrap_or_default()
}

/// On each side of the link, one of those that may be master is, and only one kernel answers.
fn assert_one_master_a_side(world: &World) {
    for node in 0..world.count() {
        let side = |other: &usize| world.same_side(node, *other);
        let masters: Vec<usize> = world.masters().into_iter().filter(side).collect();
        let eligible = (0..world.count()).filter(side).any(|other| world.is_eligible(other));
        // A gate that closes takes nothing from a master, so there may be one that could not become one now.
        let left = masters.iter().all(|master| world.may_stay(*master));
        assert!(
            masters.len() == usize::from(eligible || !masters.is_empty()),
            "{masters:?} beside node {node}"
        );
        assert!(left, "{masters:?} beside node {node}");
        let answering: Vec<usize> = world.answering().into_iter().filter(side).collect();
        assert_eq!(answering, masters);
    }
}

fn role_changes(world: &World) -> usize {
    world.events.iter().filter(|(_, _, event)| matches!(event, Event::Role { .. })).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Fencing: whatever dies or stands still at whatever moment, two kernels answer at once for no longer than an advert
    /// and its answer take, as long as nobody takes over from the living. The exception are two that take over in the same moment, of
    /// which one stands still before it hears the other one: then its lease is the bound.
    #[test]
    fn deaths_alone_never_make_two_nodes_answer_for_longer_than_an_advert_and_its_answer_take(
        setups in setups(Just(Preempt::Never), 254), script in script(deaths()), seed: u64,
    ) {
        let interval = setups[0].options.interval.duration();
        let mut world = World::new(&setups, seed, 50);
        play(&mut world, interval, &script);
        world.heal();
        settle(&mut world, interval);
        for overlap in &world.overlaps {
            let length = overlap.to.since(overlap.from);
            let together = took_over_together(&world, overlap);
            prop_assert!(length <= world.delay() * 2 || together && length <= interval * 3, "{overlap:?}");
        }
        assert_one_master_a_side(&world);
    }

    /// Who takes over from a living master may do so in the very moment in which that one stands still: then its lease is
    /// the bound. With owners, and all that an operator may do.
    #[test]
    fn on_a_sound_link_two_nodes_never_answer_for_longer_than_a_lease(
        setups in setups(preempts(), OWNER), script in script(doings()), seed: u64,
    ) {
        let interval = setups[0].options.interval.duration();
        let mut world = World::new(&setups, seed, 50);
        play(&mut world, interval, &script);
        prop_assert!(longest_overlap(&world) <= interval * 3 + world.delay(), "{:?}", world.overlaps);
    }

    /// After anything at all, also with the link in two: one master on each side, and quiet.
    #[test]
    fn whatever_happened_each_side_settles_on_one_master_and_stays_with_it(
        setups in setups(preempts(), 254), script in script(anything()), seed: u64, side in prop_oneof![Just(0), 0..32_u8],
    ) {
        let interval = setups[0].options.interval.duration();
        let mut world = World::new(&setups, seed, 50);
        play(&mut world, interval, &script);
        world.heal();
        world.happen(Incident::Partition(side));
        let healed = world.now;
        settle(&mut world, interval);
        assert_one_master_a_side(&world);
        let (before, masters) = (role_changes(&world), world.masters());
        world.run_to(world.now + interval * 50);
        prop_assert_eq!(role_changes(&world), before, "it flaps: {:?}", world.events);
        prop_assert_eq!(&world.masters(), &masters);
        if side == 0 {
            let late = world.overlaps.iter().filter(|overlap| overlap.to > healed + interval * SETTLE);
            let mut lengths = late.map(|overlap| overlap.to.since(overlap.from));
            prop_assert!(lengths.all(|length| length <= world.delay()), "{:?}", world.overlaps);
        }
    }

    /// With preemption, and nothing that holds a node back, the master is one of the highest priority.
    #[test]
    fn a_sound_link_is_led_by_the_highest_priority(
        setups in setups(Just(Preempt::Now), 254), script in script(deaths()), seed: u64,
    ) {
        let interval = setups[0].options.interval.duration();
        let mut world = World::new(&setups, seed, 50);
        play(&mut world, interval, &script);
        world.heal();
        settle(&mut world, interval);
        let highest = (0..world.count()).filter(|node| world.is_eligible(*node)).map(|node| world.priority(node)).max();
        let masters: Vec<u8> = world.masters().into_iter().map(|node| world.priority(node)).collect();
        prop_assert_eq!(masters, Vec::from_iter(highest));
    }

    /// Nodes of equal priority change nothing about each other's roles when they come and go as backups.
    #[test]
    fn equal_priorities_do_not_flap(
        count in 2..=5_usize, priority in 1..=254_u8, seed: u64, comings in vec((1..5_usize, 0..400_u16), 0..20),
    ) {
        let interval = Duration::from_secs(1);
        let setup = NodeOptions { options: options(Version::V3, 100, Preempt::Now), priority };
        let mut world = World::new(&vec![setup; count], seed, 50);
        settle(&mut world, interval);
        let masters = world.masters();
        prop_assert_eq!(masters.len(), 1);
        for (node, percent) in comings {
            let node = (masters[0] + node) % count;
            if node != masters[0] {
                world.happen(if world.role(node).is_some() { Incident::Kill(node) } else { Incident::Restart(node) });
            }
            world.run_to(world.now + interval * u32::from(percent) / 100);
            prop_assert_eq!(&world.masters(), &masters);
        }
    }

    /// Two masters of a healed partition are one within an advert, at least one of them has noticed, and the one that
    /// stays announces.
    #[test]
    fn two_masters_after_a_partition_are_one_within_an_advert_and_it_is_reported(
        priorities in [1..=254_u8, 1..=254_u8], apart in 900..5_000_u32, seed: u64,
    ) {
        let interval = Duration::from_secs(1);
        let setups = priorities.map(|priority| {
            NodeOptions { options: options(Version::V3, 100, Preempt::Now), priority }
        });
        let mut world = World::new(&setups, seed, 50);
        settle(&mut world, interval);
        world.happen(Incident::Partition(1));
        world.run_to(world.now + interval * apart / 100);
        prop_assert_eq!(world.masters(), [0, 1]);
        let reported = world.events.len();
        let healed = world.now;
        world.happen(Incident::Partition(0));
        world.run_to(healed + interval + world.delay());
        prop_assert_eq!(world.masters().len(), 1);
        prop_assert_eq!(world.answering().len(), 1);
        world.run_to(healed + interval * 10);
        let dual = world.events[reported..].iter().filter_map(|(_, node, event)| match event {
            Event::DualMaster { .. } | Event::DualMasterEnded { .. } => Some(*node),
            _ => None,
        });
        let by: Vec<usize> = dual.collect();
        prop_assert!(by.contains(&world.masters()[0]), "{:?}", &world.events[reported..]);
        prop_assert_eq!(world.role(1 - world.masters()[0]), Some(Role::Backup));
    }

    /// A hand-over leaves no moment in which no kernel answers, where adverts are faster than the shortest skew.
    #[test]
    fn a_hand_over_has_no_gap(
        setups in setups(Just(Preempt::Now), 254), seed: u64, when in 0..300_u32,
    ) {
        let interval = setups[0].options.interval.duration();
        let mut world = World::new(&setups, seed, 1_000);
        settle(&mut world, interval);
        let before = world.masters();
        world.run_to(world.now + interval * when / 100);
        world.happen(Incident::HandOver(before[0]));
        let start = world.now;
        while world.now < start + interval * 20 {
            prop_assert!(!world.answering().is_empty(), "at {:?}", world.now.since(start));
            world.run_to(world.now + interval / 200);
        }
        // An advert that is overtaken by the farewell revokes it: then nobody takes over, and nothing is lost.
        let declined = world.events.iter().any(|(_, _, event)| *event == Event::NobodyTookOver);
        prop_assert_eq!(world.masters() == before, declined);
        prop_assert_eq!(world.masters().len(), 1);
    }
}
