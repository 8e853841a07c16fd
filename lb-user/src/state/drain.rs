//! A drain: since when a backend gets no new flows, and until when it may keep those that it has.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::ChangeMark;
use super::change::is_false;

/// A backend of a vip that is drained. Stored as a [`ChangeMark`] with more to it, as it was before there were deadlines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    #[serde(flatten)]
    pub mark: ChangeMark,
    /// So long its flows are meant to take at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Flows that are left then are given up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
}

impl Drain {
    /// Until when its flows are meant to have ended. Without a timeout, force does not wait.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        let timeout = self.timeout_seconds.or(self.force.then_some(0))?;
        self.mark.time().checked_add(Duration::from_secs(timeout))
    }

    /// When the flows that are left are given up, if ever.
    #[must_use]
    pub fn gives_up_at(&self) -> Option<SystemTime> {
        self.deadline().filter(|_| self.force)
    }

    /// Whether it says anything of a deadline. One that does not leaves the deadline of a backend that is drained already.
    pub(super) const fn is_plain(&self) -> bool {
        self.timeout_seconds.is_none() && !self.force
    }
}

impl fmt::Display for Drain {
    /// Such as `drained until 2026-01-01T00:05:00Z, then by force`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.deadline(), self.timeout_seconds) {
            (Some(at), Some(_)) => write!(f, "drained until {}", humantime::format_rfc3339_seconds(at))?,
            _ => f.write_str("drained")?,
        }
        match (self.force, self.timeout_seconds) {
            (true, Some(_)) => f.write_str(", then by force"),
            (true, None) => f.write_str(" by force"),
            (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(timeout_seconds: Option<u64>, force: bool) -> Drain {
        let mark = ChangeMark { by: "alice".to_owned(), pid: Some(7), at: "2026-01-01T00:00:00Z".to_owned() };
        Drain { mark, timeout_seconds, force }
    }

    fn text(time: SystemTime) -> String {
        humantime::format_rfc3339_seconds(time).to_string()
    }

    #[test]
    fn a_deadline_counts_from_when_the_drain_began_and_force_alone_does_not_wait() {
        let shown = |drain: Drain| (drain.deadline().map(text), drain.gives_up_at().map(text));
        let at = |time: &str| Some(format!("2026-01-01T00:{time}Z"));
        assert_eq!(shown(drain(None, false)), (None, None));
        assert_eq!(shown(drain(Some(300), false)), (at("05:00"), None));
        assert_eq!(shown(drain(Some(300), true)), (at("05:00"), at("05:00")));
        assert_eq!(shown(drain(None, true)), (at("00:00"), at("00:00")));
        assert_eq!(shown(drain(Some(u64::MAX), true)), (None, None), "no clock goes so far");
    }

    #[test]
    fn what_was_stored_before_there_were_deadlines_is_a_plain_drain() {
        let old = r#"{"by":"alice","pid":7,"at":"2026-01-01T00:00:00Z"}"#;
        let plain: Drain = serde_json::from_str(old).unwrap();
        assert_eq!(plain, drain(None, false));
        assert_eq!(serde_json::to_string(&plain).unwrap(), old, "older versions read it, too");
        let mark: ChangeMark =
            serde_json::from_str(&serde_json::to_string(&drain(Some(5), true)).unwrap()).unwrap();
        assert_eq!(mark, plain.mark, "older versions read what they know");
    }

    #[test]
    fn a_drain_says_until_when() {
        let shown = [(None, false), (Some(300), false), (Some(300), true), (None, true)]
            .map(|(timeout, force)| drain(timeout, force).to_string());
        assert_eq!(
            shown,
            [
                "drained",
                "drained until 2026-01-01T00:05:00Z",
                "drained until 2026-01-01T00:05:00Z, then by force",
                "drained by force"
            ]
        );
    }
}
