use std::os::unix::fs::PermissionsExt;

use crate::controller::{SocketError, SocketLock};

#[tokio::test]
async fn one_socket_is_served_by_one_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("deep/api.sock");
    let mut lock = SocketLock::acquire(&socket).unwrap();
    let listener = lock.bind().unwrap();
    assert!(matches!(SocketLock::acquire(&socket), Err(SocketError::Taken(_))));
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop((listener, lock));
    assert!(!socket.exists());
    SocketLock::acquire(&socket).unwrap();
}

#[tokio::test]
async fn the_socket_of_a_dead_daemon_is_replaced_but_a_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut lock = SocketLock::acquire(&socket).unwrap();
    let listener = lock.bind().unwrap();
    tokio::net::UnixStream::connect(&socket).await.unwrap();
    drop((listener, lock));

    std::fs::write(&socket, "precious").unwrap();
    let mut lock = SocketLock::acquire(&socket).unwrap();
    assert!(matches!(lock.bind(), Err(SocketError::NotASocket(_))));
    drop(lock);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}
