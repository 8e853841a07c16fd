//! The HTTP/JSON interface over the unix socket: its types, its server, and the client that the command line uses.
//!
//! ```text
//! server (routes) -> extract (bodies, peers) -> ControllerHandle -> reply, or error as ApiError
//! ```
#![forbid(unsafe_code)]

pub mod client;
mod counter_types;
mod error;
mod extract;
pub mod flow_dump;
mod flow_types;
mod flows;
mod health_types;
mod hook_types;
mod metrics;
mod openapi;
mod peer;
mod peer_types;
mod server;
pub mod types;
mod vrrp;
mod vrrp_types;

pub use metrics::{CONTENT_TYPE as METRICS_CONTENT_TYPE, render as render_metrics};
pub use openapi::document as openapi_document;
pub use server::{serve_metrics, serve_socket};

#[cfg(test)]
mod tests;
