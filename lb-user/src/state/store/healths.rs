//! Who was healthy when the daemon ended, in the table `health`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{Store, StoreError};

const HEALTH: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("health");

/// Whether backends were healthy, by the check's name and what it asks.
pub type Healths = BTreeMap<(String, Asked), bool>;

/// What a check asks: `10.0.0.7:80`, or `10.0.0.7:80 192.0.2.1 ipip` for a vip's address through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The backend's address, and the port that is asked.
    pub socket: SocketAddr,
    /// The vip's address and the word for the mode.
    pub way: Option<(IpAddr, String)>,
}

/// Why a text says nothing that a check asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing that a check asks; expected for example 10.0.0.7:80 or 10.0.0.7:80 192.0.2.1 ipip")]
pub struct ParseAskedError(String);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.socket)?;
        self.way.as_ref().map_or(Ok(()), |(to, mode)| write!(f, " {to} {mode}"))
    }
}

impl FromStr for Asked {
    type Err = ParseAskedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseAskedError(text.to_owned());
        let words: Vec<&str> = text.split(' ').collect();
        let (socket, way) = match *words.as_slice() {
            [socket] => (socket, None),
            [socket, to, mode] => (socket, Some((to.parse().map_err(|_| wrong())?, mode.to_owned()))),
            _ => return Err(wrong()),
        };
        Ok(Self { socket: socket.parse().map_err(|_| wrong())?, way })
    }
}

impl Store {
    /// Who was healthy.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn healths(&self) -> Result<Healths, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = match read.open_table(HEALTH) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Healths::new()),
            other => other.map_err(|error| self.error(error))?,
        };
        let mut found = Healths::new();
        for row in table.iter().map_err(|error| self.error(error))? {
            let (key, healthy) = row.map_err(|error| self.error(error))?;
            let (check, asked) = key.value();
            let asked = asked.parse().map_err(|error| self.corrupt(error))?;
            found.insert((check.to_owned(), asked), healthy.value() != 0);
        }
        Ok(found)
    }

    /// Replaces that where it differs. Durable on return.
    ///
    /// # Errors
    /// When the disk refuses; then nothing is changed.
    pub fn put_healths(&self, healths: &Healths) -> Result<(), StoreError> {
        let before = self.healths()?;
        if before == *healths {
            return Ok(());
        }
        self.write(|write| {
            let mut table = write.open_table(HEALTH)?;
            for (check, asked) in before.keys().filter(|place| !healths.contains_key(*place)) {
                table.remove((check.as_str(), asked.to_string().as_str()))?;
            }
            let changed = healths.iter().filter(|(place, healthy)| before.get(*place) != Some(healthy));
            for ((check, asked), healthy) in changed {
                table.insert((check.as_str(), asked.to_string().as_str()), u64::from(*healthy))?;
            }
            Ok(())
        })
    }
}
