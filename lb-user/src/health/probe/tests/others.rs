//! DNS, echo requests, agents, files, kept connections, and where probes come from.

use super::*;

fn dns(answer: Option<&str>, transport: Transport) -> Probe {
    let query = Name::parse("www.example.org").unwrap();
    let answer = answer.map(str::to_owned);
    Probe::Dns(DnsProbe { query, kind: RecordType::A, rcodes: vec![Rcode::NOERROR], answer, transport })
}

/// The answer to a query: with these flags, and one address or none.
fn answered(query: &[u8], flags: u16, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    if let Some(address) = address {
        message[7] = 1;
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend_from_slice(&address);
    }
    message
}

/// A name server whose answers by UDP and by TCP are made by `answer`: all of them, in this order.
async fn name_server(answer: fn(&[u8], bool) -> Vec<Vec<u8>>) -> u16 {
    let port = server(move |mut stream| async move {
        let len = stream.read_u16().await.unwrap();
        let mut query = vec![0; usize::from(len)];
        stream.read_exact(&mut query).await.unwrap();
        for message in answer(&query, true) {
            let _ = stream.write_u16(message.len() as u16).await;
            let _ = stream.write_all(&message).await;
        }
    })
    .await;
    let socket = UdpSocket::bind((HERE, port)).await.unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (read, from) = socket.recv_from(&mut query).await.unwrap();
            for message in answer(&query[..read], false) {
                socket.send_to(&message, from).await.unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_name_server_is_asked_by_udp_and_by_tcp() {
    let port = name_server(|query, _| vec![answered(query, 0x8180, Some([192, 0, 2, 1]))]).await;
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(run(dns(None, transport), port, LONG).await, Ok(Pass::default()));
        assert_eq!(run(dns(Some("192.0.2.1"), transport), port, LONG).await, Ok(Pass::default()));
        let other = said(run(dns(Some("192.0.2.2"), transport), port, LONG).await);
        assert_eq!(other, "no A record is what is expected");
    }
    let ill = name_server(|query, _| vec![answered(query, 0x8182, None)]).await;
    assert_eq!(said(run(dns(None, Transport::Udp), ill, LONG).await), "the server answers servfail");
}

#[tokio::test]
async fn answers_to_other_questions_are_passed_over_and_garbage_is_called_so() {
    let port = name_server(|query, _| {
        let mut other = answered(query, 0x8183, None);
        other[0] ^= 1;
        vec![other, b"abc".to_vec(), answered(query, 0x8180, None)]
    });
    let garbage = said(run(dns(None, Transport::Udp), port.await, LONG).await);
    assert_eq!(garbage, "the answer is not DNS");
    let port = name_server(|query, _| {
        let mut other = answered(query, 0x8183, None);
        other[0] ^= 1;
        vec![other, answered(query, 0x8180, None)]
    });
    assert_eq!(run(dns(None, Transport::Udp), port.await, LONG).await, Ok(Pass::default()));
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_by_tcp() {
    let port = name_server(|query, is_tcp| {
        vec![if is_tcp {
            answered(query, 0x8180, Some([192, 0, 2, 1]))
        } else {
            answered(query, 0x8380, None)
        }]
    })
    .await;
    assert_eq!(run(dns(Some("192.0.2.1"), Transport::Udp), port, LONG).await, Ok(Pass::default()));
}

#[tokio::test]
async fn a_name_server_by_tcp_that_drips_runs_into_the_timeout() {
    let port = drips("\u{7f}", b"x", Duration::from_millis(20)).await;
    let late = said(run(dns(None, Transport::Tcp), port, SHORT).await);
    assert_eq!(late, "timed out after 150ms while waiting for an answer");
}

#[tokio::test]
async fn this_host_answers_echo_requests() {
    for address in ["127.0.0.1", "::1"] {
        let at = SocketAddr::new(address.parse().unwrap(), 0);
        for size in [0, 1, 1400] {
            let origin = Origin::default();
            let probe = Probe::Ping(PingProbe { size });
            let report = probe.run(Peer { at, origin: &origin }, &mut Kept::default(), LONG).await;
            if matches!(report.result, Err(Failure::Setup(_))) {
                eprintln!("skipped: no socket for echo requests: {:?}", report.result);
                return;
            }
            assert_eq!(report.result, Ok(Pass::default()), "{address} {size}");
        }
    }
}

#[tokio::test]
async fn an_agent_is_obeyed_and_its_words_are_kept() {
    let (sender, lines) = tokio::sync::watch::channel("75%\n");
    let port = server(move |mut stream| {
        let line = *lines.borrow();
        async move {
            let _ = stream.write_all(line.as_bytes()).await;
        }
    })
    .await;
    let (probe, origin, mut kept) = (Probe::Agent(AgentProbe::default()), Origin::default(), Kept::default());
    let peer = Peer { at: SocketAddr::new(HERE, port), origin: &origin };
    let report = probe.run(peer, &mut kept, LONG).await;
    assert_eq!(report.result, Ok(Pass::with(Weight::Percent(75))));
    sender.send_replace("maint");
    let report = probe.run(peer, &mut kept, LONG).await;
    assert_eq!(report.outcome(), Outcome::SaidDown);
    sender.send_replace("ready up\r\n");
    let report = probe.run(peer, &mut kept, LONG).await;
    assert_eq!(report.outcome(), Outcome::SaidUp);
    assert_eq!(report.result.unwrap().weight, Some(Weight::Percent(75)));
    sender.send_replace("");
    let report = probe.run(peer, &mut kept, LONG).await;
    assert_eq!(said(report.result), "connection closed while waiting for the agent");
}

#[tokio::test]
async fn an_agent_without_end_is_read_within_bounds() {
    let endless = drips("", &[b'u'; 300], Duration::ZERO).await;
    let probe = Probe::Agent(AgentProbe { send: Some("hello\n".to_owned()) });
    assert_eq!(said(run(probe, endless, LONG).await), "the agent's line is too long");
}

#[tokio::test]
async fn a_file_is_there_says_something_or_asks_for_a_weight() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("127.0.0.1-80").to_str().unwrap().to_owned();
    let template = directory.path().join("{address}-{port}").to_str().unwrap().to_owned();
    let file = |expect: Option<&str>, dynamic_weight| {
        let expect = expect.map(str::to_owned);
        Probe::File(FileProbe { path: template.clone(), expect, dynamic_weight })
    };
    let missing = said(run(file(None, false), 80, LONG).await);
    assert_eq!(missing, format!("{path}: No such file or directory (os error 2)"));
    std::fs::write(&path, "42\n").unwrap();
    assert_eq!(run(file(None, false), 80, LONG).await, Ok(Pass::default()));
    assert_eq!(run(file(Some("4"), false), 80, LONG).await, Ok(Pass::default()));
    assert_eq!(run(file(None, true), 80, LONG).await, Ok(Pass::with(Weight::Of(42))));
    let other = said(run(file(Some("5"), false), 80, LONG).await);
    assert_eq!(other, format!("{path} does not contain what is expected"));
    for wrong in ["", "-1", "65536", "4 2", "\u{ff}"] {
        std::fs::write(&path, wrong).unwrap();
        let failure = said(run(file(None, true), 80, LONG).await);
        assert!(failure.contains("does not say a weight"), "{wrong}: {failure}");
    }
}

#[tokio::test]
async fn a_pipe_or_a_device_in_place_of_a_file_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    for path in [pipe.to_str().unwrap(), "/dev/zero", "/"] {
        let probe = Probe::File(FileProbe { path: path.to_owned(), ..FileProbe::default() });
        let failure = said(run(probe, 1, LONG).await);
        assert!(failure.contains("it is no ordinary file"), "{path}: {failure}");
    }
}

#[tokio::test]
async fn requests_share_a_connection_as_often_as_the_settings_say() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = connections.clone();
    let port = server(move |mut stream| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            let mut request = [0; 4096];
            for _ in 0..2 {
                match stream.read(&mut request).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
            }
        }
    })
    .await;
    let origin = Origin::default();
    let peer = Peer { at: SocketAddr::new(HERE, port), origin: &origin };
    let mut seen = Vec::new();
    // The server itself ends a connection after two requests; with three, every second one is found closed.
    for requests in [1, 2, 3] {
        let (probe, mut kept) =
            (Probe::Http(HttpProbe { requests, ..HttpProbe::default() }), Kept::default());
        let before = connections.load(std::sync::atomic::Ordering::SeqCst);
        for _ in 0..6 {
            let report = probe.run(peer, &mut kept, LONG).await;
            assert_eq!(report.result, Ok(Pass::default()));
            assert!(requests > 1 || !kept.has_connection());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen.push(connections.load(std::sync::atomic::Ordering::SeqCst) - before);
    }
    assert_eq!(seen, [6, 3, 3]);
}

#[tokio::test]
async fn a_body_is_held_against_a_pattern() {
    let port = answers("HTTP/1.1 200 OK\r\n\r\nlag: 17 ms\n").await;
    let with = |pattern: &str| HttpProbe {
        body_matches: Some(Pattern::new(pattern).unwrap()),
        ..HttpProbe::default()
    };
    assert_eq!(http(with(r"lag: \d{1,2} ms"), port).await, Ok(Pass::default()));
    let other = said(http(with(r"^lag: \d ms"), port).await);
    assert_eq!(other, "status 200, but the body does not match the pattern");
    assert!(Pattern::new("(").is_err() && Pattern::new("(a{1000}){1000}").is_err());
}

#[tokio::test]
async fn probes_come_from_the_address_and_the_interface_that_the_check_names() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let port = server(move |mut stream| {
        sender.send(stream.peer_addr().unwrap().ip()).unwrap();
        async move {
            let _ = stream.write_all(b"hello").await;
        }
    })
    .await;
    let from = |source: &str, interface: Option<&str>| Origin {
        source: vec!["2001:db8::1".parse().unwrap(), source.parse().unwrap()],
        interface: interface.map(str::to_owned),
    };
    let at = SocketAddr::new(HERE, port);
    let probe = tcp(None, Some("hello"));
    let run =
        async |origin: &Origin| probe.run(Peer { at, origin }, &mut Kept::default(), SHORT).await.result;
    assert_eq!(run(&from("127.0.0.9", Some("lo"))).await, Ok(Pass::default()));
    assert_eq!(seen.recv().await.unwrap().to_string(), "127.0.0.9");
    let failure = run(&from("192.0.2.77", None)).await.expect_err("not ours");
    assert_eq!(
        failure.to_string(),
        "this check cannot be made: source 192.0.2.77 is not an address of this host"
    );
    assert_eq!(failure.outcome(), Outcome::Failed);
    let failure = run(&from("127.0.0.1", Some("nowhere0"))).await.expect_err("no such interface");
    assert_eq!(failure.to_string(), "this check cannot be made: there is no interface nowhere0");
}
