//! The whole controller over its socket, with a played kernel and played routes.

mod changes;
mod daemon;
mod drain;
pub(crate) mod elections;
pub(crate) mod harness;
mod peers;
mod reload;
mod resolve;
mod socket;
