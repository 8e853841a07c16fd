//! Mail servers that follow a script.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::health::probe::Tls;

pub(super) struct Server {
    pub(super) acceptor: TlsAcceptor,
    /// Of its certificate.
    pub(super) path: String,
}

/// A certificate for `localhost`, which is its own authority.
pub(super) fn certificate(directory: &Path) -> Server {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = directory.join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    Server { acceptor: TlsAcceptor::from(Arc::new(config)), path: path.display().to_string() }
}

/// How a server behaves.
#[derive(Clone, Default)]
struct Script {
    /// `STARTTLS` is offered.
    starttls: Option<TlsAcceptor>,
    /// TLS from the first byte on.
    wrapped: Option<TlsAcceptor>,
    /// Ways to log in, as EHLO says them.
    login: &'static str,
    /// What is answered to `RCPT`, one after the other; then 250.
    recipients: Arc<Mutex<Vec<&'static str>>>,
}

/// What a server has heard, line by line.
type Heard = Arc<Mutex<Vec<String>>>;

async fn server(script: Script) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Heard::default());
    let all = heard.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (script, heard) = (script.clone(), all.clone());
            tokio::spawn(async move {
                if let Some(acceptor) = &script.wrapped {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    speak(stream, &script, &heard, true).await;
                } else if let Some((stream, acceptor)) =
                    speak(stream, &script, &heard, true).await.zip(script.starttls.clone())
                {
                    heard.lock().unwrap().push("(TLS)".to_owned());
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    speak(stream, &Script { starttls: None, ..script }, &heard, false).await;
                }
            });
        }
    });
    (port, heard)
}

/// Speaks SMTP until the end, or until TLS is to begin on the stream that is given back.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    script: &Script,
    heard: &Heard,
    greets: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 mx.example.com\r\n").await.ok()?;
    }
    let (mut line, mut in_data, mut login) = (String::new(), false, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let said = line.trim_end().to_owned();
        heard.lock().unwrap().push(said.clone());
        let word = said.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let answer = match word.as_str() {
            "." => {
                in_data = false;
                "250 queued".to_owned()
            }
            _ if in_data => continue,
            _ if login > 0 => {
                login -= 1;
                if login > 0 { "334 UGFzc3dvcmQ6".to_owned() } else { "235 welcome".to_owned() }
            }
            "EHLO" => {
                let starttls = if script.starttls.is_some() { "250-STARTTLS\r\n" } else { "" };
                format!("250-mx.example.com\r\n{starttls}250-AUTH {}\r\n250 8BITMIME", script.login)
            }
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                return Some(stream.into_inner());
            }
            "AUTH" if said.contains("LOGIN") => {
                login = 2;
                "334 VXNlcm5hbWU6".to_owned()
            }
            "AUTH" => "235 welcome".to_owned(),
            "RCPT" => script.recipients.lock().unwrap().pop().unwrap_or("250 ok").to_owned(),
            "DATA" => {
                in_data = true;
                "354 go on".to_owned()
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await.ok()?;
                return None;
            }
            _ => "250 ok".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

fn email(port: u16, security: Security) -> Email {
    Email {
        server: "localhost".to_owned(),
        port,
        security,
        login: None,
        from: "Ferrolev <lb@example.com>".to_owned(),
        to: vec!["ops@example.com".to_owned(), "net@example.com".to_owned()],
        tls: Tls::new(None, true, None, None),
    }
}

fn password(directory: &Path) -> Option<(String, String)> {
    let path = directory.join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    Some(("lb".to_owned(), path.display().to_string()))
}

#[tokio::test]
async fn a_mail_has_one_line_as_its_subject_and_all_values_in_its_body() {
    let (port, heard) = server(Script::default()).await;
    let hooks = running(&[("h", hook(Call::Email(email(port, Security::None))))]);
    hooks.tell(Event { text: "backend web-1 is down\r\nBcc: x@example.com".to_owned(), ..down("web-1") });
    until(&hooks, "h", |report| report.sent == 1).await;
    let heard = heard.lock().unwrap().clone();
    let has = |line: &str| heard.iter().filter(|heard| *heard == line).count() == 1;
    assert!(has("EHLO lb1.example.com"), "{heard:#?}");
    assert!(heard.iter().any(|line| line.starts_with("MAIL FROM:<lb@example.com>")), "{heard:#?}");
    assert!(has("RCPT TO:<ops@example.com>") && has("RCPT TO:<net@example.com>"), "{heard:#?}");
    let subject = heard.iter().find(|line| line.starts_with("Subject: ")).unwrap();
    assert!(subject.starts_with("Subject: [ferrolev lb1.example.com] backend web-1 is down"), "{subject}");
    assert!(has("event: backend_down") && has("vips: web") && has("backends: web-1"), "{heard:#?}");
    let head: Vec<_> =
        heard.iter().skip_while(|line| *line != "DATA").take_while(|line| !line.is_empty()).collect();
    assert!(!head.iter().any(|line| line.starts_with("Bcc")), "{head:#?}");
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_when_tls_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let made = certificate(directory.path());
    let script = Script { starttls: Some(made.acceptor), login: "PLAIN", ..Script::default() };
    let (port, heard) = server(script).await;
    let (without, other) = server(Script { login: "PLAIN", ..Script::default() }).await;
    let of = |port, ca| Email {
        login: password(directory.path()),
        tls: Tls::new(None, true, ca, None),
        ..email(port, Security::Starttls)
    };
    let hooks = running(&[
        ("trusts", hook(Call::Email(of(port, Some(made.path.clone()))))),
        ("no_tls", hook(Call::Email(of(without, Some(made.path))))),
    ]);
    hooks.tell(down("web-1"));
    until(&hooks, "trusts", |report| report.sent == 1).await;
    let heard = heard.lock().unwrap().clone();
    let (clear, secret) = heard.split_at(heard.iter().position(|line| line == "(TLS)").unwrap());
    assert!(clear.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{clear:?}");
    // \0lb\0s3cret
    assert!(secret.contains(&"AUTH PLAIN AGxiAHMzY3JldA==".to_owned()), "{secret:?}");
    let failed = until(&hooks, "no_tls", |report| report.failed == 1).await;
    assert!(other.lock().unwrap().iter().all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")));
    assert!(!failed.last_failure.unwrap().1.contains("s3cret"));
}

#[tokio::test]
async fn tls_from_the_first_byte_and_the_older_way_to_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let made = certificate(directory.path());
    let (port, heard) =
        server(Script { wrapped: Some(made.acceptor), login: "LOGIN", ..Script::default() }).await;
    let tls = Tls::new(None, true, Some(made.path), None);
    let email = Email { login: password(directory.path()), tls, ..email(port, Security::Tls) };
    let hooks = running(&[("h", hook(Call::Email(email)))]);
    hooks.tell(down("web-1"));
    until(&hooks, "h", |report| report.sent == 1).await;
    let heard = heard.lock().unwrap().clone();
    assert!(heard.contains(&"bGI=".to_owned()) && heard.contains(&"czNjcmV0".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let busy = Script { recipients: Arc::new(Mutex::new(vec!["451 later"])), ..Script::default() };
    let refuses = Script { recipients: Arc::new(Mutex::new(vec!["550 nobody here"])), ..Script::default() };
    let ((later, _), (never, _)) = (server(busy).await, server(refuses).await);
    let of = |port| Hook { tries: 3, ..hook(Call::Email(email(port, Security::None))) };
    let hooks = running(&[("later", of(later)), ("never", of(never))]);
    hooks.tell(down("web-1"));
    let never = until(&hooks, "never", |report| report.failed == 1).await;
    assert_eq!(never.tries_failed, 1);
    assert!(never.last_failure.unwrap().1.contains("nobody here"));
    let later = until(&hooks, "later", |report| report.sent == 1).await;
    assert_eq!((later.tries_failed, later.failed), (1, 0));
    assert!(later.last_failure.unwrap().1.contains("451"));
}
