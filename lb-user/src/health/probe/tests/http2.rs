//! HTTP/2 and gRPC against servers that speak it, and against some that do not.

use hyper::Response;
use hyper::body::Bytes;

use super::*;

/// A server that gives each request this status, this body, and these trailers.
async fn speaks(status: u16, headers: Headers, body: &'static [u8], trailers: Option<Headers>) -> u16 {
    server(move |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            let ends = body.is_empty() && trailers.is_none();
            let mut send = respond.send_response(response.body(()).unwrap(), ends).unwrap();
            if !ends {
                send.send_data(Bytes::from_static(body), trailers.is_none()).unwrap();
            }
            if let Some(trailers) = trailers {
                let map =
                    trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                send.send_trailers(map.collect()).unwrap();
            }
        }
    })
    .await
}

type Headers = &'static [(&'static str, &'static str)];

fn http2() -> HttpProbe {
    HttpProbe { version: HttpVersion::Http2, ..HttpProbe::default() }
}

fn grpc(service: &str) -> Probe {
    Probe::Grpc(GrpcProbe { service: service.to_owned(), ..GrpcProbe::default() })
}

const GOOD: Headers = &[("grpc-status", "0")];

#[tokio::test]
async fn status_and_body_decide_as_with_http1() {
    let port = speaks(200, &[], b"role: SUCCESS", None).await;
    assert_eq!(http(http2(), port).await, Ok(Pass::default()));
    let with = |text: &str| HttpProbe { body_contains: Some(text.to_owned()), ..http2() };
    assert_eq!(http(with("SUCCESS"), port).await, Ok(Pass::default()));
    let other = said(http(with("FAILED"), port).await);
    assert_eq!(other, "status 200, but the body does not contain what is expected");
    let ill = speaks(503, &[], b"", None).await;
    assert_eq!(said(http(http2(), ill).await), "unexpected status 503");
}

#[tokio::test]
async fn a_grpc_server_says_whether_a_service_serves() {
    let answered = |body| speaks(200, &[], body, Some(GOOD));
    let serving = answered(&[0, 0, 0, 0, 2, 8, 1]).await;
    assert_eq!(run(grpc(""), serving, LONG).await, Ok(Pass::default()));
    assert_eq!(run(grpc("shop.Cart"), serving, LONG).await, Ok(Pass::default()));
    let not = answered(&[0, 0, 0, 0, 2, 8, 2]).await;
    assert_eq!(said(run(grpc(""), not, LONG).await), "the server says NOT_SERVING");
    let unknown = answered(&[0, 0, 0, 0, 0]).await;
    assert_eq!(said(run(grpc(""), unknown, LONG).await), "the server says UNKNOWN");
    let other = answered(b"\0\0\0\0\x05hello").await;
    assert_eq!(said(run(grpc(""), other, LONG).await), "the answer is not about health");
}

#[tokio::test]
async fn a_grpc_error_is_told_whether_in_headers_or_in_trailers() {
    let early = speaks(200, &[("grpc-status", "5")], b"", None).await;
    assert_eq!(said(run(grpc("x"), early, LONG).await), "the server does not know the service");
    let late = speaks(200, &[], b"", Some(&[("grpc-status", "12")])).await;
    assert_eq!(said(run(grpc("x"), late, LONG).await), "the server has no health service");
    let other = speaks(200, &[], b"", Some(&[("grpc-status", "14"), ("grpc-message", "no database")])).await;
    assert_eq!(said(run(grpc("x"), other, LONG).await), "gRPC status 14 no database");
    let no_grpc = speaks(200, &[], b"hello", None).await;
    assert_eq!(said(run(grpc("x"), no_grpc, LONG).await), "the answer is not gRPC: it has no status");
    let web = speaks(404, &[], b"", None).await;
    assert_eq!(said(run(grpc("x"), web, LONG).await), "unexpected status 404");
}

#[tokio::test]
async fn what_is_not_http2_is_called_so_and_bounded() {
    let http1 = answers("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(said(http(http2(), http1).await), "the answer is not HTTP/2");
    let closes = answers("").await;
    assert_eq!(said(http(http2(), closes).await), "connection closed while waiting for an answer");
    // A PING after the other, after empty SETTINGS.
    let pings = drips("\0\0\0\x04\0\0\0\0\0", b"\0\0\x08\x06\0\0\0\0\0abcdefgh", Duration::ZERO).await;
    assert!(http(http2(), pings).await.is_err());
    // Header fragments without end (CONTINUATION).
    let headers =
        drips("\0\0\0\x04\0\0\0\0\0\0\0\0\x01\0\0\0\0\x01", b"\0\0\x01\x09\0\0\0\0\x01\x40", Duration::ZERO);
    assert!(http(http2(), headers.await).await.is_err());
    let garbage = drips("", &[0xff; 1024], Duration::ZERO).await;
    assert!(http(http2(), garbage).await.is_err());
    let silent = drips("", b"", Duration::from_secs(1)).await;
    let late = said(run(Probe::Http(http2()), silent, SHORT).await);
    assert_eq!(late, "timed out after 150ms while waiting for an answer");
}

#[tokio::test]
async fn a_body_without_end_is_read_within_bounds() {
    let port = server(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let Some(Ok((_request, mut respond))) = connection.accept().await else { return };
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        loop {
            send.reserve_capacity(4096);
            match std::future::poll_fn(|context| send.poll_capacity(context)).await {
                Some(Ok(room)) => send.send_data(vec![b'x'; room].into(), false).unwrap(),
                _ => return,
            }
        }
    })
    .await;
    let wants = HttpProbe { body_contains: Some("y".to_owned()), ..http2() };
    assert_eq!(said(http(wants, port).await), "status 200, but the body does not contain what is expected");
    assert_eq!(said(run(grpc(""), port, LONG).await), "the answer is too long for one about health");
}
