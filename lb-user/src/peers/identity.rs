//! Who this node is for its peers: a key of its own, made once, and a certificate that it signs itself. Peers know each other
//! by the certificate's fingerprint, as SSH's hosts do; there is no authority to run.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of a certificate; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

/// A key and its certificate.
#[derive(Debug)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

/// Why a node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "cannot read the peer identity {path}: {reason}; move it away to have a new one made, and tell the peers its fingerprint"
    )]
    Read { path: PathBuf, reason: String },
    #[error("cannot write the peer identity {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a peer identity: {0}")]
    Make(String),
}

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no fingerprint; expected are 64 hexadecimal digits, as `ferrolev peer fingerprint` says on the other node"
)]
pub struct FingerprintError(String);

impl Identity {
    /// The identity in a file; made when there is none.
    ///
    /// # Errors
    /// When the file is there and of no use, or cannot be written.
    pub fn load_or_make(path: &Path) -> Result<Self, IdentityError> {
        match fs::read(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|reason| IdentityError::Read { path: path.to_owned(), reason })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(IdentityError::Read { path: path.to_owned(), reason: error.to_string() }),
        }
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(text).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| error.to_string())?;
        Ok(Self { certificate, key })
    }

    fn make(path: &Path) -> Result<Self, IdentityError> {
        let made = || -> Result<String, rcgen::Error> {
            let key = rcgen::KeyPair::generate()?;
            let certificate =
                rcgen::CertificateParams::new(vec!["ferrolev-peer".to_owned()])?.self_signed(&key)?;
            Ok(certificate.pem() + &key.serialize_pem())
        };
        let text = made().map_err(|error| IdentityError::Make(error.to_string()))?;
        write_whole(path, text.as_bytes())
            .map_err(|source| IdentityError::Write { path: path.to_owned(), source })?;
        Self::parse(text.as_bytes()).map_err(IdentityError::Make)
    }
}

/// Writes a file that only its owner may read; whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

impl Fingerprint {
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Colons between digits are allowed, as openssl writes them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || FingerprintError(text.to_owned());
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
        let whole = digits.len() == 64;
        bytes.try_into().ok().filter(|_| whole).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("default.peer.pem");
        let made = Identity::load_or_make(&path).unwrap().fingerprint();
        assert_eq!(Identity::load_or_make(&path).unwrap().fingerprint(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "garbage").unwrap();
        let refused = Identity::load_or_make(&path).unwrap_err().to_string();
        assert!(refused.contains("default.peer.pem"), "{refused}");
    }

    #[test]
    fn a_fingerprint_reads_back_with_colons_or_without() {
        let fingerprint = Fingerprint([0xa5; 32]);
        let text = fingerprint.to_string();
        assert_eq!((text.len(), text.parse()), (64, Ok(fingerprint)));
        assert_eq!(["a5"; 32].join(":").parse(), Ok(fingerprint));
        for bad in ["", "a5", &"a5".repeat(33), &"g".repeat(64), &"a".repeat(63)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
