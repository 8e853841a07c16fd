//! Connects, and when asked to, says something and waits for an answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ANSWER_MAX, Failure, Pass, Peer, Stage, contains};

/// A connection, with what is said on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpProbe {
    pub send: Option<String>,
    /// Part of what has to come back, within the first 64 KiB.
    pub expect: Option<String>,
}

impl TcpProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let mut stream = peer.connect().await?;
        if let Some(send) = &self.send {
            stage.enter("sending");
            let sent = stream.write_all(send.as_bytes()).await;
            sent.map_err(|error| Failure::socket(&error, "sending"))?;
        }
        if let Some(expect) = &self.expect {
            stage.enter("waiting for an answer");
            await_text(&mut stream, expect.as_bytes()).await?;
        }
        Ok(Pass::default())
    }
}

async fn await_text(stream: &mut TcpStream, expect: &[u8]) -> Result<(), Failure> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < ANSWER_MAX {
        let read = stream.read(&mut piece).await;
        match read.map_err(|error| Failure::socket(&error, "waiting for an answer"))? {
            0 if answer.is_empty() => return Err(Failure::Closed("waiting for an answer")),
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
        // Only the end is new.
        let from = answer.len().saturating_sub(piece.len() + expect.len());
        if contains(&answer[from..], expect) {
            return Ok(());
        }
    }
    Err(Failure::Answer("the answer does not contain what is expected".to_owned()))
}
