//! Virtual routers on the wire.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::Announce;

/// Query of `GET /v1/vrrp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VrrpOptions {
    /// Only this virtual router, the members of this group, or the addresses of this `[[vrrp.external]]`.
    pub name: Option<String>,
}

/// `GET /v1/vrrp`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VrrpStatus {
    /// Whether this host can forward, and may say so.
    pub fitness: Fitness,
    /// Whether a host that has just started may be master by now.
    pub gate: VrrpGate,
    pub routers: Vec<VrrpRouter>,
    /// Addresses that other programs decide about.
    pub external: Vec<VrrpExternal>,
    /// Adverts for no virtual router here, by reason.
    pub strays: BTreeMap<String, u64>,
}

/// `GET /v1/fitness`: whether this host can forward, for whoever decides about a master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fitness {
    pub fit: bool,
    /// Why not, each in words.
    pub reasons: Vec<String>,
}

/// What a host may become that has not been running for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VrrpGate {
    /// Not master.
    Closed,
    /// Master when there is none.
    NoPreempt,
    Open,
}

/// What this host is for a virtual router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VrrpRole {
    #[default]
    Init,
    Backup,
    Master,
    /// Something that is tracked is down; it takes no part.
    Fault,
}

/// A virtual router that this host takes part in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VrrpRouter {
    pub name: String,
    /// The sync group.
    pub group: Option<String>,
    pub interface: String,
    pub router_id: u8,
    /// 2 or 3.
    pub version: u8,
    pub addresses: Vec<VrrpAddress>,
    pub role: VrrpRole,
    /// RFC 3339.
    pub since: Option<String>,
    /// The priority that counts.
    pub priority: u8,
    /// As configured, before tracking.
    pub configured_priority: u8,
    /// What adds to it, or takes from it.
    pub parts: Vec<VrrpPart>,
    /// What is in fault.
    pub faults: Vec<VrrpSubject>,
    pub maintenance: bool,
    pub handing_over: bool,
    /// Where adverts come from.
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// What keeps it from taking part, in words.
    pub trouble: Option<String>,
    /// The master that is listened to.
    #[schema(value_type = Option<String>)]
    pub master: Option<IpAddr>,
    /// Between adverts; a backup's is its master's.
    pub interval_ms: u64,
    /// Until the next step: an advert of a master, or a backup that takes over.
    pub due_in_ms: Option<u64>,
    /// Until the kernel ends its answers, unless another advert is sent before.
    pub lease_left_ms: Option<u64>,
    pub counters: VrrpCounters,
    /// Adverts that were not heeded, by reason; those that never occurred are left out.
    pub rejects: BTreeMap<String, u64>,
    pub peers: Vec<VrrpPeer>,
    /// The last ones, oldest first.
    pub transitions: Vec<VrrpTransition>,
}

/// An address of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpAddress {
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Who answers for it while it is this host's; `none`: nothing is announced, the election is for others to use.
    pub announce: Announce,
    /// Whether adverts name it.
    pub advertised: bool,
}

/// Something that is tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpSubject {
    /// `interface`, `script`, `file`, `fitness` or `backends`.
    pub kind: String,
    pub name: String,
}

/// What something tracked does to the priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpPart {
    pub kind: String,
    pub name: String,
    pub adds: i64,
}

/// Counts since the daemon started, or since the virtual router is configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VrrpCounters {
    /// Changes of the role.
    pub transitions: u64,
    pub became_master: u64,
    pub adverts_sent: u64,
    pub adverts_received: u64,
    /// Adverts of priority 0: a master leaves.
    pub farewells_sent: u64,
    pub farewells_received: u64,
    /// Times that there was another master beside this one.
    pub dual_masters: u64,
    /// How long, as far as it was heard.
    pub dual_master_seconds: f64,
    /// Claims of hosts that are no VRRP routers, as far as they were answered.
    pub claims: u64,
}

/// Somebody who sends adverts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpPeer {
    #[schema(value_type = String)]
    pub address: IpAddr,
    pub version: u8,
    /// Of its last advert; 0: it left.
    pub priority: u8,
    /// How it sums up version 3 over IPv4: `pseudo-header`, `rfc9568` or `old-unicast`.
    pub checksum: String,
    pub heard_ago_ms: Option<u64>,
    pub heeded: u64,
    pub rejected: u64,
    /// Why the last one that was not heeded was not.
    pub last_reject: Option<String>,
}

/// A change of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpTransition {
    /// RFC 3339.
    pub at: String,
    pub from: VrrpRole,
    pub to: VrrpRole,
    pub why: String,
}

/// Addresses that another program decides about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpExternal {
    pub name: String,
    pub addresses: Vec<VrrpAddress>,
    /// They are this host's while it has this address, whatever is said.
    #[schema(value_type = Option<String>)]
    pub follows: Option<IpAddr>,
    /// So long after this daemon's last sign of life the kernel ends its answers, in milliseconds; 0: never.
    pub lease_ms: u64,
    pub owned: bool,
    /// RFC 3339.
    pub since: Option<String>,
    /// Who said so.
    pub why: String,
}

/// `POST /v1/vrrp`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "order", rename_all = "lowercase", deny_unknown_fields)]
pub enum VrrpOrder {
    /// Let another host take over, and leave the addresses with it until it fails. All virtual routers without a name.
    Failover {
        #[serde(default)]
        name: Option<String>,
    },
    /// Do not be master until further notice. All virtual routers without a name.
    Maintenance {
        #[serde(default)]
        name: Option<String>,
        on: bool,
    },
    /// The addresses of a `[[vrrp.external]]` are this host's.
    Own { name: String },
    /// They are not.
    Release { name: String },
}

/// Answer to `POST /v1/vrrp`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VrrpDone {
    /// What else is to be known.
    pub notes: Vec<String>,
}
