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
    #[serde(default, skip_serializing_if = "DrainKind::is_drained")]
    pub kind: DrainKind,
}

/// What a backend is drained for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainKind {
    #[default]
    Drained,
    Disabled,
    /// Its checks are silent.
    Maintenance,
}

impl DrainKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    const fn is_drained(&self) -> bool {
        matches!(self, Self::Drained)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Disabled => "disabled",
            Self::Maintenance => "in maintenance",
        }
    }

    /// What is to be said of a backend beside its being drained.
    #[must_use]
    pub const fn note(self) -> Option<&'static str> {
        match self {
            Self::Drained => None,
            Self::Disabled => Some("disabled"),
            Self::Maintenance => Some("in maintenance: its checks are silent"),
        }
    }
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

    /// Whether it takes the place of `before`. A drain that says nothing of a deadline leaves what is there.
    pub(super) fn replaces(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| match self.kind {
            DrainKind::Drained => self.timeout_seconds.is_some() || self.force,
            DrainKind::Disabled => before.kind != self.kind,
            DrainKind::Maintenance => {
                before.kind != self.kind || self.timeout_seconds.is_some() || self.force
            }
        })
    }
}

impl fmt::Display for Drain {
    /// Such as `drained until 2026-01-01T00:05:00Z, then by force`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.deadline(), self.timeout_seconds) {
            (Some(at), Some(_)) => {
                write!(f, "{} until {}", self.kind.text(), humantime::format_rfc3339_seconds(at))?;
            }
            _ => f.write_str(self.kind.text())?,
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
        Drain { mark, timeout_seconds, force, kind: DrainKind::Drained }
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
    fn what_a_backend_is_drained_for_is_stored_and_only_more_takes_the_place_of_what_is_there() {
        let of = |kind, force| Drain { kind, ..drain(None, force) };
        use DrainKind::{Disabled, Drained, Maintenance};
        for kind in [Drained, Disabled, Maintenance] {
            let stored = serde_json::to_string(&of(kind, true)).unwrap();
            assert_eq!(serde_json::from_str::<Drain>(&stored).unwrap(), of(kind, true));
            assert!(of(kind, true).replaces(None));
        }
        assert_eq!(of(Maintenance, false).to_string(), "in maintenance");
        assert!(!of(Drained, false).replaces(Some(&of(Maintenance, false))), "a drain that says no more");
        assert!(of(Disabled, true).replaces(Some(&of(Maintenance, false))));
        assert!(of(Maintenance, false).replaces(Some(&of(Disabled, true))));
        assert!(!of(Disabled, true).replaces(Some(&of(Disabled, true))), "it is so already");
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
