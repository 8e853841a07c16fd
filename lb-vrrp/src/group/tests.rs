use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::announce::Schedule;
use crate::machine::{Event, Heard, Options, Preempt, Why};
use crate::wire::{Interval, LEAVING, OWNER, Version};

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 9, 0, last])
}

fn standing(priority: u8, primary: u8) -> Standing {
    Standing { priority, fault: false, gate: Pass::Open, primary: address(primary) }
}

fn options() -> Options {
    Options {
        version: Version::V3,
        interval: Interval::DEFAULT,
        preempt: Preempt::Now,
        fencing: false,
        virtual_mac: false,
        announce: Schedule { delay: Duration::ZERO, ..Schedule::default() },
    }
}

/// Two members, on links where this node has the given addresses.
fn pair(priority: u8, primaries: [u8; 2]) -> Group {
    Group::new(primaries.map(|primary| Machine::new(options(), standing(priority, primary))).into())
}

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(milliseconds * 1_000_000)
}

fn heard(last: u8, priority: u8) -> Input {
    Input::Heard(Heard { from: address(last), priority, interval: Interval::DEFAULT })
}

fn roles(group: &Group) -> Vec<Role> {
    group.members().iter().map(Machine::role).collect()
}

fn master(priority: u8) -> Group {
    let mut group = pair(priority, [12, 112]);
    group.on_all(Input::Start, at(0));
    group.on_all(Input::Tick, at(4_000));
    assert_eq!(roles(&group), [Role::Master; 2]);
    group
}

#[test]
fn all_become_master_when_one_does() {
    let mut group = pair(100, [12, 112]);
    group.on_all(Input::Start, at(0));
    // Only the second member hears a master, and that one falls silent later.
    group.on_input(1, heard(11, 150), at(3_000));
    let actions = group.on_all(Input::Tick, at(3_610));
    assert_eq!(roles(&group), [Role::Master; 2]);
    let why: Vec<_> = actions
        .iter()
        .filter_map(|(member, action)| match action {
            Action::Report(Event::Role { why, .. }) => Some((*member, *why)),
            _ => None,
        })
        .collect();
    assert_eq!(why, [(0, Why::MasterDown), (1, Why::Group)]);
}

#[test]
fn all_step_down_when_one_does() {
    for loser in [0, 1] {
        let mut group = master(100);
        let actions = group.on_input(loser, heard(11, 150), at(5_000));
        assert_eq!(roles(&group), [Role::Backup; 2]);
        for member in [0, 1] {
            assert!(actions.contains(&(member, Action::Release)), "{member}");
        }
    }
}

#[test]
fn a_fault_of_one_is_everybodys_until_it_is_over() {
    let mut group = master(100);
    let actions =
        group.on_input(1, Input::Standing(Standing { fault: true, ..standing(100, 112) }), at(5_000));
    assert_eq!(roles(&group), [Role::Fault; 2]);
    for member in [0, 1] {
        assert!(actions.contains(&(member, Action::Send { priority: LEAVING })), "{member}");
    }
    group.on_input(0, Input::Standing(standing(120, 12)), at(6_000));
    assert_eq!(roles(&group), [Role::Fault; 2], "the other member's fault is not over");
    group.on_input(1, Input::Standing(standing(100, 112)), at(7_000));
    assert_eq!(roles(&group), [Role::Backup; 2]);
    assert_eq!(group.members()[0].standing().priority, 120);
}

#[test]
fn a_closed_gate_of_one_holds_all_back_and_opens_for_all() {
    let mut group = pair(100, [12, 112]);
    group.on_input(0, Input::Standing(Standing { gate: Pass::Closed, ..standing(100, 12) }), at(0));
    group.on_all(Input::Start, at(0));
    group.on_all(Input::Tick, at(60_000));
    assert_eq!(roles(&group), [Role::Backup; 2]);
    group.on_input(0, Input::Standing(standing(100, 12)), at(61_000));
    assert_eq!(roles(&group), [Role::Master; 2]);
}

#[test]
fn what_is_told_to_one_after_the_other_leaves_no_member_behind() {
    // An owner is master before the second member has started.
    let mut owners = Group::new(vec![
        Machine::new(options(), standing(OWNER, 12)),
        Machine::new(options(), standing(100, 112)),
    ]);
    owners.on_all(Input::Start, at(0));
    assert_eq!(roles(&owners), [Role::Master; 2]);
    // The first member's time has come while the second one was still listening to a master.
    let mut group = pair(100, [12, 112]);
    group.on_all(Input::Start, at(0));
    group.on_all(Input::Maintenance(true), at(0));
    group.on_input(1, heard(11, 150), at(3_000));
    group.on_all(Input::Tick, at(3_700));
    group.on_all(Input::Maintenance(false), at(3_800));
    assert_eq!(roles(&group), [Role::Master; 2]);
}

#[test]
fn a_group_hands_over_as_a_whole_and_none_of_it_takes_back() {
    let mut group = master(100);
    group.on_input(1, Input::HandOver, at(5_000));
    group.on_input(0, heard(11, 50), at(5_700));
    assert_eq!(roles(&group), [Role::Backup; 2]);
    for second in 6..30 {
        for member in [0, 1] {
            group.on_input(member, heard(11, 50), at(second * 1_000));
        }
        group.on_all(Input::Tick, at(second * 1_000 + 500));
        assert_eq!(roles(&group), [Role::Backup; 2], "{second}");
    }
}

#[test]
fn nodes_of_one_priority_that_each_lose_a_member_settle_on_one_node() {
    // On the first link the left node has the higher address, on the second one the right node.
    let mut nodes = [pair(100, [13, 111]), pair(100, [11, 113])];
    let sources = [[13, 111], [11, 113]];
    for node in &mut nodes {
        node.on_all(Input::Start, at(0));
    }
    let mut history = Vec::new();
    for millisecond in 1..60_000 {
        let now = at(millisecond);
        let mut sent = Vec::new();
        for (number, node) in nodes.iter_mut().enumerate() {
            if node.due().is_some_and(|due| due <= now) {
                sent.extend(
                    node.on_all(Input::Tick, now)
                        .into_iter()
                        .map(|(member, action)| (number, member, action)),
                );
            }
        }
        // Adverts arrive at the end of the millisecond; what they cause is sent in the same way.
        while let Some((number, member, action)) = sent.pop() {
            let Action::Send { priority } = action else { continue };
            let done = nodes[1 - number].on_input(member, heard(sources[number][member], priority), now);
            sent.extend(done.into_iter().map(|(member, action)| (1 - number, member, action)));
        }
        for node in &nodes {
            let roles = roles(node);
            assert_eq!(roles[0], roles[1], "at {millisecond} ms");
        }
        let roles = [nodes[0].members()[0].role(), nodes[1].members()[0].role()];
        if history.last() != Some(&roles) {
            history.push(roles);
        }
    }
    let last = history.last().unwrap();
    assert_ne!(last[0], last[1], "{history:?}");
    assert!(history.len() <= 6, "{history:?}");
}
