//! One request: the status, and when asked for, part of the body. In the clear or over TLS, by HTTP/1.0, 1.1 or 2.

use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, Version};

use super::body::Body;
use super::http1::{Connection, Opened};
use super::{
    ANSWER_MAX, Failure, Pass, Pattern, Peer, Stage, StatusSet, Tls, contains, http2, server_of, tls,
};

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
    /// Within the first 64 KiB.
    pub body_matches: Option<Pattern>,
    /// Over one connection; at least 1. More than one only below HTTP/2.
    pub requests: u32,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
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
            body_matches: None,
            requests: 1,
            tls: None,
        }
    }
}

/// The version of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl HttpProbe {
    pub(super) async fn run(
        &self,
        peer: Peer<'_>,
        kept: &mut Option<Connection>,
        stage: &Stage,
    ) -> Result<Pass, Failure> {
        if self.version == HttpVersion::Http2 {
            return self.run_http2(peer, stage).await;
        }
        if let Some(mut connection) = kept.take() {
            let response = connection.ask(self.request_http1(peer.at, connection.is_last())?).await;
            match response {
                // Servers end idle connections when they like.
                Err(Failure::Closed(_)) => {}
                response => return self.conclude(connection, response?, kept, stage).await,
            }
        }
        stage.enter("connecting");
        let stream = tls::stream(peer, self.tls.as_ref(), self.name(), tls::HTTP1, stage).await?;
        stage.enter("waiting for an answer");
        let mut connection = Connection::open(stream, self.requests).await?;
        let response = connection.ask(self.request_http1(peer.at, connection.is_last())?).await?;
        self.conclude(connection, response, kept, stage).await
    }

    /// Judges an answer, and keeps the connection for the next request when it can be kept.
    async fn conclude(
        &self,
        mut connection: Connection,
        response: Opened,
        kept: &mut Option<Connection>,
        stage: &Stage,
    ) -> Result<Pass, Failure> {
        let status = response.status().as_u16();
        let keeps = !connection.is_over();
        let judged = self.judge(status, Body::Http1(response.into_body()), keeps, stage);
        let is_read = connection.during(judged).await?;
        if keeps && is_read {
            *kept = Some(connection);
        }
        Ok(Pass::default())
    }

    async fn run_http2(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let request = self.request_http2(peer.at).map_err(unusable)?;
        let stream = tls::stream(peer, self.tls.as_ref(), self.name(), tls::HTTP2, stage).await?;
        stage.enter("waiting for an answer");
        let (response, mut driver) = http2::ask(stream, request, None).await?;
        let status = response.status().as_u16();
        let judged = self.judge(status, Body::Http2(response.into_body()), false, stage);
        driver.during(judged).await.map(|_| Pass::default())
    }

    /// Whether an answer is good, and whether all of it has been read: `keeps` asks for that.
    async fn judge(&self, status: u16, mut body: Body, keeps: bool, stage: &Stage) -> Result<bool, Failure> {
        if !self.status.contains(status) {
            return Err(Failure::Status(status));
        }
        let wanted = self.body_contains.as_ref().map_or(&[][..], |text| text.as_bytes());
        let (mut read, mut is_there, mut is_read) = (Vec::new(), wanted.is_empty(), false);
        while read.len() < ANSWER_MAX && (keeps || !is_there || self.body_matches.is_some()) {
            stage.enter("reading the body");
            let Some(piece) = body.next().await? else {
                is_read = true;
                break;
            };
            let new = piece.len().min(ANSWER_MAX - read.len());
            let from = read.len().saturating_sub(wanted.len());
            read.extend_from_slice(&piece[..new]);
            is_there = is_there || contains(&read[from..], wanted);
        }
        let lacks = |what| Failure::Answer(format!("status {status}, but the body does not {what}"));
        if !is_there {
            return Err(lacks("contain what is expected"));
        }
        match &self.body_matches {
            Some(pattern) if !pattern.is_in(&read) => Err(lacks("match the pattern")),
            _ => Ok(is_read),
        }
    }

    /// The server's name as far as the settings say it.
    fn name(&self) -> Option<&str> {
        self.host.as_deref().map(server_of)
    }

    fn request_http1(&self, at: SocketAddr, is_last: bool) -> Result<Request<Empty<Bytes>>, Failure> {
        self.build_http1(at, is_last).map_err(unusable)
    }

    fn build_http1(
        &self,
        at: SocketAddr,
        is_last: bool,
    ) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
        let version = if self.version == HttpVersion::Http10 { Version::HTTP_10 } else { Version::HTTP_11 };
        let request = Request::builder()
            .method(self.method.as_str())
            .uri(self.path.as_str())
            .version(version)
            .header("host", self.host.clone().unwrap_or_else(|| at.to_string()))
            .header("connection", if is_last { "close" } else { "keep-alive" });
        self.with_headers(request).body(Empty::new())
    }

    fn request_http2(&self, at: SocketAddr) -> Result<Request<()>, hyper::http::Error> {
        let host = self.host.clone().unwrap_or_else(|| at.to_string());
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let request = Request::builder()
            .method(self.method.as_str())
            .uri(format!("{scheme}://{host}{}", self.path))
            .version(Version::HTTP_2);
        self.with_headers(request).body(())
    }

    fn with_headers(&self, request: hyper::http::request::Builder) -> hyper::http::request::Builder {
        let request = request.header("user-agent", "ferrolev-health");
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Why no request can be made of the settings.
    #[must_use]
    pub fn why_unusable(&self) -> Option<String> {
        let any = SocketAddr::from(([127, 0, 0, 1], 80));
        let error = match self.version {
            HttpVersion::Http2 => self.request_http2(any).err(),
            HttpVersion::Http10 | HttpVersion::Http11 => self.build_http1(any, true).err(),
        };
        error.map(|error| error.to_string())
    }
}

fn unusable(error: hyper::http::Error) -> Failure {
    Failure::Setup(format!("no valid request: {error}"))
}
