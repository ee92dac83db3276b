//! Mutual TLS between services: each shows a certificate of one authority, and asks for one. All files are read again when
//! they change; connections that are open stay.

use std::{fmt, fs, io::ErrorKind, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{CA, CERT, Error, KEY, SERVER_NAME, complaint::Complaint};
use crate::{
    certificate::{self, Contents, Files, Part},
    transport::dial::CONNECT_TIMEOUT,
};

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a caller has for its handshake: none of ours waits for longer.
const HANDSHAKE_TIMEOUT: Duration = CONNECT_TIMEOUT;
const ALPN_H2: &[u8] = b"h2";

/// Speaks TLS with other services.
pub(crate) struct Tls {
    files: Files,
    ca: PathBuf,
    /// The name that others' certificates are for; without one, that of the URL.
    server_name: Option<ServerName<'static>>,
    now: ArcSwap<Now>,
    refused: Complaint,
    _watch: DropGuard,
    stop: CancellationToken,
}

/// What was read last.
struct Now {
    contents: (Contents, Vec<u8>),
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn open(cert: PathBuf, key: PathBuf, ca: PathBuf, server_name: Option<String>) -> Result<Self, Error> {
        let server_name = server_name
            .map(|name| ServerName::try_from(name).map_err(|error| Error::value(SERVER_NAME, error.to_string())))
            .transpose()?;
        let files = Files { cert, key };
        let contents = read(&files, &ca)?;
        let now = Now::parse(contents, &files, &ca)?;
        let stop = CancellationToken::new();
        let watch = stop.clone().drop_guard();
        Ok(Self {
            files,
            ca,
            server_name,
            now: ArcSwap::from_pointee(now),
            refused: Complaint::default(),
            _watch: watch,
            stop,
        })
    }

    /// Takes over what the files hold now, if it is something else and can be used. Tells whether it was.
    pub(super) fn read_again(&self) -> Result<bool, Error> {
        let contents = read(&self.files, &self.ca)?;
        if contents == self.now.load().contents {
            return Ok(false);
        }
        self.now.store(Arc::new(Now::parse(contents, &self.files, &self.ca)?));
        Ok(true)
    }

    /// Begins TLS with a service that calls; nothing when it has no certificate that is known, or takes too long.
    pub(crate) async fn accept(&self, socket: TcpStream) -> Option<server::TlsStream<TcpStream>> {
        let peer = socket.peer_addr().ok();
        let acceptor = TlsAcceptor::from(self.now.load().server.clone());
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => return Some(stream),
            // Whoever looks only whether the port is open says nothing.
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {}
            Ok(Err(error)) => {
                if let Some(before) = self.refused.due() {
                    let peer = peer.map(tracing::field::display);
                    tracing::warn!(network.peer.address = peer, %error, before, "callers without a known certificate are refused");
                }
            }
            Err(_) => tracing::debug!("a caller did not finish its TLS handshake in time"),
        }
        None
    }

    /// Begins TLS with a service that is called, and is known by `host` unless `services.tls.serverName` says otherwise.
    pub(crate) async fn connect(&self, host: &str, socket: TcpStream) -> std::io::Result<client::TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?,
        };
        let connector = TlsConnector::from(self.now.load().client.clone());
        connector.connect(name, socket).await
    }
}

/// Has the files looked at while the result is held.
pub(super) fn watched(tls: Tls) -> Arc<Tls> {
    let stop = tls.stop.clone();
    let tls = Arc::new(tls);
    let watched = Arc::downgrade(&tls);
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let mut trouble = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(tls) = watched.upgrade() else { return };
            // Files can be slow.
            let read = tokio::task::spawn_blocking(move || tls.read_again()).await;
            let found = match read {
                Ok(Ok(false)) | Err(_) => None,
                Ok(Ok(true)) => {
                    tracing::info!("the certificates between services have changed, for new connections");
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
            };
            if let Some(error) = found.as_ref().filter(|_| found != trouble) {
                tracing::error!(error, "a changed certificate cannot be used; what it held before stays");
            }
            trouble = found;
        }
    }));
    tls
}

fn read(files: &Files, ca: &PathBuf) -> Result<(Contents, Vec<u8>), Error> {
    let contents = files.read().map_err(Error::from)?;
    let ca = fs::read(ca).map_err(|error| Error::value(CA, format!("cannot read {}: {error}", ca.display())))?;
    Ok((contents, ca))
}

impl Now {
    fn parse(contents: (Contents, Vec<u8>), files: &Files, ca: &std::path::Path) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let key = Arc::new(SingleCertAndKey::from(files.parse(&contents.0, &provider)?));
        let unusable = |reason: String| Error::value(CA, format!("{}: {reason}", ca.display()));
        let mut roots = RootCertStore::empty();
        for authority in certificate::chain(&contents.1).map_err(unusable)? {
            roots.add(authority).map_err(|error| unusable(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let callers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect(KNOWS_VERSIONS)
            .with_client_cert_verifier(callers.map_err(|error| unusable(error.to_string()))?)
            .with_cert_resolver(key.clone());
        server.alpn_protocols = vec![ALPN_H2.to_vec()];
        // Who comes again shows its certificate again, which may have expired.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = client_config(provider, roots).with_client_cert_resolver(key);
        client.alpn_protocols = vec![ALPN_H2.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { contents, server: Arc::new(server), client: Arc::new(client) })
    }
}

const KNOWS_VERSIONS: &str = "ring knows the usual versions";

fn client_config(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect(KNOWS_VERSIONS)
        .with_root_certificates(roots)
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

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).field("ca", &self.ca).finish_non_exhaustive()
    }
}
