//! Why a command failed, and the exit code that tells scripts so.

use std::fmt::Display;

use crate::api::client::ClientError;
use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon found the file invalid.
    #[error("{0}")]
    Reload(String),
    /// Why the daemon could not start or go on.
    #[error("{0:#}")]
    Daemon(anyhow::Error),
    /// Anything else that went wrong; names what was tried.
    #[error("{0}")]
    Operation(String),
}

impl CliError {
    /// Puts `what` in front of an error.
    pub(super) fn operation<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Operation(format!("{what}: {error}"))
    }

    /// 1: refused or failed, 3: the daemon cannot be reached, 4: the configuration is invalid. (2 is clap's, for usage.)
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => 3,
            Self::Config(_) | Self::Reload(_) => 4,
            Self::Daemon(error) if error.chain().any(|cause| cause.is::<ConfigError>()) => 4,
            Self::Client(_) | Self::Daemon(_) | Self::Operation(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context;

    use super::*;
    use crate::config::Config;

    #[test]
    fn exit_codes_tell_an_invalid_file_from_a_failure_and_from_a_missing_daemon() {
        let invalid = || Config::parse(Path::new("f.toml"), "").expect_err("empty");
        let unreachable = ClientError::Unreachable {
            socket: "/x".into(),
            source: std::io::ErrorKind::NotFound.into(),
            way_out: "",
        };
        let refused = ClientError::Refused { status: 409, error: "no".to_owned() };
        let wrapped = Err::<(), _>(invalid()).context("cannot start").expect_err("invalid");
        for (error, code) in [
            (CliError::from(invalid()), 4),
            (CliError::Daemon(wrapped), 4),
            (CliError::Reload("f.toml:1: wrong".to_owned()), 4),
            (CliError::from(unreachable), 3),
            (CliError::from(ClientError::Timeout { socket: "/x".into(), seconds: 1.0 }), 3),
            (CliError::from(refused), 1),
            (CliError::Daemon(anyhow::anyhow!("no")), 1),
            (CliError::operation("cannot write")("full"), 1),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
