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

mod machine;
pub mod probe;
mod standing;
mod task;

use std::net::IpAddr;
use std::time::Duration;

pub use machine::{Actions, Event, JITTER_MAX, Machine, Outcome, Rhythm, Start, State};
pub use standing::{LATENCY_BOUNDS_MS, Last, Standing, Standings, Tally, Transition};
pub use task::{Checker, Wanted, spawn};

/// One check of one address and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The check's name.
    pub check: String,
    pub address: IpAddr,
    /// 0 for a check that needs none.
    pub port: u16,
}

/// How a target is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub probe: probe::Probe,
    pub rhythm: Rhythm,
    /// For a whole probe.
    pub timeout: Duration,
}
