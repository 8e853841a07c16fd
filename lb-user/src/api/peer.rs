//! Who is on the other end of the unix socket (`SO_PEERCRED`).

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use tokio::net::UnixListener;

use crate::controller::Caller;

/// The process that opened a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) Caller);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let caller = match stream.io().peer_cred() {
            Ok(credentials) => Caller { user: user_name(credentials.uid()), pid: credentials.pid() },
            Err(error) => {
                tracing::warn!(%error, "the kernel does not say who is on the socket");
                Caller { user: "unknown".to_owned(), pid: None }
            }
        };
        Self(caller)
    }
}

fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_without_a_name_is_shown_as_a_number() {
        assert_eq!(user_name(4_123_456_789), "4123456789");
        assert_eq!(user_name(0), "root");
    }
}
