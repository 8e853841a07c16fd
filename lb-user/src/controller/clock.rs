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
