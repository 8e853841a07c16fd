//! Benchmarks. Timing never decides a test: these report medians with their spread, and ratios within one run.

pub mod balancer;
mod cases;
pub mod contestants;
mod continuity;
mod control_plane;
mod datapath;
mod failover;
pub mod generator;
mod health;
mod latency;
pub mod peers;
pub mod report;
mod throughput;
mod worlds;
mod wrapper;

use anyhow::Result;

pub use generator::object::object;
use report::{Effort, Sink};

/// What measures a section, and tells the sink.
pub type Measure = fn(Effort, &mut Sink) -> Result<()>;

/// By name, in the order in which a run without names goes through them.
pub const SECTIONS: [(&str, Measure); 8] = [
    ("datapath", datapath::measure),
    ("throughput", throughput::measure),
    ("latency", latency::measure),
    ("continuity", continuity::measure),
    ("health", health::measure),
    ("failover", failover::measure),
    ("control-plane", control_plane::measure),
    ("peers", peers::measure),
];
