//! How connections to a service's addresses are made: in plain, or by mutual TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use super::trust::Tls;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Makes the connections to the addresses of one host; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Dial(Option<Secured>);

#[derive(Clone)]
struct Secured {
    tls: Arc<Tls>,
    host: Arc<str>,
}

impl Dial {
    pub(super) fn secured(tls: Arc<Tls>, host: &str) -> Self {
        Self(Some(Secured { tls, host: host.into() }))
    }

    /// Whether there is somebody at the address who shows who it is, if that is asked for.
    pub(super) async fn probe(&self, address: SocketAddr) -> bool {
        let connecting = async {
            let socket = TcpStream::connect(address).await?;
            if let Some(Secured { tls, host }) = &self.0 {
                tls.connect(host, socket).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        matches!(tokio::time::timeout(CONNECT_TIMEOUT, connecting).await, Ok(Ok(())))
    }

    /// A connection that is opened when it is first used.
    pub(super) fn channel(&self, address: SocketAddr) -> Channel {
        let endpoint = endpoint(address);
        let Some(secured) = self.0.clone() else { return endpoint.connect_lazy() };
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let Secured { tls, host } = secured.clone();
            async move {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                let stream = tls.connect(&host, socket).await.inspect_err(|error| {
                    tracing::warn!(network.peer.address = %address, %error, "a service does not show who it is, or refuses us");
                })?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        }))
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    // TLS is ours, since certificates can change.
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address makes a URL")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEP_ALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}
