//! The API socket: owned by one daemon at a time, and under its name only once its permissions are right.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Owner and group may talk to the daemon.
const MODE: u32 = 0o660;

/// Holds a socket path against other daemons, until dropped or the process ends.
#[derive(Debug)]
pub struct SocketLock {
    socket: PathBuf,
    bound: bool,
    // Never removed: a lock file that comes and goes can be held twice.
    _lock: File,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another ferrolev serves {0}; stop it, or give this one another --instance or --socket")]
    Taken(PathBuf),
    #[error("{0} is there and is not a socket; move it away or use --socket")]
    NotASocket(PathBuf),
    #[error("{path}: {source}; check that the directory can be written or use --socket")]
    Io { path: PathBuf, source: io::Error },
}

impl SocketLock {
    /// Takes hold of `socket`, making its directory when that is missing.
    ///
    /// # Errors
    /// When another daemon holds it or the directory cannot be written.
    pub fn acquire(socket: &Path) -> Result<Self, SocketError> {
        let path = beside(socket, ".lock");
        let failed = |source| SocketError::Io { path: path.clone(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SocketError::Taken(socket.to_owned()),
            TryLockError::Error(source) => failed(source),
        })?;
        Ok(Self { socket: socket.to_owned(), bound: false, _lock: lock })
    }

    /// Binds the socket, replacing the one of a dead process.
    ///
    /// # Errors
    /// When the path is taken by something else or cannot be written.
    pub fn bind(&mut self) -> Result<UnixListener, SocketError> {
        use std::os::unix::fs::FileTypeExt;
        let socket = self.socket.clone();
        let failed = |source| SocketError::Io { path: socket.clone(), source };
        match fs::symlink_metadata(&self.socket) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket(self.socket.clone()));
            }
            _ => {}
        }
        // Bound under another name until its permissions are right, then moved over whatever was there.
        let fresh = beside(&self.socket, ".new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(failed)?;
        fs::set_permissions(&fresh, Permissions::from_mode(MODE)).map_err(failed)?;
        fs::rename(&fresh, &self.socket).map_err(failed)?;
        self.bound = true;
        Ok(listener)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Drop for SocketLock {
    fn drop(&mut self) {
        if self.bound {
            // Nobody else can have bound it while the lock is held; a socket that is gone already is no harm.
            let _ = fs::remove_file(&self.socket);
        }
    }
}
