//! Each probe against small servers that answer well, badly, slowly, without end, or not at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

/// A server that takes connections until the test is over, and does `serve` with each.
async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// A server that reads a request and answers with `text`, then closes.
async fn answers(text: impl Into<Vec<u8>>) -> u16 {
    let text = text.into();
    server(move |mut stream| {
        let text = text.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&text).await;
        }
    })
    .await
}

/// A server that sends `head`, and then `piece` for ever with `pause` in between.
async fn drips(head: &'static str, piece: &'static [u8], pause: Duration) -> u16 {
    server(move |mut stream| async move {
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(piece).await.is_ok() {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    })
    .await
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap().port()
}

async fn run(probe: Probe, port: u16, limit: Duration) -> Result<Pass, Failure> {
    let began = Instant::now();
    let (origin, mut kept) = (Origin::default(), Kept::default());
    let peer = Peer { at: SocketAddr::new(HERE, port), origin: &origin };
    let report = probe.run(peer, &mut kept, limit).await;
    assert!(began.elapsed() < limit + Duration::from_secs(2), "a probe keeps to its time: {report:?}");
    report.result
}

async fn http(probe: HttpProbe, port: u16) -> Result<Pass, Failure> {
    run(Probe::Http(probe), port, LONG).await
}

fn said(result: Result<Pass, Failure>) -> String {
    result.expect_err("a failure").to_string()
}

fn tcp(send: Option<&str>, expect: Option<&str>) -> Probe {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Probe::Tcp(TcpProbe { send: text(send), expect: text(expect) })
}

#[tokio::test]
async fn a_port_that_takes_connections_passes_and_one_that_does_not_is_refused() {
    let open = server(|_stream| async {}).await;
    assert_eq!(run(tcp(None, None), open, LONG).await, Ok(Pass::default()));
    let refused = run(tcp(None, None), closed_port().await, LONG).await;
    assert_eq!(refused, Err(Failure::Refused));
    assert_eq!(said(refused), "connection refused");
}

#[tokio::test]
async fn a_conversation_passes_with_the_answer_that_is_expected() {
    let port = answers("$7\r\n+PONG\r\n").await;
    assert_eq!(run(tcp(Some("PING\r\n"), Some("+PONG")), port, LONG).await, Ok(Pass::default()));
    let other = said(run(tcp(Some("PING\r\n"), Some("+PANG")), port, LONG).await);
    assert_eq!(other, "the answer does not contain what is expected");
    let silent = answers("").await;
    let closed = said(run(tcp(Some("PING\r\n"), Some("+PONG")), silent, LONG).await);
    assert_eq!(closed, "connection closed while waiting for an answer");
}

#[tokio::test]
async fn an_expected_text_is_found_across_reads() {
    let port = server(|mut stream| async move {
        for piece in ["x".repeat(5000), "read".to_owned(), "y 1".to_owned(), "23".to_owned()] {
            let _ = stream.write_all(piece.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    assert_eq!(run(tcp(None, Some("ready 123")), port, LONG).await, Ok(Pass::default()));
}

#[tokio::test]
async fn a_time_that_is_over_says_during_what() {
    let silent = server(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let late = said(run(tcp(None, Some("hello")), silent, SHORT).await);
    assert_eq!(late, "timed out after 150ms while waiting for an answer");
    let late = said(run(Probe::Http(HttpProbe::default()), silent, SHORT).await);
    assert_eq!(late, "timed out after 150ms while waiting for an answer");
    let slow = drips("HTTP/1.1 200 OK\r\n\r\n", b"x", Duration::from_millis(10)).await;
    let probe = HttpProbe { body_contains: Some("y".to_owned()), ..HttpProbe::default() };
    let late = said(run(Probe::Http(probe), slow, SHORT).await);
    assert_eq!(late, "timed out after 150ms while reading the body");
}

#[tokio::test]
async fn a_status_decides() {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
    let good = answers(status("204 No Content")).await;
    assert_eq!(http(HttpProbe::default(), good).await, Ok(Pass::default()));
    let moved = answers(status("302 Found")).await;
    assert_eq!(http(HttpProbe::default(), moved).await, Ok(Pass::default()));
    let ill = answers(status("503 Service Unavailable")).await;
    assert_eq!(said(http(HttpProbe::default(), ill).await), "unexpected status 503");
    let wanted = HttpProbe { status: StatusSet(vec![(503, 503)]), ..HttpProbe::default() };
    assert_eq!(http(wanted.clone(), ill).await, Ok(Pass::default()));
    assert_eq!(said(http(wanted, good).await), "unexpected status 204");
}

#[tokio::test]
async fn a_body_is_searched_whole_or_in_chunks() {
    let plain = answers("HTTP/1.1 200 OK\r\n\r\nrole: SUCCESS\n").await;
    let chunks =
        answers("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nSUCC\r\n3\r\nESS\r\n0\r\n\r\n")
            .await;
    for port in [plain, chunks] {
        let with = |text: &str| HttpProbe { body_contains: Some(text.to_owned()), ..HttpProbe::default() };
        assert_eq!(http(with("SUCCESS"), port).await, Ok(Pass::default()));
        let other = said(http(with("FAILED"), port).await);
        assert_eq!(other, "status 200, but the body does not contain what is expected");
    }
}

#[tokio::test]
async fn a_request_says_what_the_settings_say() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let port = server(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            request.truncate(read);
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
        }
    })
    .await;
    let probe = HttpProbe {
        method: "HEAD".to_owned(),
        path: "/health?deep=1".to_owned(),
        host: Some("www.example.org".to_owned()),
        headers: vec![("x-token".to_owned(), "secret".to_owned())],
        version: HttpVersion::Http10,
        ..HttpProbe::default()
    };
    assert_eq!(http(probe, port).await, Ok(Pass::default()));
    let request = seen.recv().await.unwrap();
    assert!(request.starts_with("HEAD /health?deep=1 HTTP/1.0\r\n"), "{request}");
    assert!(request.contains("host: www.example.org\r\n"), "{request}");
    assert!(request.contains("x-token: secret\r\n"), "{request}");
    assert_eq!(http(HttpProbe::default(), port).await, Ok(Pass::default()));
    let request = seen.recv().await.unwrap();
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
}

#[tokio::test]
async fn what_is_not_http_is_called_so_and_a_close_is_called_a_close() {
    let garbage = answers("\u{16}\u{3}\u{1} SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert_eq!(said(http(HttpProbe::default(), garbage).await), "the answer is not HTTP");
    let closes = answers("").await;
    assert_eq!(
        said(http(HttpProbe::default(), closes).await),
        "connection closed while waiting for an answer"
    );
    assert_eq!(http(HttpProbe::default(), closed_port().await).await, Err(Failure::Refused));
}

#[tokio::test]
async fn an_answer_without_end_is_read_within_bounds() {
    let headers = drips("HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n", Duration::ZERO).await;
    let said_of_headers = said(http(HttpProbe::default(), headers).await);
    assert_eq!(said_of_headers, "the head of the answer is too long");
    let line = drips("HTTP/1.1 200 OK\r\nx: ", b"xxxxxxxxxxxxxxxx", Duration::ZERO).await;
    assert_eq!(said(http(HttpProbe::default(), line).await), "the head of the answer is too long");
    let body = drips("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], Duration::ZERO).await;
    let wants = HttpProbe { body_contains: Some("y".to_owned()), ..HttpProbe::default() };
    assert_eq!(said(http(wants, body).await), "status 200, but the body does not contain what is expected");
    assert_eq!(http(HttpProbe::default(), body).await, Ok(Pass::default()), "the status was enough");
    let text = drips("", &[b'x'; 4096], Duration::ZERO).await;
    let other = said(run(tcp(None, Some("y")), text, LONG).await);
    assert_eq!(other, "the answer does not contain what is expected");
}

#[tokio::test]
async fn a_datagram_passes_with_its_answer_or_when_nobody_minds() {
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut datagram = [0; 64];
        loop {
            let (read, from) = socket.recv_from(&mut datagram).await.unwrap();
            if &datagram[..read] == b"ping" {
                socket.send_to(b"well: pong", from).await.unwrap();
            }
        }
    });
    let udp = |send: &str, expect: Option<&str>| {
        Probe::Udp(UdpProbe { send: send.to_owned(), expect: expect.map(str::to_owned) })
    };
    assert_eq!(run(udp("ping", Some("pong")), port, LONG).await, Ok(Pass::default()));
    assert_eq!(run(udp("quiet", None), port, LONG).await, Ok(Pass::default()));
    let other = said(run(udp("ping", Some("peng")), port, LONG).await);
    assert_eq!(other, "the answer does not contain what is expected");
    let late = said(run(udp("quiet", Some("pong")), port, SHORT).await);
    assert_eq!(late, "timed out after 150ms while waiting for an answer");
    let closed = UdpSocket::bind((HERE, 0)).await.unwrap().local_addr().unwrap().port();
    assert_eq!(run(udp("ping", None), closed, LONG).await, Err(Failure::Refused));
    assert_eq!(run(udp("ping", Some("pong")), closed, LONG).await, Err(Failure::Refused));
}

fn shell(script: &str, dynamic_weight: bool) -> Probe {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Probe::Exec(ExecProbe { command, dynamic_weight })
}

#[tokio::test]
async fn a_commands_exit_status_decides_and_may_ask_for_a_weight() {
    let weight = |weight: Option<u32>| Ok(Pass { weight: weight.map(Weight::Of), stated: false });
    assert_eq!(run(shell("exit 0", false), 1, LONG).await, weight(None));
    assert_eq!(run(shell("exit 0", true), 1, LONG).await, weight(None));
    assert_eq!(run(shell("exit 1", true), 1, LONG).await, Err(Failure::Exit(1)));
    assert_eq!(run(shell("exit 2", true), 1, LONG).await, weight(Some(0)));
    assert_eq!(run(shell("exit 255", true), 1, LONG).await, weight(Some(253)));
    assert_eq!(run(shell("exit 2", false), 1, LONG).await, Err(Failure::Exit(2)));
    assert_eq!(run(shell("kill -9 $$", true), 1, LONG).await, Err(Failure::Signal(9)));
    let knows = "test $FERROLEV_ADDRESS = 127.0.0.1 -a $FERROLEV_PORT = 81";
    assert_eq!(run(shell(knows, false), 81, LONG).await, weight(None));
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_a_failure_with_its_reason() {
    let missing = Probe::Exec(ExecProbe { command: vec!["/no/such".to_owned()], dynamic_weight: false });
    let failure = run(missing, 1, LONG).await.expect_err("there is no such command");
    assert_eq!(failure.outcome(), Outcome::Failed);
    assert_eq!(failure.to_string(), "cannot run /no/such: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", file.display());
    let late = said(run(shell(&script, false), 1, Duration::from_millis(500)).await);
    assert_eq!(late, "timed out after 500ms while running the command");
    let child = std::fs::read_to_string(&file).unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}/stat", child.trim()));
    for _ in 0..200 {
        // Ended, waited for or not.
        match std::fs::read_to_string(&process) {
            Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => return,
        }
    }
    panic!("{} lives on", process.display());
}

#[test]
fn status_codes_are_written_as_codes_ranges_and_classes() {
    let one = StatusSet::parse_one;
    assert_eq!(one("204"), Some((204, 204)));
    assert_eq!(one("200-204"), Some((200, 204)));
    assert_eq!(one("2xx"), Some((200, 299)));
    for wrong in ["", "2", "2x", "xx", "6xx", "099", "600", "204-200", "+20", "200-", "-200", "20000"] {
        assert_eq!(one(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn status_sets_read_back_as_they_are_written(
        ranges in prop::collection::vec((100u16..=599, 100u16..=599), 0..5)
    ) {
        let set = StatusSet(ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect());
        let read: Option<Vec<_>> = set.texts().iter().map(|text| StatusSet::parse_one(text)).collect();
        prop_assert_eq!(read, Some(set.0));
    }

    #[test]
    fn any_answer_ends_in_a_result(answer in prop::collection::vec(any::<u8>(), 0..300), http_like in any::<bool>()) {
        let answer = if http_like { [b"HTTP/1.1 200 OK\r\n".as_slice(), &answer].concat() } else { answer };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let port = answers(answer).await;
            let probe = HttpProbe { body_contains: Some("x".to_owned()), ..HttpProbe::default() };
            let _ = run(Probe::Http(probe), port, Duration::from_millis(300)).await;
        });
    }
}

mod http2;
mod others;
mod secure;

#[test]
fn whoever_asks_through_a_tunnel_asks_for_the_vip_unless_told_otherwise() {
    let vip = SocketAddr::from(([192, 0, 2, 1], 443));
    let of = |mut probe: Probe| {
        probe.ask_for(vip);
        match probe {
            Probe::Http(probe) => probe.host,
            Probe::Grpc(probe) => probe.host,
            Probe::Tls(probe) => probe.tls.server_name,
            _ => None,
        }
    };
    let told = Some("told.example".to_owned());
    assert_eq!(of(Probe::Http(HttpProbe::default())).as_deref(), Some("192.0.2.1:443"));
    assert_eq!(of(Probe::Grpc(GrpcProbe::default())).as_deref(), Some("192.0.2.1:443"));
    assert_eq!(of(Probe::Tls(TlsProbe::default())).as_deref(), Some("192.0.2.1"));
    assert_eq!(of(Probe::Http(HttpProbe { host: told.clone(), ..HttpProbe::default() })), told);
    assert_eq!(of(Probe::Grpc(GrpcProbe { host: told.clone(), ..GrpcProbe::default() })), told);
    let tls = Tls::new(told.clone(), false, None, None);
    assert_eq!(of(Probe::Tls(TlsProbe { tls })), told);
}

#[test]
fn a_server_is_named_without_its_port() {
    for (host, name) in [
        ("192.0.2.1:443", "192.0.2.1"),
        ("a.example", "a.example"),
        ("a.example:8443", "a.example"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
    ] {
        assert_eq!(server_of(host), name);
    }
}
