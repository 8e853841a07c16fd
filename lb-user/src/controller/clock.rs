//! Times as the API writes them.

use std::time::SystemTime;

/// RFC 3339 in UTC, to the second.
pub(super) fn text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The present time as text.
pub(super) fn now_text() -> String {
    text(SystemTime::now())
}

/// The kernel's monotonic clock, on which its programs tell the time.
pub(crate) fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
