//! What was counted, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/stats`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// When the counters were read.
    pub at: String,
    pub vips: Vec<VipStats>,
    pub reasons: Vec<ReasonStats>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VipStats {
    pub name: String,
    pub counters: CounterValues,
    pub policy: PolicyValues,
    pub backends: Vec<BackendStats>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackendStats {
    pub name: String,
    pub counters: CounterValues,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CounterValues {
    pub packets: u64,
    pub bytes: u64,
    /// TCP connection attempts.
    pub new_flows: u64,
}

/// What access lists and limits of a vip did; all 0 for a vip without any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyValues {
    /// Flows that wanted to begin: TCP connection attempts and QUIC Initial packets that the access lists let through.
    pub new_flows: u64,
    /// Packets that an access list denied.
    pub denied: u64,
    /// New flows dropped beyond the vip's limit.
    pub vip_limited: u64,
    /// New flows dropped beyond the limit of their source prefix.
    pub source_limited: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonStats {
    /// `pass`, `drop`, or `answer`: the packet was turned into one.
    pub kind: String,
    pub reason: String,
    pub meaning: String,
    pub packets: u64,
}
