//! What comes behind the head of an answer, piece by piece, and the connection that has to move meanwhile.

use std::fmt;
use std::pin::Pin;

use h2::RecvStream;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use super::{Failure, http1, http2};

/// A body that is read.
pub(super) enum Body {
    Http1(Incoming),
    Http2(RecvStream),
}

impl Body {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Http1(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                if let Ok(data) = frame.map_err(|error| http1::failed(&error))?.into_data() {
                    return Ok(Some(data));
                }
            },
            Self::Http2(body) => {
                let Some(data) = body.data().await else { return Ok(None) };
                let data = data.map_err(|error| http2::failed(&error))?;
                // The peer may send as much again.
                let _ = body.flow_control().release_capacity(data.len());
                Ok(Some(data))
            }
        }
    }
}

/// The side of a connection that reads and writes. It moves only while something is waited for with [`Driver::during`].
pub(super) struct Driver(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Driver {
    pub(super) fn new(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(connection)))
    }

    /// Waits for `work`. The connection may end first; what it has brought is still there.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Some(connection) = &mut self.0 {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = connection => {}
            }
            self.0 = None;
        }
        work.await
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.0.is_some()).finish()
    }
}
