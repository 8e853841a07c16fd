//! A runtime change, as users ask for it, and the mark that it leaves.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A runtime change; the body of `POST /v1/changes`. A vip is named by its name or as `ADDRESS:PORT/PROTOCOL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum Change {
    /// Adds a backend to a vip. With a backend name that the file defines, address and weight default to those.
    Add {
        vip: String,
        backend: String,
        #[schema(value_type = Option<String>)]
        address: Option<IpAddr>,
        weight: Option<u32>,
    },
    /// Takes a backend out of a vip, or of all.
    Remove { backend: String, vip: Option<String> },
    /// No new flows for a backend of a vip, or of all.
    Drain { backend: String, vip: Option<String> },
    /// Undoes a drain: the same slots come back.
    Undrain { backend: String, vip: Option<String> },
    /// Gives a backend another weight, in a vip or in all.
    Weight { backend: String, vip: Option<String>, weight: u32 },
}

/// Who changed something at run time, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeMark {
    /// User name (or uid) of the caller on the socket.
    pub by: String,
    /// The caller's process.
    pub pid: Option<i32>,
    /// RFC 3339, UTC.
    pub at: String,
}

/// One entry of the journal of runtime changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JournalEntry {
    pub mark: ChangeMark,
    pub change: Change,
}
