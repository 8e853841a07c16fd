//! Whether backends do what clients need of them.
//!
//! ```text
//! wanted (watch) -> task: for each target sleep -> probe -> machine -> reports (watch) -> controller
//! ```
//!
//! A target is one check of one address and port; however many vips share it, it runs once. `machine` decides, purely; `probe`
//! asks the backends; `task` brings the two together. Nothing here knows vips, rings or the kernel's tables: what follows from
//! a report is up to the controller.
#![forbid(unsafe_code)]

mod diagnosis;
mod lanes;
mod lateness;
mod look_around;
mod machine;
pub mod probe;
mod standing;
mod task;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

pub use diagnosis::{Around, Diagnosis, diagnose};
pub use lateness::{LATENESS_BOUNDS_MS, LateTally, Lateness};
pub use machine::{Actions, Event, JITTER_MAX, Machine, Outcome, Rhythm, Start, State};
pub use standing::{LATENCY_BOUNDS_MS, Last, Standing, Standings, Tally, Transition};
pub use task::{Checker, Known, Wanted, spawn};

/// One check of one address and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The check's name.
    pub check: String,
    pub address: IpAddr,
    /// 0 for a check that needs none.
    pub port: u16,
    /// The vip's address is asked, not the backend's own, by this way.
    pub way: Option<Way>,
}

/// What a check speaks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// The backend's own address.
    #[default]
    Direct,
    /// The vip's address, as clients' packets come to it.
    Tunnel,
}

/// How packets for an address come to a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// What packets are for, once they are there.
    pub to: IpAddr,
    pub backend: IpAddr,
    /// `ipip`, `gue` or `l2`.
    pub mode: &'static str,
}

/// The addresses that stand for ways on this host.
pub type Ways = BTreeMap<Way, Result<IpAddr, NoWay>>;

/// Why there is no address for a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWay {
    /// The backend cannot be reached at all.
    Backend(String),
    /// This host cannot.
    Here(String),
}

/// How a target is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub probe: probe::Probe,
    pub origin: probe::Origin,
    pub rhythm: Rhythm,
    /// For a whole probe.
    pub timeout: Duration,
    /// An agent beside another check: what it says counts at once, and that it says nothing says nothing.
    pub beside: bool,
}

impl Spec {
    /// What a result says of the backend.
    #[must_use]
    pub(crate) const fn outcome(&self, report: &probe::Report) -> Outcome {
        match report.outcome() {
            Outcome::Passed if self.beside => Outcome::SaidUp,
            Outcome::Failed if self.beside => Outcome::Inconclusive,
            outcome => outcome,
        }
    }
}
