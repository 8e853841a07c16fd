//! What is configured of virtual routers, and what is said of them. Values only.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lb_vrrp::announce::Schedule;
use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::{Authentication, Interval, Ipv4Sum, Version};

use crate::state::Announce;

/// All virtual routers of this host. Replaced as a whole; what did not change goes on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By name.
    pub routers: BTreeMap<String, Router>,
    /// Names of sync groups with the names of their routers, in the order of the configuration. A router is in one group
    /// at most.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What is observed, by name.
    pub trackers: BTreeMap<String, Tracker>,
    /// Addresses whose owner another program decides (keepalived), by name.
    pub external: BTreeMap<String, External>,
    /// How long a start waits for health checks and flows ([`lb_vrrp::gate`]).
    pub gate_limit: Duration,
}

impl Wanted {
    /// [`Self::gate_limit`] when nobody says otherwise.
    pub const GATE_LIMIT: Duration = Duration::from_secs(30);

    /// Addresses that are answered for while an election says so: all but those that somebody else announces.
    #[must_use]
    pub fn leased(&self) -> BTreeSet<IpAddr> {
        let of_routers =
            self.routers.values().flat_map(|router| router.addresses.iter().chain(&router.more_addresses));
        let external = self.external.values().flat_map(|external| &external.addresses);
        let ours = of_routers.chain(external).filter(|address| address.announce != Announce::None);
        ours.map(|address| address.address).collect()
    }

    /// Every address whose owner is elected, here or by another program.
    #[must_use]
    pub fn elected(&self) -> BTreeSet<IpAddr> {
        let routers = self.routers.values();
        let of_routers = routers.flat_map(|router| router.addresses.iter().chain(&router.more_addresses));
        let external = self.external.values().flat_map(|external| &external.addresses);
        of_routers.chain(external).map(|address| address.address).collect()
    }
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            routers: BTreeMap::new(),
            groups: BTreeMap::new(),
            trackers: BTreeMap::new(),
            external: BTreeMap::new(),
            gate_limit: Self::GATE_LIMIT,
        }
    }
}

/// A virtual router on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    pub interface: String,
    /// 1 to 255.
    pub vrid: u8,
    pub version: Version,
    /// 1 to 255, before tracking.
    pub priority: u8,
    pub interval: Interval,
    /// In the adverts, in this order; all of one family.
    pub addresses: Vec<Address>,
    /// Owned with the others, but not in the adverts (keepalived's `virtual_ipaddress_excluded`); of any family.
    pub more_addresses: Vec<Address>,
    pub preempt: Preempt,
    pub authentication: Authentication,
    /// Unicast to these, and from nobody else; to the group when there are none.
    pub peers: Vec<IpAddr>,
    /// Where adverts come from; the interface's first address (IPv6: link-local) when not given.
    pub source: Option<IpAddr>,
    pub check_hop_limit: bool,
    /// What is sent over IPv4 with version 3.
    pub sum: Ipv4Sum,
    /// Addresses are at the virtual MAC address, on an interface of their own.
    pub virtual_mac: bool,
    /// The kernel's answers end by themselves when this daemon stands still ([`lb_vrrp::lease`]).
    pub fencing: bool,
    /// Packets for addresses that are no vip's are taken (RFC 9568 6.1, `Accept_Mode`).
    pub accept: bool,
    pub announce: Schedule,
    /// What changes the priority, with its weight (-253 to 253; zero: a fault while it is down).
    pub track: Vec<(Subject, i16)>,
}

impl Router {
    /// Addresses for which this host takes no packets, although the kernel has them.
    pub fn closed(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.addresses.iter().chain(&self.more_addresses);
        addresses.filter(|address| !self.accept && !address.is_vip).map(|address| address.address)
    }
}

/// An address of a virtual router, and how neighbours learn of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub address: IpAddr,
    /// With [`Announce::Address`]: the length of its prefix when it is given to the kernel.
    pub prefix_len: u8,
    /// As the vip of this address has it; [`Announce::Address`] where there is no vip.
    pub announce: Announce,
    /// Vips say what happens to packets for it.
    pub is_vip: bool,
    /// The interface when it is not the router's.
    pub on: Option<String>,
}

/// What a router's priority may depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Up, with a carrier. The router's own is always tracked, with weight zero.
    Interface(String),
    /// A script or a file of [`Wanted::trackers`].
    Tracker(String),
    /// The backends of the vip with this name: down while none serves.
    Vip(String),
    /// Program attached, tables loaded, next hops known. Always tracked; with weight zero unless this says otherwise.
    Fitness,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracker {
    Script {
        /// Program and arguments; no shell.
        command: Vec<String>,
        interval: Duration,
        timeout: Duration,
        rise: u32,
        fall: u32,
    },
    /// Holds a number; read when it changes, and at least once a second.
    File { path: PathBuf },
}

/// Addresses that `ferrolev vrrp own|release` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    pub addresses: Vec<Address>,
    /// Owned while this host has this address, whatever was said: keepalived may be killed and say nothing.
    pub follows: Option<IpAddr>,
    /// So long after this daemon's last sign of life the kernel ends its answers; zero: never.
    pub lease: Duration,
}

impl External {
    /// [`Self::lease`] when nobody says otherwise.
    pub const LEASE: Duration = Duration::from_secs(3);
}
