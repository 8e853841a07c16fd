//! A request by HTTP/2, over a connection of its own. What the peer may send before it is read is bounded by flow control, its
//! header lists by their size.

use h2::client::Builder;
use h2::{Reason, RecvStream};
use hyper::body::Bytes;
use hyper::{Request, Response};

use super::body::Driver;
use super::tls::Stream;
use super::{ANSWER_MAX, Failure};

/// The header list of an answer, in bytes.
const HEADERS_MAX: u32 = 16 << 10;
/// For streams that are over and of which something still comes.
const RESET_STREAMS_MAX: usize = 4;

/// Asks; what of the answer is still to come comes while the driver is used.
pub(super) async fn ask(
    stream: Stream,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<(Response<RecvStream>, Driver), Failure> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(HEADERS_MAX)
        .initial_window_size(ANSWER_MAX as u32)
        .initial_connection_window_size(ANSWER_MAX as u32)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX);
    let (sender, connection) = builder.handshake(stream).await.map_err(|error| failed(&error))?;
    let mut driver = Driver::new(async {
        let _ = connection.await;
    });
    let exchange = async {
        let mut sender = sender.ready().await?;
        let (response, mut rest) = sender.send_request(request, body.is_none())?;
        if let Some(body) = body {
            rest.send_data(body, true)?;
        }
        response.await
    };
    let response = driver.during(exchange).await.map_err(|error| failed(&error))?;
    Ok((response, driver))
}

/// What went wrong on the connection.
pub(super) fn failed(error: &h2::Error) -> Failure {
    if let Some(io) = error.get_io() {
        return Failure::socket(io, "waiting for an answer");
    }
    match error.reason() {
        Some(Reason::HTTP_1_1_REQUIRED) => Failure::Answer("the server wants HTTP/1.1".to_owned()),
        Some(_) if error.is_library() => Failure::Answer("the answer is not HTTP/2".to_owned()),
        Some(reason) => Failure::Answer(format!("the server ended the request: {}", reason.description())),
        None => Failure::Answer(error.to_string()),
    }
}
