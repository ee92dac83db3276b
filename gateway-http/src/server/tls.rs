//! TLS: the gateway's certificate, which is read again when its files change, or made where it has none.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use shared::certificate::{self, Contents, Files, Part};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::config::Error;

const CERT: &str = "gateway.tls.certPath";
const KEY: &str = "gateway.tls.keyPath";

/// Where the certificate is.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) files: Files,
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
    contents: ArcSwap<Contents>,
    key: ArcSwap<CertifiedKey>,
}

impl TlsFiles {
    /// Whether the files can be used, or will be made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.will_be_made() {
            return Ok(());
        }
        self.files.parse(&self.files.read()?, &ring::default_provider())?;
        Ok(())
    }

    fn will_be_made(&self) -> bool {
        self.may_generate && !self.files.cert.exists() && !self.files.key.exists()
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
        let written = keep(&self.files.key, &made.signing_key.serialize_pem());
        written.map_err(|error| Error::value(KEY, format!("cannot write {}: {error}", self.files.key.display())))?;
        let written = keep(&self.files.cert, &made.cert.pem());
        written.map_err(|error| Error::value(CERT, format!("cannot write {}: {error}", self.files.cert.display())))
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

impl Tls {
    /// Reads the certificate, which is made first if there is to be one. Its fingerprint goes to the log.
    pub(crate) fn open(files: TlsFiles, address: IpAddr) -> Result<Self, Error> {
        if files.will_be_made() {
            files.generate(address)?;
        }
        let provider = Arc::new(ring::default_provider());
        let contents = files.files.read()?;
        let key = files.files.parse(&contents, &provider)?;
        log_fingerprint(&key, "the gateway's certificate");
        let certificate =
            Arc::new(Certificate { contents: ArcSwap::from_pointee(contents), key: ArcSwap::from_pointee(key) });
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
        let files = &self.files.files;
        let contents = files.read()?;
        if contents == **self.certificate.contents.load() {
            return Ok(());
        }
        let key = files.parse(&contents, &self.provider)?;
        log_fingerprint(&key, "the gateway's certificate has changed");
        self.certificate.key.store(Arc::new(key));
        self.certificate.contents.store(Arc::new(contents));
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

impl From<certificate::Error> for Error {
    fn from(error: certificate::Error) -> Self {
        let key = match error.part {
            Part::Cert => CERT,
            Part::Key => KEY,
        };
        Self::value(key, error.reason)
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
            files: Files { cert: folder.join("tls/cert.pem"), key: folder.join("tls/key.pem") },
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
        for path in [&files.files.cert, &files.files.key] {
            let mode = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(shown(&open(&files).expect("kept")), shown(&first));
        fs::remove_file(&files.files.key).expect("removed");
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

        fs::write(&files.files.cert, "no certificate").expect("written");
        assert!(error(&tls).starts_with("gateway.tls.certPath: "), "{}", error(&tls));
        fs::copy(&other.files.cert, &files.files.cert).expect("copied");
        assert!(error(&tls).starts_with("gateway.tls.keyPath: "), "{}", error(&tls));
        assert_eq!(shown(&tls), first);

        fs::copy(&other.files.key, &files.files.key).expect("copied");
        tls.read_again().expect("whole again");
        assert_eq!(shown(&tls), shown(&next));
    }
}
