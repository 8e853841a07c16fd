//! Asks a gRPC server for its health: `Check` of `grpc.health.v1.Health`, of one service or of the server as a whole.
//! (github.com/grpc/grpc, doc/health-checking.md and doc/PROTOCOL-HTTP2.md)

use std::net::SocketAddr;

use hyper::body::Bytes;
use hyper::{HeaderMap, Request, Version};

use super::body::Body;
use super::{Failure, Pass, Peer, Stage, Tls, http2, server_of, tls};

/// A question for a service's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrpcProbe {
    /// Empty: the server as a whole.
    pub service: String,
    /// The authority of the request; without one it is address and port.
    pub host: Option<String>,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
}

/// An answer has one field; what is longer is none.
const MESSAGE_MAX: usize = 1024;

impl GrpcProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let request = self.request(peer.at);
        let request = request.map_err(|error| Failure::Setup(format!("no valid request: {error}")))?;
        let name = self.host.as_deref().map(server_of);
        let stream = tls::stream(peer, self.tls.as_ref(), name, tls::HTTP2, stage).await?;
        stage.enter("waiting for an answer");
        let (response, mut driver) = http2::ask(stream, request, Some(question(&self.service))).await?;
        if response.status() != 200 {
            return Err(Failure::Status(response.status().as_u16()));
        }
        // A refusal may come without a body, its status among the headers.
        refusal(response.headers())?;
        let mut body = Body::Http2(response.into_body());
        let answer = async {
            let mut read = Vec::new();
            while let Some(piece) = body.next().await? {
                if read.len() + piece.len() > MESSAGE_MAX {
                    return Err(Failure::Answer("the answer is too long for one about health".to_owned()));
                }
                read.extend_from_slice(&piece);
            }
            let Body::Http2(rest) = &mut body else { return Ok((read, None)) };
            let trailers = rest.trailers().await.map_err(|error| http2::failed(&error))?;
            Ok((read, trailers))
        };
        let (read, trailers) = driver.during(answer).await?;
        match trailers {
            Some(trailers) if trailers.contains_key("grpc-status") => refusal(&trailers)?,
            _ => return Err(Failure::Answer("the answer is not gRPC: it has no status".to_owned())),
        }
        match status(&read) {
            Some(SERVING) => Ok(Pass::default()),
            Some(0) => Err(Failure::Answer("the server says UNKNOWN".to_owned())),
            Some(2) => Err(Failure::Answer("the server says NOT_SERVING".to_owned())),
            Some(3) => Err(Failure::Answer("the server says SERVICE_UNKNOWN".to_owned())),
            Some(_) | None => Err(Failure::Answer("the answer is not about health".to_owned())),
        }
    }

    fn request(&self, at: SocketAddr) -> Result<Request<()>, hyper::http::Error> {
        let host = self.host.clone().unwrap_or_else(|| at.to_string());
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Request::builder()
            .method("POST")
            .uri(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "ferrolev-health")
            .body(())
    }

    /// Why no request can be made of the settings.
    #[must_use]
    pub fn why_unusable(&self) -> Option<String> {
        self.request(SocketAddr::from(([127, 0, 0, 1], 80))).err().map(|error| error.to_string())
    }
}

const SERVING: u64 = 1;

/// `HealthCheckRequest`: field 1 is the service's name.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut len = service.len();
        while len > 0x7f {
            message.push(len as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &len, &message].concat().into()
}

/// The error that headers or trailers tell of.
fn refusal(headers: &HeaderMap) -> Result<(), Failure> {
    const UNIMPLEMENTED: &str = "12";
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status").as_deref() {
        None | Some("0") => Ok(()),
        Some("5") => Err(Failure::Answer("the server does not know the service".to_owned())),
        Some(UNIMPLEMENTED) => Err(Failure::Answer("the server has no health service".to_owned())),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            let (code, message) = (shortened(code), shortened(&message));
            Err(Failure::Answer(format!("gRPC status {code} {message}").trim_end().to_owned()))
        }
    }
}

/// So much of a text as a line for people bears.
fn shortened(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).take(80).collect()
}

/// Field 1 of a `HealthCheckResponse` in one message; a field that is not there is 0.
fn status(framed: &[u8]) -> Option<u64> {
    let (head, mut message) = framed.split_at_checked(5)?;
    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    // No compression was offered.
    if head[0] != 0 || message.len() != len as usize {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let len = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(len..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, message.len() as u8][..], message].concat()
    }

    #[test]
    fn an_answer_is_read_with_fields_that_nobody_knows_yet() {
        assert_eq!(status(&framed(&[])), Some(0), "UNKNOWN is left out on the wire");
        assert_eq!(status(&framed(&[8, 1])), Some(SERVING));
        assert_eq!(status(&framed(&[8, 2])), Some(2));
        let unknown = [0x12, 2, 8, 1, 0x18, 0x80, 1, 0x25, 1, 2, 3, 4, 0x29, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1];
        assert_eq!(status(&framed(&unknown)), Some(SERVING));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let compressed = [1, 0, 0, 0, 2, 8, 1];
        for wrong in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 3, 8, 1], &[0, 0, 0, 0, 1, 8, 1], &compressed] {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
        for wrong in [&[8][..], &[8, 0x80], &[0x12, 9, 1], &[0x0b], &[0x25, 1], &[0x29], &[0, 1]] {
            assert_eq!(status(&framed(wrong)), None, "{wrong:?}");
        }
        assert_eq!(status(&framed(&[[8].as_slice(), &[0xff; 10]].concat())), None);
    }

    #[test]
    fn a_question_names_the_service() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = status(&bytes);
            let _ = status(&framed(&bytes));
        }
    }
}
