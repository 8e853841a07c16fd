//! Benchmarks. Timing never decides a test: these report medians with their spread, and ratios within one run.

mod cases;
pub mod continuity;
pub mod datapath;
pub mod failover;
pub mod health;
pub mod peers;
pub mod report;
mod worlds;
mod wrapper;
