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
    #[error("TLS: {0}")]
    Tls(String),
    #[error("command ended with exit status {0}")]
    Exit(i32),
    #[error("command was ended by signal {0}")]
    Signal(i32),
    /// It could not be started.
    #[error("cannot run {0}")]
    Command(String),
    /// The backend's agent says that it is not to be used; nothing else has to be asked.
    #[error("{0}")]
    Stated(String),
    /// The check cannot be made on this host as it is set up: that the backend works is not known, and will not be.
    #[error("this check cannot be made: {0}")]
    Setup(String),
    /// This host is short of something for the moment, which says nothing about the backend.
    #[error("this host cannot check now: {0}")]
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
    Tls,
    Command,
    Agent,
    Setup,
    Local,
}

impl FailureKind {
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Closed,
        Self::Status,
        Self::Answer,
        Self::Tls,
        Self::Command,
        Self::Agent,
        Self::Setup,
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
            Self::Tls => "tls",
            Self::Command => "command",
            Self::Agent => "agent",
            Self::Setup => "setup",
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
            Self::Tls(_) => FailureKind::Tls,
            Self::Exit(_) | Self::Signal(_) | Self::Command(_) => FailureKind::Command,
            Self::Stated(_) => FailureKind::Agent,
            Self::Setup(_) => FailureKind::Setup,
            Self::Local(_) => FailureKind::Local,
        }
    }

    /// What it says about the backend.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Local(_) => Outcome::Inconclusive,
            Self::Stated(_) => Outcome::SaidDown,
            _ => Outcome::Failed,
        }
    }

    /// What the kernel said `during` something with a socket.
    pub(super) fn socket(error: &io::Error, during: &'static str) -> Self {
        use io::ErrorKind as Kind;
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::Tls(super::tls::in_words(tls));
        }
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
            // With no source of its own a check lacks ports, not addresses.
            Some(libc::EADDRNOTAVAIL) => Self::Local("no port is free".to_owned()),
            _ => Self::host(error),
        }
    }

    /// What this host lacks. What it may have again soon says nothing; all else would fail for ever.
    pub(super) fn host(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::Local("too many files are open".to_owned()),
            Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => Self::Local(error.to_string()),
            _ => Self::Setup(error.to_string()),
        }
    }
}
