//! How hooks fare, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A hook, and how its calls went since the daemon has started, or the hook is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookStatus {
    pub name: String,
    /// `exec`, `webhook` or `email`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Calls that went well.
    pub sent: u64,
    /// Calls that were given up.
    pub failed: u64,
    /// Single attempts that failed, those of calls that went well later among them.
    pub tries_failed: u64,
    /// Events that were left out for the rate, and summed up.
    pub limited: u64,
    /// Events that were left out since the queue was full, and summed up.
    pub dropped: u64,
    /// Events that wait, one that is being told included.
    pub waiting: u64,
    /// Whether the last attempt has failed.
    pub is_failing: bool,
    /// RFC 3339.
    pub last_sent: Option<String>,
    /// RFC 3339.
    pub last_failed: Option<String>,
    /// Why that attempt failed.
    pub last_error: Option<String>,
}
