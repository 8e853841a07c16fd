//! Netlink: routes, neighbours and links, and what they say about the way to a backend.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::sync::watch;

use crate::state::NextHops;

/// Handle of the task that keeps next hops up to date.
#[derive(Debug)]
pub struct Resolver {
    /// The backends to look up; replaced as a whole.
    pub wanted: watch::Sender<BTreeSet<IpAddr>>,
    /// What is known of them; changes whenever routes, neighbours or links do.
    pub hops: watch::Receiver<NextHops>,
}
