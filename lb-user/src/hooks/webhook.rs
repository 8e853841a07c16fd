//! Sends an event as JSON by an HTTP/1.1 POST request; a status of 2xx is a success. Each call has a connection of its own, and
//! redirects are not followed: they would lead secrets elsewhere.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::caller::Failed;
use super::event::{Event, Place};
use super::secret;
use super::settings::{Address, Webhook};
use crate::build_info::VERSION;

/// Names of headers that are secrets, and belong into a file.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "private-token"];

pub(super) async fn post(webhook: &Webhook, event: &Event, place: &Place) -> Result<(), Failed> {
    let target = match &webhook.url {
        Address::Url(url) => Target::parse(url).map_err(str::to_owned),
        Address::File(path) => {
            Target::parse(&secret::read(path).await?).map_err(|why| format!("{path}: {why}"))
        }
    };
    let target = target.map_err(Failed::for_good)?;
    let mut headers = headers(&webhook.headers)?;
    if let Some(path) = &webhook.headers_file {
        let text = secret::read(path).await?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = header(line).map_err(|why| Failed::for_good(format!("{path}: {why}")))?;
            headers.insert(name, value);
        }
    }
    let body = Bytes::from(event.json(place).to_string());
    let stream = connect(&target).await?;
    if !target.is_tls {
        return exchange(stream, &target, headers, body).await;
    }
    let config = webhook.tls.client().await.map_err(Failed::for_now)?;
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| Failed::for_good("the host has no name for TLS"))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    exchange(stream.map_err(|error| target.failed("TLS", error))?, &target, headers, body).await
}

/// Where a request goes to.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    is_tls: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// As the `Host` header says it.
    authority: String,
    path: String,
}

impl Target {
    /// Why it is none, without the text itself, which may be a secret.
    fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.trim().parse().map_err(|_| "it is no URL")?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it does not begin with http:// or https://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a name or password in it; write an Authorization header into headers_file");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("it names no host");
        }
        Ok(Self {
            is_tls,
            host,
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// The path is left out: it may be a secret.
    fn failed(&self, what: &str, why: impl ToString) -> Failed {
        Failed::for_now(format!("{}: {what}: {}", self.authority, why.to_string()))
    }
}

/// Why this is no URL of a webhook.
pub(crate) fn why_no_url(url: &str) -> Option<&'static str> {
    Target::parse(url).err()
}

/// A header as it is written, such as `X-Team: net`.
pub(crate) fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line.split_once(':').ok_or("a header has a name, a ':' and a value")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "a header's name has other characters")?;
    let value = HeaderValue::try_from(value.trim()).map_err(|_| "a header's value has other characters")?;
    if [HOST, CONNECTION, CONTENT_TYPE].contains(&name) || name.as_str() == "content-length" {
        return Err("this header is set already");
    }
    Ok((name, value))
}

/// Whether the value of a header of this name is likely a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRET_HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Failed> {
    let headers = pairs.iter().map(|(name, value)| header(&format!("{name}: {value}")));
    headers.collect::<Result<_, _>>().map_err(Failed::for_good)
}

/// To the first of the host's addresses that takes the connection.
async fn connect(target: &Target) -> Result<TcpStream, Failed> {
    TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|error| target.failed("connecting", error))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), Failed> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| target.failed("HTTP", error))?;
    let mut request = Request::post(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, format!("ferrolev/{VERSION}"))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| target.failed("HTTP", error))?;
    request.headers_mut().extend(headers);
    let driven = async {
        // What goes wrong, the request is told.
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(|error| target.failed("HTTP", error))?,
        never = driven => match never {},
    };
    judge(response.status())
        .map_err(|failed| Failed { why: format!("{}: {}", target.authority, failed.why), ..failed })
}

/// Whether it is of use to ask again after an answer that is no success.
fn judge(status: StatusCode) -> Result<(), Failed> {
    let why = format!("the answer is {status}");
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failed::for_now(why))
        }
        _ if status.is_server_error() => Err(Failed::for_now(why)),
        _ if status.is_redirection() => Err(Failed::for_good(format!("{why}; redirects are not followed"))),
        _ => Err(Failed::for_good(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_has_scheme_host_port_and_path() {
        let target = Target::parse("https://hooks.example.com/T1/x?a=b\n").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.is_tls), ("hooks.example.com", 443, true));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("hooks.example.com", "/T1/x?a=b"));
        let target = Target::parse("http://[2001:db8::1]:8080").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("2001:db8::1", 8080, "/"));
        for wrong in
            ["hooks.example.com/x", "ftp://a/", "https:///x", "http://u:secret@a/", "", "http://a b/"]
        {
            let why = why_no_url(wrong).expect(wrong);
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn servers_in_trouble_are_asked_again_and_refusals_are_final() {
        let again = |status: u16| judge(StatusCode::from_u16(status).unwrap()).map_err(|failed| failed.again);
        for (status, expected) in [
            (200, Ok(())),
            (204, Ok(())),
            (503, Err(true)),
            (429, Err(true)),
            (404, Err(false)),
            (302, Err(false)),
        ] {
            assert_eq!(again(status), expected, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_readers(text in ".{0,60}") {
            let _ = (Target::parse(&text), header(&text));
            let _ = Target::parse(&format!("http://{text}"));
        }
    }
}
