//! What is wrong with a backend that fails its check, as far as the check and a look around tell. Pure.
//!
//! ```text
//!  check (through the tunnel)   directly   to the backend's own address   means
//!                                          through the tunnel
//!  silence                      silence    any                            host down
//!  silence                      answers    silence                        tunnel absent
//!  silence                      answers    answers                        vip not configured
//!  refused                      any        any                            port closed
//!  a late answer                any        any                            too slow
//!  a wrong answer               any        any                            application failing
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::probe::Failure;

/// Where the fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Diagnosis {
    /// The backend answers nothing at all, or there is no way to it.
    HostDown,
    /// Nothing listens there.
    PortClosed,
    /// The service listens on the backend's own address, and not on the vip's.
    VipPortClosed,
    /// The backend does not take out what comes through the tunnel.
    TunnelAbsent,
    /// The tunnel works, and the backend takes nothing for the vip's address.
    VipNotConfigured,
    /// One of the two; the families of vip and backend differ, so that no packet could tell.
    TunnelOrVip,
    /// The service answers, and not as it should.
    ApplicationFailing,
    /// The service takes the connection, and answers too late or never.
    TooSlow,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostDown => "host down",
            Self::PortClosed => "port closed",
            Self::VipPortClosed => "port closed on the vip's address, open on the backend's own",
            Self::TunnelAbsent => "tunnel absent",
            Self::VipNotConfigured => "vip not configured on the backend",
            Self::TunnelOrVip => "tunnel absent or vip not configured on the backend",
            Self::ApplicationFailing => "application failing",
            Self::TooSlow => "too slow",
        })
    }
}

/// What a look around has shown while a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    /// How the same probe goes at the backend's own address.
    pub direct: Result<(), Failure>,
    /// Whether packets for the backend's own address arrive through the tunnel; `None`: there is none, or they cannot be sent.
    pub delivered: Option<bool>,
    /// Whether there are headers to be taken off.
    pub has_tunnel: bool,
}

/// What a failure means; `around` is missing for checks of the backend's own address. `connects`: the probe begins with a
/// connection, so that a silence after that is the application's.
#[must_use]
pub fn diagnose(failure: &Failure, around: Option<&Around>, connects: bool) -> Option<Diagnosis> {
    let direct_passes = around.is_some_and(|around| around.direct.is_ok());
    match failure {
        Failure::Local(_) | Failure::Setup(_) | Failure::Command(_) => None,
        // Who says so may have any reason, and names it.
        Failure::Stated(_) => None,
        Failure::Refused if direct_passes => Some(Diagnosis::VipPortClosed),
        Failure::Refused => Some(Diagnosis::PortClosed),
        _ if is_silence(failure, connects) => Some(of_silence(around, connects)),
        Failure::TimedOut { .. } => Some(Diagnosis::TooSlow),
        _ => Some(Diagnosis::ApplicationFailing),
    }
}

fn of_silence(around: Option<&Around>, connects: bool) -> Diagnosis {
    let Some(around) = around else { return Diagnosis::HostDown };
    let is_there = around.delivered == Some(true)
        || around.direct.as_ref().err().is_none_or(|failure| !is_silence(failure, connects));
    match (is_there, around.delivered) {
        (false, _) => Diagnosis::HostDown,
        (true, Some(true)) => Diagnosis::VipNotConfigured,
        (true, _) if !around.has_tunnel => Diagnosis::VipNotConfigured,
        (true, Some(false)) => Diagnosis::TunnelAbsent,
        (true, None) => Diagnosis::TunnelOrVip,
    }
}

/// Whether nothing came back at all.
fn is_silence(failure: &Failure, connects: bool) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::TimedOut { during, .. } => *during == CONNECTING || !connects,
        // What a command has seen, nobody knows.
        Failure::Exit(_) | Failure::Signal(_) => !connects,
        _ => false,
    }
}

/// As probes call it.
pub(super) const CONNECTING: &str = "connecting";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn silence() -> Failure {
        Failure::TimedOut { during: CONNECTING, limit: LIMIT }
    }

    fn late() -> Failure {
        Failure::TimedOut { during: "waiting for an answer", limit: LIMIT }
    }

    fn around(direct: Result<(), Failure>, delivered: Option<bool>) -> Around {
        Around { direct, delivered, has_tunnel: true }
    }

    #[test]
    fn silence_is_told_apart_by_what_else_is_heard() {
        for (direct, delivered, expected) in [
            (Ok(()), Some(false), Diagnosis::TunnelAbsent),
            (Ok(()), Some(true), Diagnosis::VipNotConfigured),
            (Ok(()), None, Diagnosis::TunnelOrVip),
            (Err(Failure::Refused), Some(false), Diagnosis::TunnelAbsent),
            (Err(Failure::Refused), Some(true), Diagnosis::VipNotConfigured),
            (Err(Failure::Status(503)), Some(false), Diagnosis::TunnelAbsent),
            (Err(late()), Some(true), Diagnosis::VipNotConfigured),
            (Err(silence()), Some(false), Diagnosis::HostDown),
            (Err(silence()), None, Diagnosis::HostDown),
            (Err(silence()), Some(true), Diagnosis::VipNotConfigured),
            (Err(Failure::Unreachable("host unreachable".into())), Some(false), Diagnosis::HostDown),
        ] {
            let around = around(direct, delivered);
            assert_eq!(diagnose(&silence(), Some(&around), true), Some(expected), "{around:?}");
        }
    }

    #[test]
    fn where_nothing_has_to_be_taken_off_no_tunnel_is_absent() {
        let around = Around { has_tunnel: false, ..around(Ok(()), None) };
        assert_eq!(diagnose(&silence(), Some(&around), true), Some(Diagnosis::VipNotConfigured));
    }

    #[test]
    fn an_answer_says_by_itself_what_is_wrong() {
        let fine = around(Ok(()), Some(true));
        let same = |failure: &Failure| around(Err(failure.clone()), Some(true));
        for (failure, expected) in [
            (Failure::Refused, Diagnosis::PortClosed),
            (Failure::Status(503), Diagnosis::ApplicationFailing),
            (Failure::Answer("wrong".into()), Diagnosis::ApplicationFailing),
            (Failure::Closed("waiting for an answer"), Diagnosis::ApplicationFailing),
            (Failure::Exit(1), Diagnosis::ApplicationFailing),
            (Failure::Tls("the certificate has expired".into()), Diagnosis::ApplicationFailing),
            (late(), Diagnosis::TooSlow),
        ] {
            assert_eq!(diagnose(&failure, None, true), Some(expected), "{failure}");
            assert_eq!(diagnose(&failure, Some(&same(&failure)), true), Some(expected), "{failure}");
            if failure != Failure::Refused {
                assert_eq!(diagnose(&failure, Some(&fine), true), Some(expected), "{failure}");
            }
        }
        assert_eq!(diagnose(&Failure::Refused, Some(&fine), true), Some(Diagnosis::VipPortClosed));
        assert_eq!(diagnose(&silence(), None, true), Some(Diagnosis::HostDown));
        let why = "no sockets".to_owned();
        for own in [Failure::Local(why.clone()), Failure::Setup(why.clone()), Failure::Command(why)] {
            assert_eq!(diagnose(&own, Some(&fine), true), None, "no fault of the backend: {own}");
        }
        assert_eq!(diagnose(&Failure::Stated("maint".into()), Some(&fine), true), None);
    }

    #[test]
    fn without_a_connection_a_missing_answer_is_silence() {
        let absent = around(Ok(()), Some(false));
        for failure in [late(), Failure::Exit(1), Failure::Signal(9)] {
            assert_eq!(diagnose(&failure, Some(&absent), false), Some(Diagnosis::TunnelAbsent), "{failure}");
        }
    }
}
