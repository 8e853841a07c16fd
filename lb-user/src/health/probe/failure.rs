//! Why a backend does not do what is needed, in words and as a label.

use std::io;
use std::time::Duration;

use crate::health::Outcome;

/// Why a probe did not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("connection refused")]
    Refused,
    #[error("{0}")]
    Unreachable(String),
    #[error("timed out after {} while {during}", humantime::format_duration(*limit))]
    TimedOut { during: &'static str, limit: Duration },
    #[error("connection closed while {0}")]
    Closed(&'static str),
    #[error("unexpected status {0}")]
    Status(u16),
    #[error("{0}")]
    Answer(String),
    #[error("command ended with exit status {0}")]
    Exit(i32),
    #[error("command was ended by signal {0}")]
    Signal(i32),
    /// Nobody's fault but this host's.
    #[error("this host cannot check: {0}")]
    Local(String),
}

/// What failures are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    Refused,
    Unreachable,
    TimedOut,
    Closed,
    Status,
    Answer,
    Command,
    Local,
}

impl FailureKind {
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Closed,
        Self::Status,
        Self::Answer,
        Self::Command,
        Self::Local,
    ];

    /// As metrics name it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::Status => "status",
            Self::Answer => "answer",
            Self::Command => "command",
            Self::Local => "local",
        }
    }
}

impl Failure {
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Refused => FailureKind::Refused,
            Self::Unreachable(_) => FailureKind::Unreachable,
            Self::TimedOut { .. } => FailureKind::TimedOut,
            Self::Closed(_) => FailureKind::Closed,
            Self::Status(_) => FailureKind::Status,
            Self::Answer(_) => FailureKind::Answer,
            Self::Exit(_) | Self::Signal(_) => FailureKind::Command,
            Self::Local(_) => FailureKind::Local,
        }
    }

    /// What it says about the backend.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Local(_) => Outcome::Inconclusive,
            _ => Outcome::Failed,
        }
    }

    /// What the kernel said `during` something with a socket.
    pub(super) fn socket(error: &io::Error, during: &'static str) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => return Self::Refused,
            Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof => return Self::Closed(during),
            // The kernel's own patience may end before the probe's.
            Kind::TimedOut => return Self::Unreachable("no answer from the host".to_owned()),
            _ => {}
        }
        match error.raw_os_error() {
            Some(libc::EHOSTUNREACH) => Self::Unreachable("host unreachable".to_owned()),
            Some(libc::ENETUNREACH) => Self::Unreachable("network unreachable".to_owned()),
            Some(libc::EACCES | libc::EPERM) => {
                Self::Unreachable("rejected by a firewall (administratively prohibited)".to_owned())
            }
            _ => Self::Local(error.to_string()),
        }
    }
}
