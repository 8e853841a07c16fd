//! Copies of what the node that packets come to knows of its flows, on nodes that may take over.
//!
//! ```text
//! node that has the vip                                        node that may take over
//!   controller ─ rings with their past, health ─┐  TLS, both  ┌─> controller: vips as they are there
//!   flow cache ─ what has changed ──────────────┴─> frames ───┴─> flow cache, status: how far behind
//! ```
//!
//! Every node listens, and asks every peer; a node tells of the vips whose addresses are its own at that moment, so several
//! nodes may each have some. What is told is bounded by what the other one confirms, and a connection that breaks is taken
//! up where it was. Nothing here decides who has which address.

mod connection;
mod follower;
mod identity;
mod image;
mod message;
mod mine;
mod pin;
mod status;
mod task;
mod teller;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tokio::sync::watch;

pub use identity::{Fingerprint, FingerprintError, Identity, IdentityError};
pub use image::{ImageError, RingImage};
pub use mine::mine;
pub use status::{FollowerStatus, PeerStatus, PeersStatus, TellerStatus};
pub use task::{Peers, Start, prepare};

/// Which nodes hold copies for each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where peers ask this node.
    pub listen: Option<SocketAddr>,
    /// By name.
    pub peers: BTreeMap<String, Peer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    pub fingerprint: Fingerprint,
}

/// The addresses that are this node's at present.
pub type Mine = watch::Receiver<BTreeSet<IpAddr>>;

/// The file of an instance's identity.
#[must_use]
pub fn identity_file(state_dir: &Path, instance: &str) -> std::path::PathBuf {
    state_dir.join(format!("{instance}.peer.pem"))
}
