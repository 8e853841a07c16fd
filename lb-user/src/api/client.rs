//! The client of the API: one HTTP request a call over the daemon's unix socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::types::ApiError;

/// Long enough for a reload that loads the program anew.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Talks to the daemon behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket, timeout: DEFAULT_TIMEOUT }
    }

    /// The same client with another limit for each call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// # Errors
    /// When the daemon cannot be reached, or with what it refused.
    pub async fn get(&self, path: &str) -> Result<Reply, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Sends `body` as JSON.
    ///
    /// # Errors
    /// When the daemon cannot be reached, or with what it refused.
    pub async fn post(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<Reply, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.strange(format!("request: {error}")))?;
        self.call(Method::POST, path, body.into()).await
    }

    /// Sends `body` as it is.
    ///
    /// # Errors
    /// When the daemon cannot be reached, or with what it refused.
    pub async fn post_text(&self, path: &str, body: String) -> Result<Reply, ClientError> {
        self.call(Method::POST, path, body.into()).await
    }

    /// Sends no body.
    ///
    /// # Errors
    /// When the daemon cannot be reached, or with what it refused.
    pub async fn post_empty(&self, path: &str) -> Result<Reply, ClientError> {
        self.call(Method::POST, path, Bytes::new()).await
    }

    /// Writes the body as it comes, however long it is. `sink` fails with what to say.
    ///
    /// # Errors
    /// When the daemon cannot be reached, with what it refused, or with what `sink` said.
    pub async fn copy(
        &self,
        path: &str,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| self.unreachable(source))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(io::Error::other(error)))?;
        let request = Request::builder().uri(path).header(header::HOST, "ferrolev");
        let request = request
            .body(Full::new(Bytes::new()))
            .map_err(|error| self.strange(format!("request {path}: {error}")))?;
        let answer = async {
            let broken = |error| self.strange(format!("its answer breaks off: {error}"));
            let response = sender.send_request(request).await.map_err(broken)?;
            let (head, mut body) = response.into_parts();
            if !head.status.is_success() {
                let body = body.collect().await.map_err(broken)?.to_bytes();
                return self.reply(head.status, &body).map(|_| ());
            }
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    sink(&data).map_err(|source| ClientError::Sink { source })?;
                }
            }
            Ok(())
        };
        let connection = async {
            // As in `exchange`.
            let _ = connection.await;
            std::future::pending::<()>().await
        };
        tokio::select! {
            answer = answer => answer,
            () = connection => Err(self.strange("it closed the connection".to_owned())),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, ClientError> {
        match timeout(self.timeout, self.exchange(method, path, body)).await {
            Ok(result) => result,
            Err(_) => {
                Err(ClientError::Timeout { socket: self.socket.clone(), seconds: self.timeout.as_secs_f64() })
            }
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| self.unreachable(source))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(io::Error::other(error)))?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "ferrolev");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| self.strange(format!("request {path}: {error}")))?;
        // The connection is driven here and not by a task: nothing of it outlives the call.
        let answer = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, hyper::Error>((head.status, body.collect().await?.to_bytes()))
        };
        let connection = async {
            // An error of the connection ends the request, too, and is reported there.
            let _ = connection.await;
            std::future::pending().await
        };
        let (status, body) = tokio::select! {
            answer = answer => answer.map_err(|error| self.unreachable(io::Error::other(error)))?,
            () = connection => return Err(self.strange("it closed the connection".to_owned())),
        };
        self.reply(status, &body)
    }

    fn reply(&self, status: StatusCode, body: &[u8]) -> Result<Reply, ClientError> {
        let text = String::from_utf8_lossy(body).into_owned();
        if status.is_success() {
            return Ok(Reply { body: text, socket: self.socket.clone() });
        }
        Err(match serde_json::from_str::<ApiError>(&text) {
            Ok(ApiError { error }) => ClientError::Refused { status: status.as_u16(), error },
            Err(_) => self.strange(format!("HTTP status {status}")),
        })
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        let way_out = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "the socket is for root and its group; run this as root or with sudo"
            }
            _ => "is 'ferrolev run' active? name another socket with --socket",
        };
        ClientError::Unreachable { socket: self.socket.clone(), source, way_out }
    }

    fn strange(&self, what: String) -> ClientError {
        ClientError::Strange { socket: self.socket.clone(), what }
    }
}

/// The body of a successful answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub body: String,
    socket: PathBuf,
}

impl Reply {
    /// # Errors
    /// When the body is not what `T` expects, as from a daemon of another version.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.body)
            .map_err(|error| ClientError::Strange { socket: self.socket.clone(), what: error.to_string() })
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach the daemon at {}: {source}; {way_out}", socket.display())]
    Unreachable { socket: PathBuf, source: io::Error, way_out: &'static str },
    #[error(
        "the daemon at {} did not answer within {seconds} s; look at its log, or name another socket with --socket",
        socket.display()
    )]
    Timeout { socket: PathBuf, seconds: f64 },
    #[error("cannot write what the daemon sends: {source}")]
    Sink { source: io::Error },
    /// The daemon's own words.
    #[error("{error}")]
    Refused { status: u16, error: String },
    #[error(
        "cannot understand the daemon at {}: {what}; is it of the same version as this command? See 'ferrolev --version'",
        socket.display()
    )]
    Strange { socket: PathBuf, what: String },
}

/// `text` as one segment of a path: all but RFC 3986's unreserved characters percent-encoded.
#[must_use]
pub fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests;
