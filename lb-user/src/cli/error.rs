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
    /// The time of a drain was over before its flows were.
    #[error(
        "backend {backend} is not drained in time: {what}; they go on. Wait longer with `ferrolev backend drain {backend} --wait`, or give them up with `ferrolev backend drain {backend} --force`: other backends then reset them"
    )]
    FlowsLeft { backend: String, what: String },
    /// `check-fit` found reasons; nothing when they are not to be said.
    #[error("{}", .0.as_deref().unwrap_or_default())]
    Unfit(Option<String>),
    /// Anything else that went wrong; names what was tried.
    #[error("{0}")]
    Operation(String),
}

impl CliError {
    /// An invalid file is told as `ferrolev check` tells it, whatever the daemon was about to do with it.
    pub(super) fn from_daemon(error: anyhow::Error) -> Self {
        error.downcast::<ConfigError>().map_or_else(Self::Daemon, Self::Config)
    }

    /// Puts `what` in front of an error.
    pub(super) fn operation<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Operation(format!("{what}: {error}"))
    }

    /// The text for standard error: problems of a file begin with their place, all else with this program's name.
    #[must_use]
    pub fn report(&self) -> String {
        match self {
            Self::Config(ConfigError::Invalid { .. }) | Self::Reload(_) | Self::Unfit(None) => {
                self.to_string()
            }
            _ => format!("ferrolev: {self}"),
        }
    }

    /// 1: refused or failed, 3: the daemon cannot be reached, or flows are left, 4: the configuration is invalid. (2 is clap's, for usage.)
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { .. } | ClientError::Timeout { .. })
            | Self::FlowsLeft { .. } => 3,
            Self::Config(_) | Self::Reload(_) => 4,
            Self::Client(_) | Self::Daemon(_) | Self::Unfit(_) | Self::Operation(_) => 1,
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
    fn problems_of_a_file_begin_with_their_place_so_that_editors_find_it() {
        let invalid = Config::parse(Path::new("f.toml"), "").expect_err("empty");
        assert!(CliError::from(invalid).report().starts_with("f.toml:1: "));
        assert_eq!(CliError::operation("cannot write")("full").report(), "ferrolev: cannot write: full");
    }

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
            (CliError::from_daemon(wrapped), 4),
            (CliError::Reload("f.toml:1: wrong".to_owned()), 4),
            (CliError::from(unreachable), 3),
            (CliError::from(ClientError::Timeout { socket: "/x".into(), seconds: 1.0 }), 3),
            (CliError::from(refused), 1),
            (CliError::from_daemon(anyhow::anyhow!("no")), 1),
            (CliError::operation("cannot write")("full"), 1),
            (CliError::Unfit(None), 1),
            (CliError::FlowsLeft { backend: "b".to_owned(), what: "1 flow left in web".to_owned() }, 3),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
