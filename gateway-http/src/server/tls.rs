//! TLS: the gateway's certificate, which is read again when its files change, or made where it has none.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::config::Error;

const CERT: &str = "gateway.tls.certPath";
const KEY: &str = "gateway.tls.keyPath";

/// Where the certificate is.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Whether a certificate is made where there are no files.
    pub(crate) may_generate: bool,
    pub(crate) handshake_timeout: Duration,
}

/// Speaks TLS with clients.
pub(crate) struct Tls {
    files: TlsFiles,
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    provider: Arc<CryptoProvider>,
}

/// The certificate that clients get now.
#[derive(Debug)]
struct Certificate {
    /// The files' contents, as a hash.
    contents: ArcSwap<[u8; 32]>,
    key: ArcSwap<CertifiedKey>,
}

/// What the files hold.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    /// Whether the files can be used, or will be made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.will_be_made() {
            return Ok(());
        }
        self.read()?.parse(self, &ring::default_provider()).map(drop)
    }

    fn will_be_made(&self) -> bool {
        self.may_generate && !self.cert.exists() && !self.key.exists()
    }

    fn read(&self) -> Result<Contents, Error> {
        let read = |key, path: &Path| {
            fs::read(path).map_err(|error| Error::value(key, format!("cannot read {}: {error}", path.display())))
        };
        Ok(Contents { cert: read(CERT, &self.cert)?, key: read(KEY, &self.key)? })
    }

    /// Makes a certificate that signs itself, for this machine's names and `address`. Clients know it by its fingerprint.
    fn generate(&self, address: IpAddr) -> Result<(), Error> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.is_unspecified() && !names.contains(&address.to_string()) {
            names.push(address.to_string());
        }
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|error| Error::value(CERT, format!("cannot make a certificate: {error}")))?;
        // The key first: a certificate without its key is of no use to anybody.
        let written = keep(&self.key, &made.signing_key.serialize_pem());
        written.map_err(|error| Error::value(KEY, format!("cannot write {}: {error}", self.key.display())))?;
        let written = keep(&self.cert, &made.cert.pem());
        written.map_err(|error| Error::value(CERT, format!("cannot write {}: {error}", self.cert.display())))
    }
}

/// Writes a file that only its owner can read.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl Contents {
    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.cert.len().to_le_bytes());
        hash.update(&self.cert);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn parse(&self, files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        let unusable = |key, path: &Path, reason: String| Error::value(key, format!("{}: {reason}", path.display()));
        let chain = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(CERT, &files.cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(unusable(CERT, &files.cert, "there is no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| unusable(KEY, &files.key, format!("there is no private key in it ({error})")))?;
        // Says so too when the key is not the certificate's.
        CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(KEY, &files.key, error.to_string()))
    }
}

impl Tls {
    /// Reads the certificate, which is made first if there is to be one. Its fingerprint goes to the log.
    pub(crate) fn open(files: TlsFiles, address: IpAddr) -> Result<Self, Error> {
        if files.will_be_made() {
            files.generate(address)?;
        }
        let provider = Arc::new(ring::default_provider());
        let contents = files.read()?;
        let key = contents.parse(&files, &provider)?;
        log_fingerprint(&key, "the gateway's certificate");
        let certificate =
            Arc::new(Certificate { contents: ArcSwap::from_pointee(contents.hash()), key: ArcSwap::from_pointee(key) });
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring knows the usual versions")
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files, acceptor: TlsAcceptor::from(Arc::new(config)), certificate, provider })
    }

    /// Takes the certificate over that the files hold now, if it is another one and can be used.
    pub(crate) fn read_again(&self) -> Result<(), Error> {
        let contents = self.files.read()?;
        if contents.hash() == **self.certificate.contents.load() {
            return Ok(());
        }
        let key = contents.parse(&self.files, &self.provider)?;
        log_fingerprint(&key, "the gateway's certificate has changed");
        self.certificate.key.store(Arc::new(key));
        self.certificate.contents.store(Arc::new(contents.hash()));
        Ok(())
    }

    /// Begins TLS with a client; nothing when it does not speak it, or takes too long.
    pub(super) async fn accept(&self, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        match tokio::time::timeout(self.files.handshake_timeout, self.acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client does not speak TLS");
                None
            }
            Err(_) => {
                tracing::debug!("a client did not finish the TLS handshake in time");
                None
            }
        }
    }
}

fn log_fingerprint(key: &CertifiedKey, message: &str) {
    if let Ok(leaf) = key.end_entity_cert() {
        let fingerprint: Vec<_> = Sha256::digest(leaf).iter().map(|byte| format!("{byte:02X}")).collect();
        tracing::info!(tls.server.hash.sha256 = fingerprint.join(":"), "{message}");
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(folder: &Path) -> TlsFiles {
        TlsFiles {
            cert: folder.join("tls/cert.pem"),
            key: folder.join("tls/key.pem"),
            may_generate: true,
            handshake_timeout: Duration::from_secs(1),
        }
    }

    fn open(files: &TlsFiles) -> Result<Tls, String> {
        Tls::open(files.clone(), IpAddr::from([127, 0, 0, 1])).map_err(|error| error.to_string())
    }

    fn shown(tls: &Tls) -> Vec<u8> {
        tls.certificate.key.load().end_entity_cert().expect("a certificate").to_vec()
    }

    #[test]
    fn a_certificate_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let first = open(&files).expect("made");
        for path in [&files.cert, &files.key] {
            let mode = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(shown(&open(&files).expect("kept")), shown(&first));
        fs::remove_file(&files.key).expect("removed");
        let error = open(&files).err().expect("half of it is gone");
        assert!(error.starts_with("gateway.tls.keyPath: cannot read "), "{error}");
    }

    #[test]
    fn a_changed_certificate_is_taken_over_and_a_broken_one_is_not() {
        let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (files, other) = (files(folder.path()), files(other.path()));
        let (tls, next) = (open(&files).expect("made"), open(&other).expect("made"));
        let first = shown(&tls);
        let error = |tls: &Tls| tls.read_again().expect_err("broken").to_string();

        fs::write(&files.cert, "no certificate").expect("written");
        assert!(error(&tls).starts_with("gateway.tls.certPath: "), "{}", error(&tls));
        fs::copy(&other.cert, &files.cert).expect("copied");
        assert!(error(&tls).starts_with("gateway.tls.keyPath: "), "{}", error(&tls));
        assert_eq!(shown(&tls), first);

        fs::copy(&other.key, &files.key).expect("copied");
        tls.read_again().expect("whole again");
        assert_eq!(shown(&tls), shown(&next));
    }
}
