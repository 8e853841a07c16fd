//! Announcing vip addresses on the link: which, where, and only when nobody else has them.
//!
//! ```text
//! wanted addresses ─┐            (pure)                    (pure)
//! links, addresses ─┼─> task ──> plan: address -> interfaces, claim: one state machine for each of these
//! who owns what    ─┘    │ ^
//!                        │ └──── socket: what other hosts say    wire: frames (pure)
//!                        └─────> socket: frames · kernel: addresses by netlink · groups: multicast · reports
//! ```
//!
//! With `announce = "arp"` the program answers for the address and this module only says where it is; with `"address"`
//! the kernel is given the address. Nothing of it is taken back when the daemon ends: the program and the kernel go on
//! answering until a daemon finds that the address is not wanted any more, or [`Announcer::withdraw`] is called.
//! Nothing here decides which node of several owns an address. Addresses that an election decides about have no part in the
//! schedule above: [`elected`] does what the election says, with the same sockets and frames.

mod claim;
mod ears;
pub mod elected;
mod groups;
mod holding;
mod kernel;
mod plan;
mod socket;
mod task;
mod virtual_link;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::state::{Announce, DesiredAddress, MacAddress};

pub(crate) use plan::Port;
pub(crate) use socket::FrameSender;

pub use kernel::{PROTOCOL, remove_leftovers};
pub use task::spawn;

/// How long [`Announcer::withdraw`] waits.
const WITHDRAW_TIME: Duration = Duration::from_secs(10);

/// Handle of the task that announces. The task ends when all senders of `wanted` are gone, and leaves everything as it is.
#[derive(Clone, Debug)]
pub struct Announcer {
    /// What to announce; replaced as a whole. `None` until it is known: nothing is done before that.
    pub wanted: watch::Sender<Option<Wanted>>,
    /// What has become of it; as many as there are wanted addresses.
    pub reports: watch::Receiver<Vec<AddressReport>>,
}

/// What is to be announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub addresses: BTreeMap<IpAddr, DesiredAddress>,
    /// Interfaces that the program is attached to.
    pub attached: Vec<String>,
    /// Addresses that elections decide about: they are left to [`elected`].
    pub elected: BTreeSet<IpAddr>,
}

/// What has become of a wanted address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressReport {
    pub address: IpAddr,
    pub mode: Announce,
    /// Interfaces in the order of their names; none when somebody else announces the address.
    pub places: Vec<PlaceReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceReport {
    pub interface: String,
    pub state: PlaceState,
    pub last_announced: Option<SystemTime>,
    /// Times that the address was announced since it is wanted here.
    pub announcements: u64,
    /// Times that another host was found to have the address, or to claim it, since it is wanted here.
    pub conflicts: u64,
    /// While it is owned: another host that has claimed it in the last minutes.
    pub claimed_by: Option<MacAddress>,
}

/// What has become of an address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceState {
    /// Announced, and refreshed from time to time.
    Owned,
    /// Other hosts are asked first, or the kernel asks them.
    Probing,
    /// Another host has it. Its MAC address is known unless the kernel found out by itself.
    Conflict { mac: Option<MacAddress> },
    /// Not possible at present.
    Waiting { reason: String },
}

/// Why announcing could not start.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    #[error("cannot open a netlink socket for addresses: {0}")]
    Netlink(#[source] io::Error),
    #[error("netlink: cannot list addresses: {0}")]
    List(#[source] io::Error),
    #[error("netlink: cannot remove an address: {0}")]
    Remove(#[source] io::Error),
}

impl Announcer {
    /// Takes everything back, for a daemon that is told to detach.
    pub async fn withdraw(mut self) {
        self.wanted.send_replace(Some(Wanted::default()));
        let empty = self.reports.wait_for(Vec::is_empty);
        if !matches!(timeout(WITHDRAW_TIME, empty).await, Ok(Ok(_))) {
            tracing::warn!(
                "some addresses may not have been withdrawn; `ip -d address` shows those of the kernel"
            );
        }
    }
}
