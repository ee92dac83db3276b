//! A certificate and its key in PEM files, which whoever speaks TLS reads again when they change.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// Where a certificate with its chain is, and where its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
pub struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Keys are not for logs.
impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Error {
    /// Which of them.
    pub part: Part,
    /// What is wrong with it.
    pub reason: String,
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate.
    Cert,
    /// The key.
    Key,
}

impl Files {
    /// Reads both.
    pub fn read(&self) -> Result<Contents, Error> {
        Ok(Contents { cert: read(Part::Cert, &self.cert)?, key: read(Part::Key, &self.key)? })
    }

    /// Makes of what was read what TLS needs.
    pub fn parse(&self, contents: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        let unusable = |reason: String| Error { part: Part::Key, reason: format!("{}: {reason}", self.key.display()) };
        let chain = chain(&contents.cert)
            .map_err(|reason| Error { part: Part::Cert, reason: format!("{}: {reason}", self.cert.display()) })?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| unusable(format!("there is no private key in it ({error})")))?;
        // Says so too when the key is not the certificate's.
        CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(error.to_string()))
    }
}

/// The certificates of a PEM file: one at least.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain =
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
}

fn read(part: Part, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error { part, reason: format!("cannot read {}: {error}", path.display()) })
}
