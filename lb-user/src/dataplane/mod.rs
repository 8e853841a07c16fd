//! The kernel's tables and programs. The controller is the only caller of what changes them.

mod access_map;
mod attach;
pub mod bpf;
mod carried;
mod dest_entry;
mod explain;
mod extents;
mod fence;
mod flows;
mod found;
mod interfaces;
pub mod layout;
mod leases;
mod links;
mod list_keeper;
mod memory;
mod object;
mod owned;
mod pins;
mod probe_way;
mod tables;
mod vip_table;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use lb_common::abi::{ACCESS_PREFIXES, Counters, FlowCounters, PolicyCounters};

use crate::net::Links;
use crate::state::{Forwarding, Prefix, Protocol, VipKey};

pub use access_map::key as access_key;
pub(crate) use attach::attach_unpinned;
pub use flows::{
    ChangesWanted, FlowChanges, FlowCounts, FlowRecord, FlowRecords, FlowTable, Remembered, Told, Wins,
};
pub use found::found;
pub use interfaces::interfaces;
pub use layout::ListUse;
pub use leases::{Leases, key as lease_key};
pub use memory::give_large_buffers_back;
pub use object::OBJECT;
pub use probe_way::{ProbeSpec, probe_way};
pub use vip_table::{Bank, MAX_ENTRIES, MAX_VIPS};

/// What the controller needs of a dataplane; the real one is BPF, tests use their own.
pub trait Dataplane: Send {
    /// Makes the kernel forward as `forwarding` says. All or nothing: on an error the kernel forwards as before.
    ///
    /// # Errors
    /// When a table is full or the kernel refuses; the text names the table and the setting that enlarges it.
    fn apply(&mut self, forwarding: &Forwarding) -> Result<Applied, DataplaneError>;

    /// Changes interfaces, mode or map sizes: loads everything anew, fills it, and only then takes over. All or nothing.
    ///
    /// # Errors
    /// As [`Self::apply`], and when an interface is missing or refuses the program.
    fn reopen(&mut self, options: &OpenOptions, forwarding: &Forwarding) -> Result<Applied, DataplaneError>;

    /// Takes in what is new about this host's links: neighbours are answered with the MAC addresses that they have.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn follow_links(&mut self, links: &Links) -> Result<(), DataplaneError>;

    /// Counters since the instance was first started; they never go back.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    fn counters(&mut self) -> Result<Totals, DataplaneError>;

    /// Counts the remembered flows, and forgets those that are over. `now_ns` is on the kernel's monotonic clock.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    fn flows(&mut self, forwarding: &Forwarding, now_ns: u64) -> Result<FlowTable, DataplaneError>;

    /// The remembered flows of some buckets, one by one. `now_ns` is on the kernel's monotonic clock.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    fn flow_records(
        &mut self,
        forwarding: &Forwarding,
        buckets: Range<u32>,
        now_ns: u64,
    ) -> Result<FlowRecords, DataplaneError>;

    /// Remembers flows of another balancer with the same hash seed and as many buckets.
    ///
    /// # Errors
    /// When the kernel refuses to write a map.
    fn remember(
        &mut self,
        forwarding: &Forwarding,
        records: &FlowRecords,
        wins: Wins,
        now_ns: u64,
    ) -> Result<Remembered, DataplaneError>;

    /// The next records of which `told` knows nothing yet. `now_ns` is on the kernel's monotonic clock.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    fn flow_changes(
        &mut self,
        forwarding: &Forwarding,
        told: &mut Told,
        wanted: ChangesWanted<'_>,
        now_ns: u64,
    ) -> Result<FlowChanges, DataplaneError>;

    /// Runs one packet through the attached program, without changing any state.
    ///
    /// # Errors
    /// When the kernel refuses the test run.
    fn explain(&self, flow: &Flow) -> Result<Explanation, DataplaneError>;

    /// Begins to bring the prefix lists into the kernel that a change to `forwarding` will need; they count for nothing before
    /// [`Self::apply`]. The job may take seconds, beside other calls. `None`: they are there.
    ///
    /// # Errors
    /// When there are too many prefixes.
    fn prepare_lists(&mut self, forwarding: &Forwarding) -> Result<Option<LoadJob>, DataplaneError>;

    /// Takes back what was prepared and not applied, also after a job that failed.
    fn abandon_lists(&mut self);

    /// The prefixes of a list, with the packets that each has decided about since it is in the lists that are used there. The
    /// job may take seconds.
    fn prefix_hits(&self, of: ListUse) -> HitsJob;

    /// The interfaces that the program is attached to.
    fn attachments(&self) -> Vec<Attachment>;

    fn ring_memory(&self) -> RingMemory;
}

/// The kernel's memory for rings, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingMemory {
    /// By rings that vips have; those with the same members share theirs.
    pub used: u64,
    /// Taken already. When it does not suffice, tables are made anew with more of it, up to [`Limits::ring_memory`].
    pub allocated: u64,
}

/// The table of rings.
const RINGS: &str = "RINGS";

/// Loads prefix lists; an error when the kernel refuses.
pub type LoadJob = Box<dyn FnOnce() -> Result<(), DataplaneError> + Send>;

/// Reads a prefix list; an error when the kernel refuses.
pub type HitsJob = Box<dyn FnOnce() -> Result<Vec<PrefixHits>, DataplaneError> + Send>;

/// Where and how an instance lives in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// The instance's directory on a bpffs, such as `/sys/fs/bpf/ferrolev/default`.
    pub pin_dir: std::path::PathBuf,
    pub interfaces: Vec<String>,
    pub mode: XdpMode,
    pub limits: Limits,
    /// This host's links.
    pub links: Links,
    /// The program's clock stands still: only for tests.
    pub pinned_clock: bool,
}

/// What an [`Dataplane::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub rings_written: u32,
    pub dests_written: u32,
    pub vips_written: u32,
}

/// All counters, summed over CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By vip and backend address; backends that are gone keep their last count.
    pub dests: BTreeMap<(VipKey, std::net::IpAddr), Counters>,
    /// By vip; vips that are gone keep their last count.
    pub policies: BTreeMap<VipKey, PolicyCounters>,
    /// What became of flows in ring slots that had changed hands, since the program was loaded.
    pub flows: FlowCounters,
    /// By number of the [`lb_common::abi::Reason`].
    pub reasons: BTreeMap<u32, u64>,
}

/// A prefix of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixHits {
    pub prefix: Prefix,
    /// As in [`lb_common::abi::AccessRule`].
    pub verdict: u32,
    pub hits: u64,
}

/// A packet to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub protocol: Protocol,
}

/// What the program did with a [`Flow`]'s packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub outcome: ExplainOutcome,
    pub slot: Option<u32>,
    /// The first bytes of the frame that the program would send, Ethernet header first.
    pub frame: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainOutcome {
    /// Forwarded to the dest with this index in `DESTS`: vip and backend address.
    Forwarded {
        vip: VipKey,
        /// The number of the vip's route, from 1; 0: none.
        route: u8,
        backend: std::net::IpAddr,
    },
    /// Passed, dropped or answered, by number of the [`lb_common::abi::Reason`].
    Stopped(u32),
}

/// One interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub interface: String,
    pub ifindex: u32,
    pub mode: XdpMode,
    pub driver: String,
}

/// How XDP programs are attached.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the network stack, for every driver: slow.
    Generic,
    /// In the driver.
    #[default]
    Native,
    /// On the network card.
    Offload,
}

impl std::fmt::Display for XdpMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Generic => "generic",
            Self::Native => "native",
            Self::Offload => "offloaded",
        })
    }
}

/// Sizes of the maps; fixed while an instance's maps live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Dests (a backend counts once for each of its vips).
    pub dests: u32,
    /// Bytes that rings may take; taken when they are needed.
    pub ring_memory: u64,
    /// Datagrams in fragments that are followed at once.
    pub fragments: u32,
    /// Flows that are remembered at once.
    pub flows: u32,
}

impl Limits {
    /// Dests that vips with so many backends each take: for each the next power of two that holds its backends twice,
    /// at least 4, so that backends are exchanged without a pause; and one spare block of the largest size, into which
    /// a vip grows.
    #[must_use]
    pub fn dests_needed(backends: impl Iterator<Item = usize>) -> u64 {
        let blocks = backends.map(|count| dest_block(count as u64));
        let (sum, largest) = blocks.fold((0, 0), |(sum, largest), block| (sum + block, block.max(largest)));
        sum + largest
    }
}

/// Entries of the block that a vip with so many backends takes: room for them and for as many successors.
const fn dest_block(backends: u64) -> u64 {
    let block = (backends * 2).next_power_of_two();
    if block < 4 { 4 } else { block }
}

impl Default for Limits {
    fn default() -> Self {
        Self { dests: 8192, ring_memory: 1 << 30, fragments: 16_384, flows: 1 << 20 }
    }
}

/// Why a dataplane call failed.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    #[error(
        "{table} is full: {needed} entries needed, {capacity} there; raise {setting} in the configuration and restart"
    )]
    Full { table: &'static str, needed: u64, capacity: u64, setting: &'static str },
    #[error(
        "{needed} vips of one address family, the vip table holds {capacity}; spread them over more instances"
    )]
    TooManyVips { needed: u64, capacity: u64 },
    #[error(
        "{needed} prefixes in access lists and routes, the kernel's table holds {ACCESS_PREFIXES}, and a changed list stands beside its old one for a moment; use fewer or wider prefixes"
    )]
    TooManyPrefixes { needed: u64 },
    #[error("interface {0} does not exist; `ip link` lists those that do")]
    NoInterface(String),
    #[error("interface {interface} (driver {driver}) refuses {mode} XDP: {reason}")]
    Attach { interface: String, driver: String, mode: XdpMode, reason: String },
    #[error("{what}: {source}")]
    Kernel { what: String, source: std::io::Error },
    #[error("{0}")]
    Other(String),
}

impl DataplaneError {
    fn other(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Other(format!("{what}: {error}"))
    }
}
