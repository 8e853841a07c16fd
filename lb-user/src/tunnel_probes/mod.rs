//! Checks that take the way of clients' packets: to the vip's address, through the tunnel of one backend.
//!
//! Each such way has a probe address of its own out of a prefix that no other host sees. A check is an ordinary socket that
//! connects to it; what it sends goes by a pair of devices, where programs put the vip in the place of the probe address and
//! the balancer's headers in front, and what comes back is found among the packets that arrive, and translated back.
//!
//! ```text
//! socket -> route of the probe address (with the source that the backend answers to) -> probe device ==veth==
//!    == peer: probe_send (XDP) -> the way's interface -> tunnel -> backend
//! backend -> interfaces: probe_find (tc) -> peer ==veth== probe device: probe_take (XDP) -> socket
//! ```
//!
//! There is neither device nor program while no check wants them. Programs end with this process; the devices of one that was
//! killed are removed by the next one.

mod device;
mod plan;
mod program;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dataplane::ProbeSpec;
use crate::health::{NoWay, Way, Ways};
use crate::state::{Prefix, Tunnel};

pub use device::remove as remove_devices;
pub use plan::Prefixes;
pub use task::{TunnelProbes, spawn};

/// Probe addresses when nobody says otherwise: part of what RFC 2544 has set aside for measurements, and of a prefix for
/// local use (RFC 4193).
pub const DEFAULT_PREFIXES: Prefixes = Prefixes {
    v4: Prefix { address: IpAddr::V4(Ipv4Addr::new(198, 19, 240, 0)), len: 20 },
    v6: Prefix { address: IpAddr::V6(Ipv6Addr::new(0xfd66, 0x6c76, 0x7072, 0, 0, 0, 0, 0)), len: 112 },
};

/// What checks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub prefixes: Prefixes,
    pub tunnel: Tunnel,
    /// Where answers may arrive.
    pub interfaces: BTreeSet<String>,
    /// Addresses that the balancer has for others: no answer for this host comes to them.
    pub vips: BTreeSet<IpAddr>,
    /// The ways, or why there is none.
    pub ways: BTreeMap<Way, Result<ProbeSpec, NoWay>>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            prefixes: DEFAULT_PREFIXES,
            tunnel: Tunnel::default(),
            interfaces: BTreeSet::new(),
            vips: BTreeSet::new(),
            ways: BTreeMap::new(),
        }
    }
}

/// Why checks cannot go through tunnels.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("{what}: {source}")]
    Kernel { what: String, source: std::io::Error },
    #[error(transparent)]
    Dataplane(#[from] crate::dataplane::DataplaneError),
    #[error("{0}")]
    Other(String),
}

impl ProbeError {
    fn kernel(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Kernel { what: what.into(), source }
    }
}

/// All ways with the same reason why they cannot be used.
fn refused(wanted: &Wanted, reason: &str) -> Ways {
    wanted.ways.keys().map(|way| (way.clone(), Err(NoWay::Here(reason.to_owned())))).collect()
}
