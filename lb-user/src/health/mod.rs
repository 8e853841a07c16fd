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

pub use machine::{Actions, Event, JITTER_MAX, Machine, Outcome, Rhythm, Start, State};
