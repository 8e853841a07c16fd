//! What goes over the wire, version 1. Everything is JSON; times are RFC 3339 in UTC, addresses are texts.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::counter_types::{BackendStats, CounterValues, PolicyValues, ReasonStats, Stats, VipStats};
pub use super::flow_types::{FlowCount, FlowDumpHead, FlowEntry, FlowEntryState, FlowImport, FlowOptions};
pub use super::health_types::{
    AlarmKind, CheckResult, Diagnosis, HealthOptions, HealthState, HealthStatus, HealthTransition, VipAlarm,
};
pub use super::hook_types::HookStatus;
pub use super::peer_types::{PeerCopy, PeerReport, PeerTold, PeersReport};
pub use super::vrrp_types::{
    Fitness, VrrpAddress, VrrpCounters, VrrpDone, VrrpExternal, VrrpGate, VrrpOptions, VrrpOrder, VrrpPart,
    VrrpPeer, VrrpRole, VrrpRouter, VrrpStatus, VrrpSubject, VrrpTransition,
};
use crate::dataplane::XdpMode;
use crate::state::{Affinity, Announce, Fragments, Mode, Protocol};
pub use crate::state::{Change, ChangeMark, JournalEntry};

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    /// Git revision of the build.
    pub revision: String,
    pub abi_version: u32,
    /// SHA-256 of the embedded eBPF object, hexadecimal.
    pub object_hash: String,
    pub instance: String,
    pub pid: u32,
    pub started_at: String,
    pub config_path: String,
    /// When the configuration that runs was read.
    pub config_loaded_at: String,
    /// Why the last reload was refused, when it was.
    pub config_error: Option<String>,
    /// Why the kernel does not yet forward as this status says, when it does not; the daemon keeps trying.
    pub dataplane_error: Option<String>,
    /// Packets that will not fit their way, and settings in the way of what is configured; each with a way out.
    #[serde(default)]
    pub warnings: Vec<String>,
    pub interfaces: Vec<InterfaceStatus>,
    pub vips: Vec<VipStatus>,
    pub addresses: Vec<AddressStatus>,
    /// Runtime changes that are kept but have no effect with the running file.
    pub dormant_changes: Vec<DormantChange>,
    #[serde(default)]
    pub hooks: Vec<HookStatus>,
}

/// A runtime change whose vip or backend has left the file, or which the file contradicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DormantChange {
    /// `ADDRESS:PORT/PROTOCOL`, since the vip may have no name any more.
    pub vip: String,
    pub backend: String,
    /// What was changed, such as `drained` or `added 10.0.0.9 with weight 100`.
    pub what: String,
    /// Why it has no effect, and the way out.
    pub reason: String,
    pub changed: ChangeMark,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceStatus {
    pub name: String,
    pub ifindex: u32,
    pub mode: XdpMode,
    pub driver: String,
}

/// A vip; `GET /v1/vips`, `GET /v1/vips/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VipStatus {
    pub name: String,
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// 0: all ports.
    pub port: u16,
    pub protocol: Protocol,
    pub mode: Mode,
    pub ring_size: u32,
    /// Slots that have changed hands, while flows from before go on with their backends.
    #[serde(default)]
    pub slots_in_transition: u32,
    pub affinity: Affinity,
    pub fragments: Fragments,
    /// Vips of one group have the same backends.
    pub group: Option<String>,
    /// Who answers for the address.
    pub announce: Announce,
    /// How long the last ring took to build, in microseconds.
    pub ring_build_us: u64,
    pub counters: CounterValues,
    pub policy: PolicyValues,
    /// What is out of the ordinary with its backends' health.
    #[serde(default)]
    pub alarms: Vec<VipAlarm>,
    pub backends: Vec<DestStatus>,
    /// Backends for clients of some prefixes, in the file's order.
    pub routes: Vec<RouteStatus>,
}

/// A route of a vip, with a ring of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteStatus {
    pub name: String,
    /// How many prefixes of clients it has; `GET /v1/access` lists them.
    pub sources: u64,
    pub backends: Vec<DestStatus>,
}

/// A backend as one vip, or a route of it, uses it; `GET /v1/backends`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DestStatus {
    pub vip: String,
    /// The vip's route, for one that is reached through it.
    pub route: Option<String>,
    pub name: String,
    #[schema(value_type = String)]
    pub address: IpAddr,
    pub weight: u32,
    pub state: BackendState,
    /// Why the state is what it is, when that is not plain.
    pub reason: Option<String>,
    pub slots: u32,
    /// Part of the ring, 0 to 1.
    pub share: f64,
    pub next_hop: Option<NextHopStatus>,
    /// Of the backend in the whole vip, its routes included.
    pub counters: CounterValues,
    /// Remembered flows that go on. Only flows in slots that have changed hands are remembered, unless the vip tracks all.
    #[serde(default)]
    pub flows: u64,
    /// Until when a drained backend's flows are meant to have ended.
    #[serde(default)]
    pub drain_deadline: Option<String>,
    /// Whether flows that are left then are given up.
    #[serde(default)]
    pub drain_force: bool,
    /// The part of its share that it gets while it starts slowly, below 100.
    #[serde(default)]
    pub slow_start_percent: Option<u32>,
    /// Why it is suspected of answering nobody, by what its clients send; it is no verdict.
    #[serde(default)]
    pub suspicion: Option<String>,
    /// How often it came to be suspected since the daemon has started.
    #[serde(default)]
    pub suspicions: u64,
    /// The runtime change that made it what it is; absent when the file alone did.
    pub changed: Option<ChangeMark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// Not known yet: its next hop is being looked up, or its check has no result.
    Initial,
    /// In the ring.
    Healthy,
    /// Taken out of the ring because it fails its check.
    Unhealthy,
    /// Healthy, and another serves in its place.
    Standby,
    /// Drained: gets no new flows, and may still have some.
    Draining,
    /// Drained, and no flow is left.
    Drained,
    /// Weight 0: gets no new flows.
    Unused,
    /// Taken out of the ring for want of a next hop.
    Unresolved,
}

/// A vip's address, and who answers for it; `GET /v1/addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddressStatus {
    #[schema(value_type = String)]
    pub address: IpAddr,
    pub announce: Announce,
    /// Where it is announced; none with `announce = "none"`.
    pub interfaces: Vec<AddressPlace>,
}

/// A vip's address on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddressPlace {
    pub interface: String,
    pub state: AddressPlaceState,
    /// Why it is waiting.
    pub reason: Option<String>,
    /// With a conflict: the MAC address of the other host, unless the kernel found the conflict by itself. When it is owned:
    /// that of another host that has claimed it in the last minutes.
    pub other_mac: Option<String>,
    pub last_announced: Option<String>,
    /// Times announced since the address is wanted here, or the daemon has started.
    pub announcements: u64,
    /// Times that another host had the address, or claimed it, since then.
    pub conflicts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressPlaceState {
    /// Announced, and again every minute.
    Owned,
    /// Other hosts are being asked whether they have it.
    Probing,
    /// Another host has it; asked for again every 30 seconds.
    Conflict,
    /// Not possible at present.
    Waiting,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextHopStatus {
    pub interface: String,
    pub mac: String,
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    pub vlan: Option<u16>,
}

/// Query of `GET /v1/access`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccessOptions {
    /// Only the lists of this vip, by name or `ADDRESS:PORT/PROTOCOL`; else those of all vips.
    pub vip: Option<String>,
    /// At most so many prefixes; else all.
    pub top: Option<usize>,
}

/// A prefix of an access list or route; `GET /v1/access`, most hits first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessPrefix {
    /// Absent: the list of all vips.
    pub vip: Option<String>,
    pub prefix: String,
    /// `allow` or `deny`, or `route` and the route's name.
    pub verdict: String,
    /// Packets that it decided about since its list was loaded. Vips with equal lists share one.
    pub hits: u64,
}

/// Query of `POST /v1/changes` and `POST /v1/reload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeOptions {
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a change did, or with `dry_run` would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangeResult {
    pub dry_run: bool,
    pub vips: Vec<VipChange>,
    /// What the caller should know besides, such as that a vip has no backend left.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VipChange {
    pub vip: String,
    pub kind: VipChangeKind,
    pub ring_size: u32,
    /// Slots whose new flows get another backend.
    pub slots_moved: u32,
    /// Of these, slots that go into transition: flows that have begun stay with their backend.
    #[serde(default)]
    pub transitions: u32,
    /// Remembered flows that stay with their backend although it has fewer slots.
    #[serde(default)]
    pub flows_kept: u64,
    /// Remembered flows that go to another backend, which resets TCP connections.
    #[serde(default)]
    pub flows_lost: u64,
    /// Backends that begin to serve, and get their share in steps.
    #[serde(default)]
    pub slow_starts: Vec<SlowStartPlan>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SlowStartPlan {
    pub backend: String,
    pub takes_seconds: f64,
    /// Changes of the ring that follow.
    pub steps: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VipChangeKind {
    Added,
    Removed,
    #[default]
    Changed,
}

/// `GET /v1/config`: the running configuration, value by value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigShow {
    /// The running configuration as a file would say it.
    pub toml: String,
    pub values: Vec<ConfigValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigValue {
    /// Such as `vip.web.ring_size` or `vip.web.backends.web-1.weight`.
    pub path: String,
    pub value: String,
    /// `default`, `file`, or `runtime: USER, TIME`.
    pub origin: String,
}

/// The body of `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    #[schema(value_type = String)]
    pub source: SocketAddr,
    #[schema(value_type = String)]
    pub destination: SocketAddr,
    pub protocol: Protocol,
}

/// Where a flow goes, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainReply {
    /// `forward`, `pass`, `drop` or `answer`.
    pub verdict: String,
    /// One line for people.
    pub why: String,
    pub vip: Option<String>,
    /// The vip's route that takes the source.
    pub route: Option<String>,
    pub slot: Option<u32>,
    pub backend: Option<String>,
    #[schema(value_type = Option<String>)]
    pub backend_address: Option<IpAddr>,
    /// The slot and backend that user space computes from the ring alone; always equal to the kernel's.
    pub predicted_slot: Option<u32>,
    pub predicted_backend: Option<String>,
    /// First bytes of the outgoing frame, hexadecimal.
    pub frame: String,
}

/// The body of every reply that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// Names the object and the way out.
    pub error: String,
}
