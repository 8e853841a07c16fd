//! Helpers of the integration tests and of the demo.

pub mod bench;
pub mod control;
pub mod cut;
pub mod decap;
pub mod fixture;
pub mod fuzz;
pub mod fuzz_targets;
pub mod generate;
pub mod host;
pub mod kernel;
pub mod lab;
pub mod map_contents;
pub mod named_worlds;
pub mod oracle;
pub mod outcome;
pub mod packets;
pub mod probe;
pub mod story;
pub mod test_run;
pub mod tunnel;
pub mod world;
