//! HTTP receivers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;
use crate::health::probe::Tls;

/// What a receiver was told, each with the status that it answered.
type Told = Arc<Mutex<Vec<(HeaderMap, serde_json::Value)>>>;

/// A receiver that answers with these, and then with 204.
async fn receiver(answers: &[u16]) -> (SocketAddr, Told) {
    let told = Told::default();
    let (mut answers, known) = (answers.to_vec(), told.clone());
    answers.reverse();
    let answers = Arc::new(Mutex::new(answers));
    let take = move |headers: HeaderMap, body: Bytes| async move {
        known.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
        StatusCode::from_u16(answers.lock().unwrap().pop().unwrap_or(204)).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/hook", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, told)
}

fn webhook(url: String) -> Webhook {
    let tls = Tls::new(None, true, None, None);
    Webhook { url: Address::Url(url), headers: Vec::new(), headers_file: None, tls }
}

#[tokio::test]
async fn a_receiver_gets_json_and_headers_also_from_files() {
    let (address, told) = receiver(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let webhook = Webhook {
        url: Address::File(file("url", &format!("http://{address}/hook\n"))),
        headers: vec![("X-Team".to_owned(), "net".to_owned())],
        headers_file: Some(file("headers", "Authorization: Bearer s3cret\n\n")),
        ..webhook(String::new())
    };
    let hooks = running(&[("h", hook(Call::Webhook(webhook)))]);
    hooks.tell(down("web-1"));
    until(&hooks, "h", |report| report.sent == 1).await;
    let told = told.lock().unwrap();
    let (headers, json) = &told[0];
    assert_eq!(
        (&headers["x-team"], &headers["authorization"]),
        (&"net".parse().unwrap(), &"Bearer s3cret".parse().unwrap())
    );
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(
        (&json["event"], &json["backends"][0], &json["host"]),
        (&"backend_down".into(), &"web-1".into(), &"lb1.example.com".into())
    );
}

#[tokio::test]
async fn a_receiver_in_trouble_is_asked_again_and_the_order_stays() {
    let (address, told) = receiver(&[503]).await;
    let call = Call::Webhook(webhook(format!("http://{address}/hook")));
    let hooks = running(&[("h", Hook { tries: 3, ..hook(call) })]);
    hooks.tell(down("1"));
    hooks.tell(down("2"));
    let report = until(&hooks, "h", |report| report.sent == 2).await;
    assert_eq!((report.tries_failed, report.failed), (1, 0));
    assert!(report.last_failure.unwrap().1.ends_with("the answer is 503 Service Unavailable"));
    let names: Vec<_> = told.lock().unwrap().iter().map(|(_, json)| json["backends"][0].clone()).collect();
    assert_eq!(names, ["1", "1", "2"]);
}

#[tokio::test]
async fn a_refusal_is_final_and_an_address_in_the_path_is_not_told() {
    let (address, told) = receiver(&[400]).await;
    let call = Call::Webhook(webhook(format!("http://{address}/hook?token=s3cret")));
    let hooks = running(&[("h", Hook { tries: 3, ..hook(call) })]);
    hooks.tell(down("1"));
    let report = until(&hooks, "h", |report| report.failed == 1).await;
    assert_eq!(report.last_failure.unwrap().1, format!("{address}: the answer is 400 Bad Request"));
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_not_there_is_given_up_in_time_and_delays_no_other() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = webhook(format!("http://{}/hook", hanging.local_addr().unwrap()));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (address, told) = receiver(&[]).await;
    let hooks = running(&[
        ("hangs", Hook { timeout: Duration::from_millis(500), ..hook(Call::Webhook(hangs)) }),
        ("closed", hook(Call::Webhook(webhook(format!("http://{closed}/hook"))))),
        ("works", hook(Call::Webhook(webhook(format!("http://{address}/hook"))))),
    ]);
    (1..=5).for_each(|number| hooks.tell(down(&number.to_string())));
    until(&hooks, "works", |report| report.sent == 5).await;
    assert_eq!(report(&hooks, "hangs").sent + report(&hooks, "hangs").failed, 0, "it still waits");
    assert_eq!(told.lock().unwrap().len(), 5);
    let closed = until(&hooks, "closed", |report| report.failed == 5).await;
    assert!(closed.last_failure.unwrap().1.contains("refused"));
    let hangs = until(&hooks, "hangs", |report| report.failed == 1).await;
    assert_eq!(hangs.last_failure.unwrap().1, "it took longer than 500ms");
}

#[tokio::test]
async fn https_is_spoken_with_receivers_whose_certificate_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let server = super::mail::certificate(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = server.acceptor.accept(stream).await else { continue };
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let of = |ca: Option<String>| Webhook {
        tls: Tls::new(None, true, ca, None),
        ..webhook(format!("https://localhost:{port}/hook"))
    };
    let hooks = running(&[
        ("trusts", hook(Call::Webhook(of(Some(server.path))))),
        ("doubts", hook(Call::Webhook(of(None)))),
    ]);
    hooks.tell(down("1"));
    until(&hooks, "trusts", |report| report.sent == 1).await;
    let doubts = until(&hooks, "doubts", |report| report.failed == 1).await;
    let why = doubts.last_failure.unwrap().1;
    assert!(why.contains("UnknownIssuer") || why.contains("no trusted certificates"), "{why}");
}
