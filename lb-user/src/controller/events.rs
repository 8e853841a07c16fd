//! What hooks are told of health: backends that are up or down, and what is out of the ordinary in vips.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::health::targets;
use crate::config::Config;
use crate::health::{Standings, State, Target, Transition};
use crate::hooks::{Event, Field, Kind};
use crate::state::{Alarm, Desired};

/// Which changes of checks are known already.
#[derive(Debug, Default)]
pub(super) struct News {
    seen: BTreeMap<Target, u64>,
}

impl News {
    /// What has changed since the last look, in the order of time.
    pub(super) fn take(&mut self, standings: &Standings) -> Vec<(Target, Transition)> {
        self.seen.retain(|target, _| standings.contains_key(target));
        let mut news = Vec::new();
        for (target, standing) in standings {
            let seen = self.seen.insert(target.clone(), standing.changes).unwrap_or(0);
            // A count that has gone back is that of a check which has begun anew.
            let since = if standing.changes < seen { standing.changes } else { standing.changes - seen };
            let known = standing.transitions.len();
            let new = standing.transitions.iter().skip(known.saturating_sub(since as usize));
            news.extend(new.map(|transition| (target.clone(), transition.clone())));
        }
        news.sort_by_key(|(_, transition)| transition.at);
        news
    }
}

/// The event of a check's change; nothing when the backends go on to be used, or not to be.
pub(super) fn backend_event(
    config: &Config,
    desired: &Desired,
    of: &Target,
    transition: &Transition,
) -> Option<Event> {
    let Transition { at, from, to, .. } = transition;
    if from.is_up() == to.is_up() {
        return None;
    }
    let (mut vips, mut backends) = (BTreeSet::new(), BTreeSet::new());
    for (key, vip) in &desired.vips {
        for (name, member) in vip.all_members() {
            if targets(config, *key, name, member).any(|(found, _)| found == *of) {
                vips.insert(vip.name.clone());
                backends.insert(name.to_owned());
            }
        }
    }
    let names = Vec::from_iter(backends);
    let Target { check, address, port, .. } = of;
    let place = if *port == 0 { address.to_string() } else { format!("{address} port {port}") };
    let who = format!("backend {} ({place})", names.join(", "));
    let reason = transition.in_words();
    let (kind, text) = match &reason {
        _ if to.is_up() => (Kind::BackendUp, format!("{who} is healthy")),
        Some(reason) => (Kind::BackendDown, format!("{who} is unhealthy: {reason}")),
        None => (Kind::BackendDown, format!("{who} is unhealthy")),
    };
    let event = Event::new(kind, *at, text)
        .with(Field::Vips, Vec::from_iter(vips))
        .with(Field::Backends, names)
        .with(Field::Check, check.as_str())
        .with(Field::Address, *address)
        .with(Field::State, word(*to))
        .with(Field::Before, word(*from))
        .with_some(Field::Reason, reason);
    Some(if *port == 0 { event } else { event.with(Field::Port, u64::from(*port)) })
}

/// The event of something in a vip that is out of the ordinary, or is so no more.
pub(super) fn alarm_event(
    desired: &Desired,
    vip: &str,
    alarm: &Alarm,
    is_over: bool,
    now: SystemTime,
) -> Event {
    let Alarm { kind, route, text } = alarm;
    let place = match route {
        Some(route) => format!("vip {vip}, route {route}"),
        None => format!("vip {vip}"),
    };
    let label = kind.label();
    let event = if is_over {
        Event::new(Kind::AlarmOver, now, format!("{place}: {label} is over"))
    } else {
        Event::new(Kind::Alarm, now, format!("{place}: {text}"))
    };
    let members = desired.vips.values().find(|known| known.name == vip).map(|vip| vip.all_members());
    let backends: Vec<String> = members.iter().flatten().map(|(name, _)| (*name).to_owned()).collect();
    event
        .with(Field::Vips, vec![vip.to_owned()])
        .with(Field::Backends, backends)
        .with_some(Field::Route, route.clone())
        .with(Field::Alarm, label)
        .with(Field::Reason, text.as_str())
}

const fn word(state: State) -> &'static str {
    match state {
        State::Initial(_) => "initial",
        State::Healthy => "healthy",
        State::Unhealthy => "unhealthy",
    }
}

#[cfg(test)]
mod tests;
