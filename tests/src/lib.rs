//! Helpers of the integration tests and of the demo.

pub mod bench;
pub mod decap;
pub mod host;
pub mod kernel;
pub mod lab;
pub mod packets;
pub mod tunnel;
pub mod world;
