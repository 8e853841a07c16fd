//! Virtual routers on this host: sockets, time and the kernel for what [`lb_vrrp`] decides.
//!
//! ```text
//! controller: what is wanted, readiness, vips' backends ─┐
//! this host: links, addresses, scripts, files ───────────┼─> a thread of its own: groups of machines ─> adverts
//! adverts of other nodes, commands ──────────────────────┘      │      │      └─> leases in the kernel, announcements
//!                                                               │      └─> status: API, metrics
//!                                                               └─> events: log, hooks
//! ```
//!
//! Nothing here waits for the controller: a change of the dataplane or a slow API call delays no advert.

mod acts;
mod clock;
mod external;
mod hear;
mod member;
mod node;
mod orders;
mod place;
mod priority;
mod socket;
mod sockets;
mod status;
mod thread;
mod told;
mod tracked;
mod trackers;
mod wanted;

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::sync::{mpsc, oneshot, watch};

use lb_vrrp::gate::Readiness;
use lb_vrrp::machine::Role;

use crate::state::MacAddress;

pub use status::{ExternalStatus, Notice, RouterStatus, Status, Transition};
pub use thread::{Leaving, spawn};
pub use wanted::{Address, External, Router, Subject, Tracker, Wanted};

/// What the controller and the API hold of the thread. It ends when all senders of `wanted` are gone, by leaving: adverts
/// of priority 0, addresses released.
#[derive(Clone, Debug)]
pub struct Vrrp {
    /// Replaced as a whole; `None` until it is known, and nothing is done before that.
    pub wanted: watch::Sender<Option<Wanted>>,
    /// What the daemon knows of itself; replaced when it changes.
    pub host: watch::Sender<Host>,
    pub orders: mpsc::Sender<(Order, oneshot::Sender<Result<(), Refused>>)>,
    pub status: watch::Receiver<Status>,
}

/// The kernel's knowledge of whose the addresses are: until when its program may answer for them.
pub trait Fence: Send {
    /// This node's, until then on the kernel's clock, at this MAC address or the interface's own.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn own(&mut self, address: IpAddr, until_ns: u64, mac: Option<MacAddress>) -> Result<(), FenceError>;

    /// Not this node's, but the kernel may have it still: it must not answer.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn lapse(&mut self, address: IpAddr) -> Result<(), FenceError>;

    /// Another node's.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn leave(&mut self, address: IpAddr) -> Result<(), FenceError>;

    /// Of no election any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn forget(&mut self, address: IpAddr) -> Result<(), FenceError>;

    /// All that are of elections.
    fn addresses(&self) -> BTreeSet<IpAddr>;
}

/// Why the kernel cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FenceError(pub String);

impl Vrrp {
    /// Elects nobody: for whoever has no thread. Orders are refused.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            wanted: watch::channel(None).0,
            host: watch::channel(Host::default()).0,
            orders: mpsc::channel(1).0,
            status: watch::channel(Status::default()).1,
        }
    }
}

/// What the daemon knows of itself, as far as the election is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub readiness: Readiness,
    /// Why this host cannot forward, in words; nothing when it can.
    pub unfit: Vec<String>,
    /// Names of vips that have no backend that serves.
    pub dead_vips: std::collections::BTreeSet<String>,
}

/// What people and other programs ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let another node take over; the name of a router or group, or all.
    HandOver(Option<String>),
    Maintenance(Option<String>, bool),
    /// Another program's election says that the addresses of this name are this host's, or not.
    Own(String, bool),
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no virtual router or group \"{0}\"; `ferrolev vrrp` lists them")]
    Unknown(String),
    #[error("no addresses of the name \"{0}\" are left to another program; see [[vrrp.external]]")]
    NotExternal(String),
    #[error("\"{0}\" is {1}, not master: there is nothing to hand over")]
    NotMaster(String, Role),
    #[error("this host is master of no virtual router: there is nothing to hand over")]
    NoMaster,
    #[error("VRRP has ended")]
    Ended,
    #[error(
        "virtual routers do not answer; look at the daemon's log, and at `ferrolev vrrp` for what became of it"
    )]
    Late,
}

#[cfg(test)]
mod tests;
