//! Sends a datagram. With something to expect an answer has to come; else it is enough that nobody says the port is closed.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Failure, Pass, Peer, Stage, contains};

/// A datagram and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UdpProbe {
    pub send: String,
    /// Part of what has to come back.
    pub expect: Option<String>,
}

/// So long a port may take to be said closed, when no answer is expected.
const SILENCE: Duration = Duration::from_millis(200);
const DATAGRAM_MAX: usize = 64 << 10;

impl UdpProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let socket = peer.datagrams().await?;
        let failed = |error: std::io::Error| Failure::socket(&error, "sending");
        socket.send(self.send.as_bytes()).await.map_err(failed)?;
        stage.enter("waiting for an answer");
        let Some(expect) = &self.expect else {
            return match timeout(SILENCE, answer(&socket)).await {
                Ok(Err(failure)) => Err(failure),
                Ok(Ok(_)) | Err(_) => Ok(Pass::default()),
            };
        };
        if contains(&answer(&socket).await?, expect.as_bytes()) {
            Ok(Pass::default())
        } else {
            Err(Failure::Answer("the answer does not contain what is expected".to_owned()))
        }
    }
}

async fn answer(socket: &UdpSocket) -> Result<Vec<u8>, Failure> {
    let mut datagram = vec![0; DATAGRAM_MAX];
    let read = socket.recv(&mut datagram).await;
    let read = read.map_err(|error| Failure::socket(&error, "waiting for an answer"))?;
    datagram.truncate(read);
    Ok(datagram)
}
