//! Runtime changes on disk: the overlay and the journal of who changed what, in one redb file.
//!
//! ```text
//! meta       "format" -> 1
//! overrides  (vip, backend) -> Override as JSON
//! journal    sequence number -> JournalEntry as JSON; the newest 10,000
//! slow       (vip, backend's address) -> when its slow start began, in milliseconds since the epoch; made when needed
//! health     (check, what it asks) -> 1 when healthy, 0 when not; made when needed
//! ```
//!
//! Every commit is fsynced before it returns, and redb never overwrites a committed page, so whatever kills the process
//! the last returned state is what the next start finds. Nothing here ever deletes a file that it cannot read.

mod healths;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, fs::File};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
    WriteTransaction,
};

pub use healths::{Asked, Healths};

use super::{JournalEntry, Overlay, VipKey};

const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const OVERRIDES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("overrides");
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const SLOW: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("slow");

/// Entries that the journal keeps.
pub const JOURNAL_LEN: u64 = 10_000;

/// By vip and the backend's address.
pub type SlowStarts = BTreeMap<(VipKey, IpAddr), SystemTime>;

/// The open database; a second open of the same file fails while this lives.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

/// Takes a commit back.
#[derive(Debug)]
#[must_use]
pub struct Undo {
    before: Overlay,
    after: Overlay,
    journal: Option<u64>,
}

/// Why the stored runtime changes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot create {path}: {source}; check the directory given by --state-dir")]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "{0} is in use: another ferrolev runs this instance; stop it or give this one another --instance"
    )]
    InUse(PathBuf),
    #[error(
        "{path} has format {found}, this ferrolev knows {FORMAT}: a newer version wrote it; run that version, or move the file away to start without runtime changes"
    )]
    NewerFormat { path: PathBuf, found: u64 },
    #[error(
        "{path} is damaged ({reason}); nothing was changed. Restore it from a backup, or move it away to start without runtime changes"
    )]
    Corrupt { path: PathBuf, reason: String },
    #[error("{path}: {source}; is the disk full or failing?")]
    Io { path: PathBuf, source: Box<redb::Error> },
}

impl Store {
    /// Opens the database, or creates an empty one.
    ///
    /// # Errors
    /// When the file is in use, damaged, of a newer format, or cannot be created.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            create(path)?;
        }
        let store = Self {
            database: Database::open(path).map_err(|error| open_error(path, error))?,
            path: path.to_owned(),
        };
        match store.format()? {
            Some(FORMAT) => Ok(store),
            Some(found) => Err(StoreError::NewerFormat { path: store.path, found }),
            None => Err(store.corrupt("it holds no format version")),
        }
    }

    /// The stored overlay.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn overlay(&self) -> Result<Overlay, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(OVERRIDES).map_err(|error| self.error(error))?;
        let mut parts = Vec::new();
        for row in table.iter().map_err(|error| self.error(error))? {
            let (key, value) = row.map_err(|error| self.error(error))?;
            let (vip, backend) = key.value();
            let vip: VipKey = vip.parse().map_err(|error| self.corrupt(error))?;
            let change = serde_json::from_slice(value.value()).map_err(|error| self.corrupt(error))?;
            parts.push((vip, backend.to_owned(), change));
        }
        Ok(Overlay::from_parts(parts))
    }

    /// The journal, oldest entry first.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn journal(&self) -> Result<Vec<JournalEntry>, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(JOURNAL).map_err(|error| self.error(error))?;
        let mut entries = Vec::new();
        for row in table.iter().map_err(|error| self.error(error))? {
            let (_, value) = row.map_err(|error| self.error(error))?;
            entries.push(serde_json::from_slice(value.value()).map_err(|error| self.corrupt(error))?);
        }
        Ok(entries)
    }

    /// When the slow starts that are under way began.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn slow_starts(&self) -> Result<SlowStarts, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = match read.open_table(SLOW) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(SlowStarts::new()),
            other => other.map_err(|error| self.error(error))?,
        };
        let mut found = SlowStarts::new();
        for row in table.iter().map_err(|error| self.error(error))? {
            let (key, began) = row.map_err(|error| self.error(error))?;
            let (vip, address) = key.value();
            let vip = vip.parse().map_err(|error| self.corrupt(error))?;
            let address = address.parse().map_err(|error| self.corrupt(error))?;
            found.insert((vip, address), SystemTime::UNIX_EPOCH + Duration::from_millis(began.value()));
        }
        Ok(found)
    }

    /// Replaces them. Durable on return.
    ///
    /// # Errors
    /// When the disk refuses; then nothing is changed.
    pub fn put_slow_starts(&self, began: &SlowStarts) -> Result<(), StoreError> {
        self.write(|write| {
            let mut table = write.open_table(SLOW)?;
            table.retain(|_, _| false)?;
            for ((vip, address), began) in began {
                let since_epoch = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let (vip, address) = (vip.to_string(), address.to_string());
                table.insert((vip.as_str(), address.as_str()), since_epoch.as_millis() as u64)?;
            }
            Ok(())
        })
    }

    /// Replaces `before`, which must be what is stored, by `after`, and appends to the journal. Durable on return.
    ///
    /// # Errors
    /// When the disk refuses; then nothing is changed.
    pub fn commit(
        &self,
        before: &Overlay,
        after: &Overlay,
        entry: Option<&JournalEntry>,
    ) -> Result<Undo, StoreError> {
        let journal = self.write(|write| {
            put_overlay(write, before, after)?;
            entry.map(|entry| append(write, entry)).transpose()
        })?;
        Ok(Undo { before: before.clone(), after: after.clone(), journal })
    }

    /// Takes the last commit back. Durable on return.
    ///
    /// # Errors
    /// When the disk refuses; then the commit stays.
    pub fn revert(&self, undo: Undo) -> Result<(), StoreError> {
        self.write(|write| {
            put_overlay(write, &undo.after, &undo.before)?;
            if let Some(sequence) = undo.journal {
                write.open_table(JOURNAL)?.remove(sequence)?;
            }
            Ok(())
        })
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> {
            let write = self.database.begin_write()?;
            let value = change(&write)?;
            write.commit()?;
            Ok(value)
        };
        run().map_err(|error| self.error(error))
    }

    fn format(&self) -> Result<Option<u64>, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(META).map_err(|error| self.error(error))?;
        let found = table.get(FORMAT_KEY).map_err(|error| self.error(error))?;
        Ok(found.map(|value| value.value()))
    }

    fn error(&self, error: impl Into<redb::Error>) -> StoreError {
        store_error(&self.path, error.into())
    }

    fn corrupt(&self, reason: impl ToString) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// Makes an empty database beside `path` and moves it there when it is whole, so that no half-made file is ever found.
fn create(path: &Path) -> Result<(), StoreError> {
    let cannot = |source: io::Error| StoreError::Create { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(cannot)?;
    let unfinished = path.with_extension("redb.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let fill = || -> Result<(), redb::Error> {
        let database = Database::create(&unfinished)?;
        let write = database.begin_write()?;
        write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
        write.open_table(OVERRIDES)?;
        write.open_table(JOURNAL)?;
        Ok(write.commit()?)
    };
    fill().map_err(|error| match error {
        redb::Error::Io(source) => cannot(source),
        other => store_error(path, other),
    })?;
    fs::rename(&unfinished, path).map_err(cannot)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(cannot)
}

fn put_overlay(write: &WriteTransaction, before: &Overlay, after: &Overlay) -> Result<(), redb::Error> {
    let mut table = write.open_table(OVERRIDES)?;
    for (vip, backend, _) in before.iter().filter(|(vip, backend, _)| after.get(*vip, backend).is_none()) {
        table.remove((vip.to_string().as_str(), backend))?;
    }
    let changed = after.iter().filter(|(vip, backend, change)| before.get(*vip, backend) != Some(*change));
    for (vip, backend, change) in changed {
        let value = json(change)?;
        table.insert((vip.to_string().as_str(), backend), value.as_slice())?;
    }
    Ok(())
}

fn append(write: &WriteTransaction, entry: &JournalEntry) -> Result<u64, redb::Error> {
    let mut table = write.open_table(JOURNAL)?;
    let sequence = table.last()?.map_or(0, |(last, _)| last.value() + 1);
    table.insert(sequence, json(entry)?.as_slice())?;
    while table.first()?.is_some_and(|(oldest, _)| oldest.value() + JOURNAL_LEN <= sequence) {
        table.pop_first()?;
    }
    Ok(sequence)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(value).map_err(|error| redb::Error::Io(error.into()))
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        DatabaseError::UpgradeRequired(version) => StoreError::Corrupt {
            path: path.to_owned(),
            reason: format!("it is a redb file of version {version}"),
        },
        DatabaseError::Storage(StorageError::Io(source)) if damaged(source.kind()) => {
            StoreError::Corrupt { path: path.to_owned(), reason: source.to_string() }
        }
        other => store_error(path, other.into()),
    }
}

const fn damaged(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn store_error(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::Corrupted(reason) => StoreError::Corrupt { path, reason },
        missing @ (redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. }) => {
            let reason = missing.to_string();
            StoreError::Corrupt { path, reason }
        }
        source => StoreError::Io { path, source: Box::new(source) },
    }
}

#[cfg(test)]
mod tests;
