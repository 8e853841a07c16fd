//! The state of a backend in a vip, from what is asked for and what is known.

use super::clock;
use super::health::Verdict;
use crate::api::types::BackendState;
use crate::health::State;
use crate::state::{DesiredMember, ForwardDest, Out, Spared, Unresolved};

/// The state, and why when that is not plain.
pub(super) fn backend_state(
    member: &DesiredMember,
    dest: &ForwardDest,
    may_have_flows: bool,
    health: Option<&Verdict>,
) -> (BackendState, Option<String>) {
    let unresolved = dest.next_hop.as_ref().err();
    let reason = unresolved.map(ToString::to_string);
    match (member.drained, member.asked_weight(), unresolved) {
        (true, _, _) if may_have_flows => (BackendState::Draining, reason),
        (true, _, _) => (BackendState::Drained, reason),
        (false, 0, _) => (BackendState::Unused, Some(reason.unwrap_or("its weight is 0".to_owned()))),
        (false, _, Some(Unresolved::Pending)) => (BackendState::Initial, reason),
        (false, _, Some(_)) => (BackendState::Unresolved, reason),
        (false, _, None) => of_health(member, health),
    }
}

/// The state of a backend that could serve.
fn of_health(member: &DesiredMember, health: Option<&Verdict>) -> (BackendState, Option<String>) {
    let failure = || health.and_then(|verdict| verdict.reason.as_deref()).unwrap_or("its check fails");
    let state = health.map(|verdict| verdict.state);
    let standby = |why: &str| (BackendState::Standby, Some(why.to_owned()));
    match member.out {
        Some(Out::Unhealthy) => (BackendState::Unhealthy, Some(failure().to_owned())),
        Some(Out::UnhealthyInGroup) => {
            (BackendState::Unhealthy, Some("it is unhealthy for another vip of the group".to_owned()))
        }
        Some(Out::Flapping { until }) => {
            let until = clock::text(until);
            (
                BackendState::Unhealthy,
                Some(format!("its state changes too often; it stays out until {until}")),
            )
        }
        Some(Out::Idle) => standby("a backup: it serves when too few others are healthy"),
        Some(Out::BelowQuorum) => standby("backups serve, since too few are healthy"),
        Some(Out::Inactive) => standby("it does not answer as the active one, or another one serves"),
        Some(Out::Frozen) => standby("the ring is frozen, and it was not in it"),
        None if member.spared == Some(Spared::Active) && health.is_some_and(|verdict| verdict.passes) => {
            (BackendState::Healthy, None)
        }
        None if state == Some(State::Unhealthy) => {
            let used = match member.spared {
                Some(Spared::TooFewHealthy) => "it is used, since too few backends are healthy",
                Some(Spared::Frozen) => {
                    "it is used, since many backends failed at once and the ring is frozen"
                }
                Some(Spared::Active) => "it is used, since it was the last active one",
                Some(Spared::NoneHealthy | Spared::Flapping) | None => {
                    "it is used, since no backend is healthy"
                }
            };
            (BackendState::Unhealthy, Some(format!("{}; {used}", failure())))
        }
        None if matches!(state, Some(State::Initial(_))) => {
            (BackendState::Initial, Some("its check has no result yet".to_owned()))
        }
        None => (BackendState::Healthy, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{MacAddress, Mode, NextHop};

    fn state_of(
        drained: bool,
        weight: u32,
        hop: Result<(), Unresolved>,
        may_have_flows: bool,
    ) -> BackendState {
        let address = "10.0.0.1".parse().unwrap();
        let member = DesiredMember { drained, ..DesiredMember::new(address, weight) };
        let next_hop = hop.map(|()| NextHop {
            ifindex: 1,
            interface: "eth0".to_owned(),
            source_mac: MacAddress([2; 6]),
            destination_mac: MacAddress([4; 6]),
            gateway: None,
            vlan: None,
            preferred_source: None,
            mtu: 1500,
        });
        let dest = ForwardDest { address, weight, mode: Mode::Ipip, server_id: None, next_hop };
        let (state, reason) = backend_state(&member, &dest, may_have_flows, None);
        let is_plain =
            matches!(state, BackendState::Healthy | BackendState::Draining | BackendState::Drained);
        assert_eq!(reason.is_none(), is_plain && dest.next_hop.is_ok(), "{state:?}: {reason:?}");
        state
    }

    #[test]
    fn every_combination_has_its_state() {
        use BackendState::{Drained, Draining, Healthy, Initial, Unresolved as NotResolved, Unused};
        let no_route = || Err(Unresolved::NoRoute("10.0.0.1".parse().unwrap()));
        for may_have_flows in [true, false] {
            let drain = if may_have_flows { Draining } else { Drained };
            for weight in [0, 100] {
                for hop in [Ok(()), no_route(), Err(Unresolved::Pending)] {
                    assert_eq!(state_of(true, weight, hop, may_have_flows), drain);
                }
            }
            assert_eq!(state_of(false, 0, Ok(()), may_have_flows), Unused);
            assert_eq!(state_of(false, 0, no_route(), may_have_flows), Unused);
            assert_eq!(state_of(false, 100, Ok(()), may_have_flows), Healthy);
            assert_eq!(state_of(false, 100, no_route(), may_have_flows), NotResolved);
            assert_eq!(state_of(false, 100, Err(Unresolved::Pending), may_have_flows), Initial);
        }
    }
}
