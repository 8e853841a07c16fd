//! A runtime change, as users ask for it, and the mark that it leaves.

use std::net::IpAddr;
use std::time::SystemTime;

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
    /// Takes a backend out of a vip, or of all. Flows that it has go on.
    Remove {
        backend: String,
        vip: Option<String>,
        /// Its flows are given up: they go to other backends, which reset TCP connections.
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// No new flows for a backend of a vip, or of all. Flows that it has go on.
    Drain {
        backend: String,
        vip: Option<String>,
        /// So long the flows are meant to take at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_seconds: Option<u64>,
        /// Flows that are left after the timeout, or at once without one, are given up: they go to other backends, which
        /// reset TCP connections.
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// As a drain by force: no new flows for a backend of a vip, or of all, and flows that it has go to other backends, which
    /// reset TCP connections.
    Disable { backend: String, vip: Option<String> },
    /// As a drain, and the backend's checks are silent until it is enabled.
    Maintenance {
        backend: String,
        vip: Option<String>,
        /// As for a drain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_seconds: Option<u64>,
        /// As for a drain.
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// Undoes disabling, maintenance and drains.
    Enable { backend: String, vip: Option<String> },
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

impl ChangeMark {
    /// When it was; the epoch when the text is no time.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        humantime::parse_rfc3339(&self.at).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}
