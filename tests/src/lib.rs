//! Helpers of the integration tests.

pub mod host;
pub mod kernel;
pub mod packets;
pub mod world;
