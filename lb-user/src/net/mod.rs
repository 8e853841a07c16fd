//! Netlink: routes, neighbours and links, and what they say about the way to a backend.
//!
//! ```text
//! wanted addresses -> resolver (task) <-> netlink (sockets) -> decode (messages -> facts)
//!                        |                                        v
//!                        +-> hops <------- lookup (pure) <---- snapshot (facts)
//!                              ^ path_mtu (pure) <- path_reports: what routers say was too large
//!                         watch (task): links and addresses of this host for everybody else <- netlink
//! ```
//!
//! The kernel stays the only authority: every answer is what it would do itself with a packet for the backend.
//! Nothing here changes a route, an address or a link; the only thing asked of the kernel is to resolve a neighbour.

mod decode;
mod facts;
mod icmp_socket;
pub mod link;
mod lookup;
mod netlink;
mod path_mtu;
mod path_reports;
mod resolver;
mod snapshot;
mod watch;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::state::NextHops;

pub(crate) use netlink::io_error;

pub use facts::{AddressFact, AddressState, HostFacts, LinkFact, Links};
pub use resolver::spawn;
pub use watch::{watch_addresses, watch_facts};

/// Handle of the task that keeps next hops up to date. The task ends when `wanted` is dropped.
#[derive(Debug)]
pub struct Resolver {
    /// The backends to look up; replaced as a whole.
    pub wanted: tokio::sync::watch::Sender<BTreeSet<IpAddr>>,
    /// What is known of them; changes whenever routes, neighbours or links do.
    pub hops: tokio::sync::watch::Receiver<NextHops>,
}

/// Why the resolver could not start, or lost the kernel's ear.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("the resolver runs on tokio; call it from inside a runtime")]
    NoRuntime,
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] std::io::Error),
    #[error("netlink: cannot list {what}: {reason}")]
    List { what: &'static str, reason: String },
    #[error("netlink: the connection was closed")]
    Closed,
}
