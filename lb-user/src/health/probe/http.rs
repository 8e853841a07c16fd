//! One request over a connection of its own: the status, and when asked for, part of the body.

use std::fmt;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;

use super::tcp::connect;
use super::{ANSWER_MAX, Failure, Pass, Stage, contains};

/// A request, and which answers are good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpProbe {
    pub method: String,
    /// Path and query, from the `/` on.
    pub path: String,
    /// The `Host` header; without one it is address and port.
    pub host: Option<String>,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub version: HttpVersion,
    pub status: StatusSet,
    /// Within the first 64 KiB.
    pub body_contains: Option<String>,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            version: HttpVersion::default(),
            status: StatusSet::default(),
            body_contains: None,
        }
    }
}

/// The version of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    Http10,
    #[default]
    Http11,
}

/// Status codes as ranges, both ends in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusSet(pub Vec<(u16, u16)>);

impl Default for StatusSet {
    /// What says that the request was understood: 2xx and 3xx.
    fn default() -> Self {
        Self(vec![(200, 299), (300, 399)])
    }
}

impl StatusSet {
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// A code (`204`), a range (`200-204`) or a class (`2xx`).
    #[must_use]
    pub fn parse_one(text: &str) -> Option<(u16, u16)> {
        let code = |text: &str| {
            let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|code| plain && (100..=599).contains(code))
        };
        if let Some(class) = text.strip_suffix("xx") {
            let from = code(&format!("{class}00"))?;
            return Some((from, from + 99));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some((code(from)?, code(to)?)).filter(|(from, to)| from <= to)
    }

    /// Each part as [`Self::parse_one`] reads it.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let text = |(from, to): &(u16, u16)| match (from % 100, to - from) {
            (0, 99) => format!("{}xx", from / 100),
            (_, 0) => from.to_string(),
            _ => format!("{from}-{to}"),
        };
        self.0.iter().map(text).collect()
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(", "))
    }
}

/// The head of an answer, in bytes.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 128;

impl HttpProbe {
    pub(super) async fn run(&self, at: SocketAddr, stage: &Stage) -> Result<Pass, Failure> {
        let request =
            self.request(at).map_err(|error| Failure::Local(format!("no valid request: {error}")))?;
        let stream = connect(at).await?;
        stage.enter("waiting for an answer");
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            self.judge(response, stage).await
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            done = &mut exchange => done,
            // The connection may end first; what it has brought is still to be read.
            _ = connection => exchange.await,
        }
    }

    /// The request for the host at `at`.
    fn request(&self, at: SocketAddr) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
        let host = self.host.clone().unwrap_or_else(|| at.to_string());
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(self.path.as_str())
            .version(match self.version {
                HttpVersion::Http10 => Version::HTTP_10,
                HttpVersion::Http11 => Version::HTTP_11,
            })
            .header("host", host)
            .header("user-agent", "ferrolev-health")
            .header("connection", "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Empty::new())
    }

    /// Why no request can be made of the settings.
    #[must_use]
    pub fn why_unusable(&self) -> Option<String> {
        let any = SocketAddr::from(([127, 0, 0, 1], 80));
        self.request(any).err().map(|error| error.to_string())
    }

    async fn judge(&self, response: Response<Incoming>, stage: &Stage) -> Result<Pass, Failure> {
        let status = response.status().as_u16();
        if !self.status.contains(status) {
            return Err(Failure::Status(status));
        }
        let Some(wanted) = &self.body_contains else { return Ok(Pass::default()) };
        stage.enter("reading the body");
        let mut body = response.into_body();
        let mut read = Vec::new();
        while read.len() < ANSWER_MAX {
            let Some(frame) = body.frame().await else { break };
            let Ok(data) = frame.map_err(|error| failed(&error))?.into_data() else { continue };
            let new = data.len().min(ANSWER_MAX - read.len());
            let from = read.len().saturating_sub(wanted.len());
            read.extend_from_slice(&data[..new]);
            if contains(&read[from..], wanted.as_bytes()) {
                return Ok(Pass::default());
            }
        }
        Err(Failure::Answer(format!("status {status}, but the body does not contain what is expected")))
    }
}

/// What went wrong on the connection.
fn failed(error: &hyper::Error) -> Failure {
    let mut source = std::error::Error::source(error);
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
