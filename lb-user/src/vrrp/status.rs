//! What is shown of virtual routers: values for the API, metrics and hooks.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lb_vrrp::gate::{Pass, Readiness};
use lb_vrrp::machine::{Event, Role};
use lb_vrrp::seen::Seen;
use lb_vrrp::track::Evaluation;
use lb_vrrp::wire::Interval;

/// All virtual routers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// By name.
    pub routers: BTreeMap<String, RouterStatus>,
    /// By name; whether this host has the addresses.
    pub external: BTreeMap<String, ExternalStatus>,
    pub readiness: Readiness,
    pub gate: Pass,
    /// Adverts that are no virtual router's here, by reason.
    pub strays: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterStatus {
    pub role: Role,
    pub since: SystemTime,
    /// The sync group.
    pub group: Option<String>,
    pub evaluation: Evaluation,
    pub maintenance: bool,
    pub handing_over: bool,
    /// Where adverts come from.
    pub source: Option<IpAddr>,
    /// What keeps it from taking part, in words: no such interface, no address to send from.
    pub trouble: Option<String>,
    /// The master that is listened to.
    pub master: Option<IpAddr>,
    /// The interval that counts; a backup's is its master's.
    pub interval: Interval,
    /// Until the next step of the machine, at the moment of the status.
    pub due_in: Option<Duration>,
    /// Until the kernel stops answering, at the moment of the status.
    pub lease_left: Option<Duration>,
    /// Oldest first, at most 16.
    pub transitions: Vec<Transition>,
    pub seen: Seen,
    /// When the peers of `seen` were last heard.
    pub heard_ago: BTreeMap<IpAddr, Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub at: SystemTime,
    pub from: Role,
    pub to: Role,
    /// In words.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalStatus {
    pub owned: bool,
    pub since: SystemTime,
    /// Who said so: a command, or the address that is followed.
    pub why: String,
}

/// Something that has happened to a virtual router, for the log and the hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub router: String,
    /// Its sync group.
    pub group: Option<String>,
    /// All members of the group have the role of this event now; said once for a group.
    pub whole_group: bool,
    /// The priority that counts.
    pub priority: u8,
    pub event: Event,
}
