//! What TLS needs from disk, read once for all targets of a check.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;

use super::{Failure, Protocols, Tls, verify};

/// So long nobody looks whether files have changed.
const FRESH: Duration = Duration::from_secs(5);
/// The same when they could not be used.
const FRESH_FAILURE: Duration = Duration::from_secs(1);

/// What has been read. It is no part of the settings: all are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Option<Loaded>>>);

#[derive(Debug)]
struct Loaded {
    looked: Instant,
    stamps: Vec<Stamp>,
    config: Result<Arc<ClientConfig>, String>,
}

/// What a file is known by; `None` when it is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Loaded {
    fn is_fresh(&self) -> bool {
        self.looked.elapsed() < if self.config.is_ok() { FRESH } else { FRESH_FAILURE }
    }
}

impl Shared {
    pub(super) async fn config(&self, tls: &Tls, protocols: Protocols) -> Result<Arc<ClientConfig>, Failure> {
        let (tls, shared) = (tls.clone(), self.0.clone());
        if let Some(loaded) = &*shared.lock().await
            && loaded.is_fresh()
        {
            return loaded.config.clone().map_err(Failure::Setup);
        }
        // A task of its own: it ends although the probe that asks for it may not wait so long.
        let task = tokio::spawn(async move {
            let mut loaded = shared.lock().await;
            let (looked, before) = (Instant::now(), loaded.take());
            let now = tokio::task::spawn_blocking(move || match before {
                Some(before) if before.is_fresh() => before,
                Some(before) if before.config.is_ok() && before.stamps == stamps(&tls) => {
                    Loaded { looked, ..before }
                }
                _ => Loaded { looked, stamps: stamps(&tls), config: load(&tls, protocols).map(Arc::new) },
            });
            let now = now.await.map_err(|error| error.to_string())?;
            loaded.insert(now).config.clone()
        });
        let config = task.await.map_err(|error| Failure::Setup(error.to_string()))?;
        config.map_err(Failure::Setup)
    }
}

fn stamps(tls: &Tls) -> Vec<Stamp> {
    let stamp = |path: &String| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    let client = tls.client.iter().flat_map(|(certificates, key)| [certificates, key]);
    tls.ca.iter().chain(client).map(stamp).collect()
}

fn load(tls: &Tls, protocols: Protocols) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if tls.verify {
        builder.with_root_certificates(roots(tls.ca.as_deref())?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(verify::any())
    };
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain = all(certificates)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
            let built = builder.with_client_auth_cert(chain, private);
            built.map_err(|error| format!("{certificates} and {key}: {error}"))?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots(ca: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in all(path)? {
                roots.add(certificate).map_err(|error| format!("{path}: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("this system has no trusted certificates; set ca to the path of some".to_owned());
    }
    Ok(roots)
}

/// All certificates of a file; at least one.
fn all(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error| format!("{path}: {error}");
    if !Path::new(path).is_file() {
        return Err(format!("{path} is no file that can be read"));
    }
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(format!("{path} has no certificate")) } else { Ok(found) }
}

impl PartialEq for Shared {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Shared {}

impl PartialOrd for Shared {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Shared {
    fn cmp(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}
