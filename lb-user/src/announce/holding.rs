//! An address on an interface as the task holds it: what was last seen of its situation, and what has happened. Pure.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use super::claim::{Action, Event, Machine, Presence, State};
use super::plan::{Place, Port};
use super::{PlaceReport, PlaceState};
use crate::state::{Announce, MacAddress};

/// How long another host's claim is shown.
const CLAIM_SHOWN: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Holding {
    machine: Machine,
    situation: Option<Situation>,
    last_announced: Option<SystemTime>,
    announcements: u64,
    conflicts: u64,
    /// Another host that claims the address although it is owned, and when it last did.
    claimed: Option<(MacAddress, Instant)>,
    /// The conflict that was reported last, until the address is owned.
    reported: Option<Option<MacAddress>>,
}

/// All that matters to an address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    /// Or why there is none.
    pub(super) port: Result<Port, String>,
    pub(super) kernel: Presence,
}

impl Holding {
    pub(super) fn new(mode: Announce) -> Self {
        Self {
            machine: Machine::new(mode == Announce::Address),
            situation: None,
            last_announced: None,
            announcements: 0,
            conflicts: 0,
            claimed: None,
            reported: None,
        }
    }

    /// Takes a situation in; gives back what is news about it.
    pub(super) fn update(&mut self, now: Situation) -> Vec<Event> {
        let news = news(self.situation.as_ref(), &now);
        self.situation = Some(now);
        news
    }

    pub(super) fn on_event(&mut self, place: &Place, event: Event, now: Instant) -> Vec<Action> {
        let before = self.machine.state.clone();
        let actions = self.machine.on_event(event, now);
        self.note(place, &before);
        self.claimed = self.claimed.filter(|(_, at)| self.is_owned() && now < *at + CLAIM_SHOWN);
        actions
    }

    /// Books that another host claims the address. Gives back what is to be done about it.
    pub(super) fn on_claim(&mut self, place: &Place, other: MacAddress, now: Instant) -> Vec<Action> {
        if !self.is_owned() {
            return Vec::new();
        }
        let actions = self.on_event(place, Event::Claimed, now);
        self.conflicts += 1;
        self.claimed = Some((other, now));
        let Place { address, interface, .. } = place;
        if actions.contains(&Action::Defend) {
            warn!(%address, interface, other_mac = %other, "another host claims a vip's address; it is announced again, at most once in 10 s");
        } else {
            debug!(%address, interface, other_mac = %other, "another host claims a vip's address");
        }
        actions
    }

    pub(super) fn port(&self) -> Option<Port> {
        self.situation.as_ref()?.port.as_ref().ok().copied()
    }

    pub(super) fn kernel(&self) -> Presence {
        self.situation.as_ref().map(|situation| situation.kernel).unwrap_or_default()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.machine.due()
    }

    pub(super) const fn is_probing(&self) -> bool {
        matches!(self.machine.state, State::Probing { .. })
    }

    pub(super) const fn is_owned(&self) -> bool {
        matches!(self.machine.state, State::Owned { .. })
    }

    /// What other hosts say of the address matters.
    pub(super) const fn listens(&self) -> bool {
        self.is_probing() || self.is_owned()
    }

    pub(super) const fn announced(&mut self, at: SystemTime) {
        self.announcements += 1;
        self.last_announced = Some(at);
    }

    pub(super) fn report(&self, interface: &str) -> PlaceReport {
        let state = match &self.machine.state {
            State::Owned { .. } => PlaceState::Owned,
            State::Probing { .. } | State::Adding { .. } => PlaceState::Probing,
            State::Conflict { mac, .. } => PlaceState::Conflict { mac: *mac },
            State::Waiting(reason) | State::Refused { reason, .. } => {
                PlaceState::Waiting { reason: reason.clone() }
            }
        };
        PlaceReport {
            interface: interface.to_owned(),
            state,
            last_announced: self.last_announced,
            announcements: self.announcements,
            conflicts: self.conflicts,
            claimed_by: self.claimed.map(|(mac, _)| mac),
        }
    }

    /// Books a transition and tells people of it.
    fn note(&mut self, place: &Place, before: &State) {
        let Place { address, interface, .. } = place;
        match &self.machine.state {
            state if state == before => {}
            State::Owned { .. } if !matches!(before, State::Owned { .. }) => {
                self.reported = None;
                info!(%address, interface, "address owned and announced");
            }
            State::Conflict { mac, .. } => {
                self.conflicts += 1;
                let other = mac.map_or_else(|| "not known".to_owned(), |mac| mac.to_string());
                if self.reported == Some(*mac) {
                    debug!(%address, interface, other_mac = other, "another host still has a vip's address");
                } else {
                    self.reported = Some(*mac);
                    error!(
                        %address,
                        interface,
                        other_mac = other,
                        "another host has a vip's address; it is not announced, and asked for again every 30 s"
                    );
                }
            }
            State::Waiting(reason) => warn!(%address, interface, reason, "address cannot be announced"),
            State::Refused { reason, .. } => {
                error!(%address, interface, reason, "the kernel does not take a vip's address; it is tried again");
            }
            State::Owned { .. } | State::Probing { .. } | State::Adding { .. } => {}
        }
    }
}

/// What has to be said to the machine when the situation changes.
fn news(before: Option<&Situation>, now: &Situation) -> Vec<Event> {
    let port_before = before.and_then(|before| before.port.as_ref().ok());
    match (&now.port, port_before) {
        (Err(_), _) if before.is_some_and(|before| before.port == now.port) => Vec::new(),
        (Err(reason), _) => vec![Event::Lost(reason.clone())],
        (Ok(port), Some(known)) if known.ifindex == port.ifindex => {
            let mac = (known.mac != port.mac).then_some(Event::MacChanged);
            let kernel = before.filter(|before| before.kernel != now.kernel);
            mac.into_iter().chain(kernel.map(|_| Event::Kernel(now.kernel))).collect()
        }
        (Ok(_), _) => vec![Event::Ready(now.kernel)],
    }
}

#[cfg(test)]
mod tests;
