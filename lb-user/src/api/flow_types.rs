//! Remembered flows on the wire. A dump of them is one JSON object a line: a [`FlowDumpHead`], then a [`FlowEntry`] each.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Query of `GET /v1/flows`, `/v1/flows/count` and `/v1/flows/export`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FlowOptions {
    /// Only those of this vip, by name or `ADDRESS:PORT/PROTOCOL`.
    pub vip: Option<String>,
    /// Only those on this backend, by name or address.
    pub backend: Option<String>,
    /// In a list: at most so many, 1000 when it is not given.
    pub limit: Option<usize>,
}

/// A remembered flow. Its addresses and ports are not remembered: bucket and tag are made of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowEntry {
    /// `ADDRESS:PORT/PROTOCOL`.
    pub vip: String,
    /// The position of the vip's route, from 1; 0: none.
    pub route: u8,
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The name of the backend with this address, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    pub state: FlowEntryState,
    /// Time since the last packet, in units of 2^30 nanoseconds, about 1.07 seconds.
    pub age_ticks: u16,
    pub bucket: u32,
    /// 28 bits, hexadecimal.
    pub tag: String,
}

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlowEntryState {
    /// Its first packet was seen.
    Opened,
    /// One packet was seen, of a flow that had begun before.
    Seen,
    /// It goes on.
    Confirmed,
    /// It was seen to end.
    Closing,
}

/// Remembered flows of a vip on a backend; `GET /v1/flows/count`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowCount {
    /// Its name, or `ADDRESS:PORT/PROTOCOL`.
    pub vip: String,
    /// The name of the backend with this address, when it is known.
    pub backend: Option<String>,
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Only the first packet was seen.
    pub opened: u64,
    /// They go on.
    pub live: u64,
    /// They were seen to end.
    pub closing: u64,
}

/// The first line of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowDumpHead {
    /// [`FlowDumpHead::FORMAT`].
    pub format: String,
    /// [`FlowDumpHead::VERSION`].
    pub version: u32,
    /// When it was written.
    pub at: String,
    /// Of the configuration; bucket and tag depend on it.
    pub hash_seed: u64,
    /// Buckets of the table; `limits.flows` divided by 8.
    pub buckets: u32,
}

impl FlowDumpHead {
    pub const FORMAT: &str = "ferrolev-flows";
    pub const VERSION: u32 = 1;
}

/// What became of the flows of a dump; the reply to `POST /v1/flows/import`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowImport {
    /// Remembered here now.
    pub taken: u64,
    /// Remembered here before.
    pub known: u64,
    /// Of a vip or backend that is not here, or of a vip that remembers nothing.
    pub foreign: u64,
    /// Over by now.
    pub over: u64,
    /// Without room.
    pub full: u64,
}
