//! The owner of the state and the only writer of the dataplane.
//!
//! ```text
//! API, signals -> handle -> task -> engine -> store (durable), then dataplane
//!                 resolver -^
//! ```
//!
//! [`Engine`] decides and acts, step by step and without waiting; `task` feeds it commands, next hops and retries, one
//! at a time; [`ControllerHandle`] is what everybody else holds. A change is validated, stored, applied to the dataplane
//! and only then answered; when the dataplane refuses, the stored change is taken back.
#![forbid(unsafe_code)]

mod access_view;
mod advance;
mod backend_state;
mod candidate;
pub(crate) mod clock;
mod config_view;
pub mod daemon;
mod elections;
mod engine;
mod events;
mod explain_view;
mod fitness;
mod flow_commands;
mod flows_view;
mod follow;
mod handle;
mod health;
mod health_view;
mod metrics_view;
pub mod options;
mod peers_view;
mod plan_view;
mod service;
mod setup;
mod silence;
mod sizes;
mod socket;
mod task;
mod tunnel_ways;
mod under_way;
mod view;
mod vrrp_view;

pub use candidate::Candidate;
pub use daemon::run;
pub use elections::OtherNodes;
pub use engine::{Engine, Refused};
pub(crate) use follow::{Changes, Copied};
pub use handle::{Caller, ControllerHandle};
pub use health_view::CheckSample;
pub use metrics_view::{BackendSample, MetricsSnapshot, VipSample};
pub use setup::{LoadConfig, Setup};
pub use socket::{SocketError, SocketLock};
pub use task::spawn;

#[cfg(test)]
pub(crate) mod tests;
