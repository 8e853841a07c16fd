//! What `ferrolev run` and `ferrolev detach` are told on the command line, and where an instance keeps its things.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::dataplane::XdpMode;

/// Where the configuration is looked for.
pub const DEFAULT_CONFIG: &str = "/etc/ferrolev/ferrolev.toml";
/// The directory on a bpffs that holds a directory for each instance.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf/ferrolev";
/// Where runtime changes are stored.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/ferrolev";
/// The socket of the instance `default`.
pub const DEFAULT_SOCKET: &str = "/run/ferrolev/api.sock";

/// How the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    pub config: PathBuf,
    pub instance: InstanceName,
    pub bpffs: PathBuf,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    /// Wins over the file's `xdp_mode`, on reload too.
    pub xdp_mode: Option<XdpMode>,
    /// Whether the program leaves the interfaces when the daemon ends.
    pub detach_on_exit: bool,
}

impl RunOptions {
    /// Where programs, links and maps are pinned, such as `/sys/fs/bpf/ferrolev/default`.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        self.instance.pin_dir(&self.bpffs)
    }

    /// The database of runtime changes, such as `/var/lib/ferrolev/default.redb`.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join(format!("{}.redb", self.instance))
    }
}

/// The name of an instance: part of file names, so letters, digits, `_`, `-` and `.` only, and no leading dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceName(String);

impl InstanceName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that holds the pins of this instance.
    #[must_use]
    pub fn pin_dir(&self, bpffs: &Path) -> PathBuf {
        bpffs.join(&self.0)
    }

    /// The socket when no other one is named.
    #[must_use]
    pub fn default_socket(&self) -> PathBuf {
        match self.0.as_str() {
            "default" => DEFAULT_SOCKET.into(),
            name => PathBuf::from(format!("/run/ferrolev/{name}.sock")),
        }
    }
}

impl Default for InstanceName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no instance name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InstanceNameError {
    #[error(
        "'{0}' is no instance name; use 1 to 64 letters, digits, '_', '-' or '.', not beginning with '.'"
    )]
    Form(String),
    #[error("an instance cannot be called 'api': its socket would be the one of the instance 'default'")]
    Reserved,
}

impl FromStr for InstanceName {
    type Err = InstanceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > 64 || text.starts_with('.') || !text.chars().all(allowed) {
            return Err(InstanceNameError::Form(text.to_owned()));
        }
        if text == "api" {
            return Err(InstanceNameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_cannot_leave_its_directory() {
        for bad in ["", "..", ".hidden", "a/b", "a b", "é", "a\0", &"x".repeat(65)] {
            assert!(matches!(bad.parse::<InstanceName>(), Err(InstanceNameError::Form(_))), "{bad:?}");
        }
        for good in ["default", "edge-1", "a.b_c", "7"] {
            assert_eq!(good.parse::<InstanceName>().expect(good).as_str(), good);
        }
    }

    #[test]
    fn instances_never_share_a_socket() {
        let other: InstanceName = "edge".parse().expect("valid");
        assert_eq!(other.default_socket(), Path::new("/run/ferrolev/edge.sock"));
        assert_eq!(InstanceName::default().default_socket(), Path::new(DEFAULT_SOCKET));
        assert_eq!("api".parse::<InstanceName>(), Err(InstanceNameError::Reserved));
    }

    #[test]
    fn pins_and_database_carry_the_name_of_the_instance() {
        let options = RunOptions {
            config: DEFAULT_CONFIG.into(),
            instance: "edge".parse().expect("valid"),
            bpffs: DEFAULT_BPFFS.into(),
            state_dir: DEFAULT_STATE_DIR.into(),
            socket: DEFAULT_SOCKET.into(),
            xdp_mode: None,
            detach_on_exit: false,
        };
        assert_eq!(options.pin_dir(), Path::new("/sys/fs/bpf/ferrolev/edge"));
        assert_eq!(options.database(), Path::new("/var/lib/ferrolev/edge.redb"));
    }
}
