//! Benchmarks. Timing never decides a test: these report medians with their spread, and ratios within one run.

mod cases;
mod continuity;
mod control_plane;
mod datapath;
mod failover;
mod health;
pub mod peers;
pub mod report;
mod worlds;
mod wrapper;

use std::path::PathBuf;

use anyhow::{Context, Result};

use report::{Effort, Sink};

/// What measures a section, and tells the sink.
pub type Measure = fn(Effort, &mut Sink) -> Result<()>;

/// By name, in the order in which a run without names goes through them.
pub const SECTIONS: [(&str, Measure); 6] = [
    ("datapath", datapath::measure),
    ("continuity", continuity::measure),
    ("health", health::measure),
    ("failover", failover::measure),
    ("control-plane", control_plane::measure),
    ("peers", peers::measure),
];

/// The object file of the program that makes packets.
///
/// # Errors
/// When nobody says where it is.
pub fn object() -> Result<PathBuf> {
    let object = std::env::var_os("FERROLEV_BENCH_OBJECT").context("run this through `cargo xtask bench`")?;
    Ok(PathBuf::from(object))
}
