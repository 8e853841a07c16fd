//! The owner of the state and the only writer of the dataplane.
#![forbid(unsafe_code)]

pub mod options;
