//! TLS to a backend: the handshake alone, or what other probes speak through.
//!
//! What the settings name on disk is read when it is first needed, and again when it has changed, so that renewed certificates
//! count without a reload. All targets of a check share it. No session is resumed: each probe is a whole handshake.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{Failure, Pass, Peer, Stage};

mod files;
mod verify;

use files::Shared;

/// How a server is met.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// Asked for, and looked for in the certificate; without one it is the request's host, else the address.
    pub server_name: Option<String>,
    /// Whether the certificate has to be one that is trusted, valid now, and for the name.
    pub verify: bool,
    /// The path of trusted certificates (PEM); without one they are the system's.
    pub ca: Option<String>,
    /// The paths of this side's certificates and their key (PEM).
    pub client: Option<(String, String)>,
    shared: Shared,
}

/// A handshake, and no word more.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsProbe {
    pub tls: Tls,
}

/// The protocols that are offered by ALPN.
pub(super) type Protocols = &'static [&'static [u8]];
pub(super) const HTTP1: Protocols = &[b"http/1.1"];
pub(super) const HTTP2: Protocols = &[b"h2"];

const SHAKING_HANDS: &str = "shaking hands (TLS)";

/// A connection, in the clear or not.
pub(super) type Stream = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Tls {
    /// Nothing is read from disk yet.
    #[must_use]
    pub fn new(
        server_name: Option<String>,
        verify: bool,
        ca: Option<String>,
        client: Option<(String, String)>,
    ) -> Self {
        Self { server_name, verify, ca, client, shared: Shared::default() }
    }

    /// For whoever speaks something of its own; what is on disk is read when it has changed.
    ///
    /// # Errors
    /// When what the settings name on disk cannot be used.
    pub(crate) async fn client(&self) -> Result<Arc<ClientConfig>, Failure> {
        self.shared.config(self, HTTP1).await
    }

    /// Whether a server can be asked for by this name.
    #[must_use]
    pub fn is_server_name(name: &str) -> bool {
        ServerName::try_from(name).is_ok()
    }
}

impl TlsProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        stream(peer, Some(&self.tls), None, &[], stage).await?;
        Ok(Pass::default())
    }
}

/// A connection to the peer, through TLS when it is asked for. `name`: the server's, when the settings have no other.
pub(super) async fn stream(
    peer: Peer<'_>,
    tls: Option<&Tls>,
    name: Option<&str>,
    protocols: Protocols,
    stage: &Stage,
) -> Result<Stream, Failure> {
    let Some(tls) = tls else { return Ok(Box::new(peer.connect().await?)) };
    let name = match tls.server_name.as_deref().or(name) {
        Some(name) => ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| Failure::Setup(format!("'{name}' is no name of a server")))?,
        None => ServerName::IpAddress(peer.at.ip().into()),
    };
    let config = tls.shared.config(tls, protocols).await?;
    let stream = peer.connect().await?;
    stage.enter(SHAKING_HANDS);
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|error| Failure::socket(&error, SHAKING_HANDS))?;
    if protocols == HTTP2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Failure::Tls("the server does not offer HTTP/2".to_owned()));
    }
    Ok(Box::new(stream))
}

/// What went wrong, as an operator would say it.
pub(super) fn in_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Certificate, Error};
    match error {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => "the answer is not TLS".to_owned(),
        Error::AlertReceived(alert) => format!("the server refuses: {alert:?}"),
        Error::PeerIncompatible(why) => format!("nothing in common with the server: {why:?}"),
        Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "the certificate is from an issuer that is not trusted".to_owned()
        }
        Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the certificate has expired".to_owned()
        }
        Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "the certificate is not valid yet".to_owned()
        }
        Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "the certificate is for another name".to_owned(),
        other => other.to_string(),
    }
}
