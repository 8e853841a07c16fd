//! Messages over a stream.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::message::{self, HEAD_LEN, MessageError};
use crate::controller::Refused;

/// The other side says something several times in this time, or it is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// For connecting and greeting.
pub(super) const BEGIN: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("{0}")]
    Differs(String),
    #[error(transparent)]
    Refused(#[from] Refused),
}

pub(super) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> Result<T, Ended> {
    let body = timeout(SILENCE, async {
        let mut head = [0; HEAD_LEN];
        from.read_exact(&mut head).await?;
        let mut body = Vec::new();
        let len = message::body_len(head)?;
        // What does not come takes no memory.
        from.take(len as u64).read_to_end(&mut body).await?;
        if body.len() < len { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(body) }
    });
    let body = body.await.unwrap_or(Err(Ended::Silent))?;
    Ok(message::message(&body)?)
}

pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), what: &impl Serialize) -> Result<(), Ended> {
    let frame = message::frame(what)?;
    let written = timeout(SILENCE, async {
        to.write_all(&frame).await?;
        to.flush().await
    });
    Ok(written.await.map_err(|_| Ended::Silent)??)
}
