//! What checks say of backends, on the wire.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::health::Diagnosis;
pub use crate::state::AlarmKind;

/// Query of `GET /v1/health`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HealthOptions {
    /// Only the backends of this vip, by name or `ADDRESS:PORT/PROTOCOL`.
    pub vip: Option<String>,
}

/// A checked backend of a vip. Vips that share a check of the same address and port see the same results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthStatus {
    pub vip: String,
    pub backend: String,
    pub check: String,
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The port that is asked.
    pub port: u16,
    /// Whether it is an agent beside the check, which has a line of its own.
    #[serde(default)]
    pub is_agent: bool,
    /// Whether the vip's address is asked through the backend's tunnel, not the backend's own.
    #[serde(default)]
    pub through_tunnel: bool,
    pub state: HealthState,
    /// Whether it gets new flows, for its health or for want of any healthy backend.
    pub used: bool,
    /// Why it is suspected of answering nobody, by what its clients send; that is no verdict.
    #[serde(default)]
    pub suspicion: Option<String>,
    /// When the state began, RFC 3339.
    pub since: Option<String>,
    pub last: Option<CheckResult>,
    /// Results in a row that speak for another state.
    pub contrary_results: u32,
    /// How many of them it takes.
    pub contrary_needed: u32,
    /// The weight that the check asks for.
    pub weight: Option<u32>,
    /// Probes that have passed.
    pub passes: u64,
    /// Probes that have not, by reason.
    pub failures: BTreeMap<String, u64>,
    /// The last changes of the state, oldest first.
    pub transitions: Vec<HealthTransition>,
}

/// What a check says of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// There were not enough results yet.
    Initial,
    Healthy,
    Unhealthy,
}

/// How a probe went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckResult {
    /// RFC 3339.
    pub at: String,
    /// From its begin to its end, in microseconds.
    pub latency_us: u64,
    /// Why it did not pass, in words; absent when it did.
    pub failure: Option<String>,
    /// Where the fault is, as far as that is known.
    #[serde(default)]
    pub diagnosis: Option<Diagnosis>,
}

/// A change of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthTransition {
    /// RFC 3339.
    pub at: String,
    /// The state before.
    #[serde(default)]
    pub before: Option<HealthState>,
    pub state: HealthState,
    /// How long the probe took that led to it, in microseconds.
    #[serde(default)]
    pub latency_us: u64,
    /// The failure that led to it.
    pub reason: Option<String>,
    /// Where the fault was, as far as that was known.
    #[serde(default)]
    pub diagnosis: Option<Diagnosis>,
}

/// Something about a vip's backends that is out of the ordinary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VipAlarm {
    pub kind: AlarmKind,
    /// The vip's route that is concerned, when it is not the vip itself.
    pub route: Option<String>,
    pub text: String,
}
