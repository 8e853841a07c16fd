//! A connection by HTTP/1, for one request or for some of them.

use std::error::Error;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::Failure;
use super::body::Driver;
use super::tls::Stream;

/// The head of an answer, in bytes.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 128;

/// An answer of which the head is read.
pub(super) type Opened = Response<Incoming>;

#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: Driver,
    /// Requests that it may still be used for.
    left: u32,
    is_used: bool,
}

impl Connection {
    pub(super) async fn open(stream: Stream, requests: u32) -> Result<Self, Failure> {
        let mut builder = Builder::new();
        builder.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let driver = Driver::new(async {
            let _ = connection.await;
        });
        Ok(Self { sender, driver, left: requests, is_used: false })
    }

    /// Whether the next request is the last one.
    pub(super) const fn is_last(&self) -> bool {
        self.left <= 1
    }

    /// Whether no further request is to be made.
    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }

    pub(super) async fn ask(&mut self, request: Request<Empty<Bytes>>) -> Result<Opened, Failure> {
        self.left = self.left.saturating_sub(1);
        let (sender, is_used) = (&mut self.sender, self.is_used);
        self.is_used = true;
        let asked = async {
            // A new connection is not waited on: a server that speaks first is no HTTP server, and is judged by what it says.
            if is_used {
                sender.ready().await?;
            }
            sender.send_request(request).await
        };
        self.driver.during(asked).await.map_err(|error| failed(&error))
    }

    /// Waits for something that needs the connection.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.driver.during(work).await
    }
}

/// What went wrong on the connection.
pub(super) fn failed(error: &hyper::Error) -> Failure {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Failure::socket(io, "waiting for an answer");
        }
        source = inner.source();
    }
    if error.is_parse_too_large() {
        Failure::Answer("the head of the answer is too long".to_owned())
    } else if error.is_parse() {
        Failure::Answer("the answer is not HTTP".to_owned())
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Failure::Closed("waiting for an answer")
    } else {
        Failure::Answer(error.to_string())
    }
}
