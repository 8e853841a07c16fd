//! Ferrolev's user side: the daemon, its command line, and the decapsulation agent.
//!
//! ```text
//! config file + runtime changes -> state::Desired -> state::Forwarding -> Dataplane -> maps
//!                                                     ^ next hops from net
//! ```
//!
//! `config` and `state` are pure; `net` watches routes and neighbours; `announce` says on the link
//! which addresses are here; `dataplane` is the module that touches BPF, `tunnel_probes` does for checks;
//! `controller` owns the state and is the only writer of the dataplane; `api` serves it over a unix socket and `cli` is
//! a client of nothing else. `decap` is the agent on a backend and shares none of this but XDP attachment.

pub mod announce;
pub mod api;
pub mod build_info;
pub mod cli;
pub mod config;
pub mod controller;
pub mod dataplane;
pub mod decap;
pub mod health;
pub mod hooks;
pub mod net;
pub mod peers;
mod process_group;
pub mod state;
pub mod tunnel_probes;
pub mod vrrp;
