//! Probes over TLS against servers with certificates of all kinds.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, as the server takes them and as files have them.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pem: String,
}

fn identity(issuer: &Issuer, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Identity { chain: vec![certificate.der().clone()], key, pem: certificate.pem() }
}

/// What a server does with a connection.
struct Speaks {
    answer: &'static [u8],
    protocols: Vec<Vec<u8>>,
    clients_of: Option<CertificateDer<'static>>,
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nSUCCESS";

fn speaks(answer: &'static [u8]) -> Speaks {
    Speaks { answer, protocols: Vec::new(), clients_of: None }
}

async fn serve(identity: &Identity, speaks: Speaks) -> u16 {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = match speaks.clients_of {
        None => builder.unwrap().with_no_client_auth(),
        Some(issuer) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(issuer).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.unwrap().with_client_cert_verifier(verifier.unwrap())
        }
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), key).unwrap();
    config.alpn_protocols = speaks.protocols;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(speaks.answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn https(tls: Tls) -> Probe {
    let body_contains = Some("SUCCESS".to_owned());
    Probe::Http(HttpProbe { tls: Some(tls), body_contains, ..HttpProbe::default() })
}

fn handshake(tls: Tls) -> Probe {
    Probe::Tls(TlsProbe { tls })
}

fn trusting(ca: &str, name: &str) -> Tls {
    Tls::new(Some(name.to_owned()), true, Some(ca.to_owned()), None)
}

#[tokio::test]
async fn any_certificate_will_do_until_it_is_to_be_verified() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = authority();
    let ca = write(directory.path(), "ca.pem", &issuer.pem());
    let port = serve(&identity(&issuer, "www.example.org", |_| ()), speaks(OK)).await;
    for probe in [https, handshake] {
        assert_eq!(run(probe(Tls::default()), port, LONG).await, Ok(Pass::default()));
        assert_eq!(run(probe(trusting(&ca, "www.example.org")), port, LONG).await, Ok(Pass::default()));
        let other = run(probe(trusting(&ca, "www.example.com")), port, LONG).await;
        assert_eq!(said(other), "TLS: the certificate is for another name");
        let by_address = Tls::new(None, true, Some(ca.clone()), None);
        assert_eq!(
            said(run(probe(by_address), port, LONG).await),
            "TLS: the certificate is for another name"
        );
        let of_system = Tls::new(Some("www.example.org".to_owned()), true, None, None);
        let unknown = said(run(probe(of_system), port, LONG).await);
        assert!(
            unknown == "TLS: the certificate is from an issuer that is not trusted"
                || unknown.contains("no trusted certificates"),
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_over_is_called_so_and_the_host_names_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = authority();
    let ca = write(directory.path(), "ca.pem", &issuer.pem());
    let old = identity(&issuer, "www.example.org", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let port = serve(&old, speaks(OK)).await;
    let over = said(run(https(trusting(&ca, "www.example.org")), port, LONG).await);
    assert_eq!(over, "TLS: the certificate has expired");
    let port = serve(&identity(&issuer, "www.example.org", |_| ()), speaks(OK)).await;
    let tls = Some(Tls::new(None, true, Some(ca), None));
    let by_host = HttpProbe { tls, host: Some("www.example.org:443".to_owned()), ..HttpProbe::default() };
    assert_eq!(run(Probe::Http(by_host), port, LONG).await, Ok(Pass::default()));
}

#[tokio::test]
async fn a_server_that_wants_to_know_its_clients_is_shown_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = authority();
    let clients_of = Some(issuer.der().clone());
    let port = serve(&identity(&issuer, "a.example", |_| ()), Speaks { clients_of, ..speaks(OK) }).await;
    let nobody = said(run(https(Tls::default()), port, LONG).await);
    assert_eq!(nobody, "TLS: the server refuses: CertificateRequired");
    let me = identity(&issuer, "me.example", |_| ());
    let certificate = write(directory.path(), "me.pem", &me.pem);
    let key = write(directory.path(), "me.key", &me.key.serialize_pem());
    let tls = Tls::new(None, false, None, Some((certificate.clone(), key)));
    assert_eq!(run(https(tls), port, LONG).await, Ok(Pass::default()));
    let keyless = Tls::new(None, false, None, Some((certificate.clone(), certificate)));
    let failure = run(https(keyless), port, LONG).await.expect_err("no key");
    assert_eq!((failure.kind(), failure.outcome()), (FailureKind::Setup, Outcome::Failed), "{failure}");
}

#[tokio::test]
async fn files_that_are_not_there_are_named_and_read_when_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = authority();
    let port = serve(&identity(&issuer, "www.example.org", |_| ()), speaks(OK)).await;
    let missing = directory.path().join("ca.pem").to_str().unwrap().to_owned();
    let probe = handshake(trusting(&missing, "www.example.org"));
    let failure = said(run(probe.clone(), port, LONG).await);
    assert_eq!(failure, format!("this check cannot be made: {missing} is no file that can be read"));
    write(directory.path(), "ca.pem", &issuer.pem());
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(run(probe, port, LONG).await, Ok(Pass::default()));
}

#[tokio::test]
async fn what_is_not_tls_is_called_so() {
    let plain = answers("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(said(run(handshake(Tls::default()), plain, LONG).await), "TLS: the answer is not TLS");
    let closes = answers("").await;
    let closed = said(run(handshake(Tls::default()), closes, LONG).await);
    assert_eq!(closed, "connection closed while shaking hands (TLS)");
    let refuses = answers(b"\x15\x03\x03\x00\x02\x02\x28".as_slice()).await;
    let refused = said(run(handshake(Tls::default()), refuses, LONG).await);
    assert_eq!(refused, "TLS: the server refuses: HandshakeFailure");
    let garbage = drips("", &[0x16; 512], Duration::ZERO).await;
    let failure = run(handshake(Tls::default()), garbage, LONG).await.expect_err("garbage");
    assert_eq!(failure.kind(), FailureKind::Tls, "{failure}");
    // A record of 16 KiB that never comes to its end.
    let slow = drips("\x16\x03\x03\x40\x00", b"\x02", Duration::from_millis(20)).await;
    let late = said(run(handshake(Tls::default()), slow, SHORT).await);
    assert_eq!(late, "timed out after 150ms while shaking hands (TLS)");
}

#[tokio::test]
async fn a_server_that_does_not_offer_http2_is_found_out() {
    let issuer = authority();
    let probe =
        |tls| Probe::Http(HttpProbe { version: HttpVersion::Http2, tls: Some(tls), ..HttpProbe::default() });
    let silent = serve(&identity(&issuer, "a.example", |_| ()), speaks(OK)).await;
    let without = said(run(probe(Tls::default()), silent, LONG).await);
    assert_eq!(without, "TLS: the server does not offer HTTP/2");
    let protocols = vec![b"h2".to_vec()];
    let lies = serve(&identity(&issuer, "a.example", |_| ()), Speaks { protocols, ..speaks(OK) }).await;
    assert_eq!(said(run(probe(Tls::default()), lies, LONG).await), "the answer is not HTTP/2");
}
