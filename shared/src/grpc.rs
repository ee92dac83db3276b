//! Serving gRPC over the network, with health and reflection.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, interceptor::InterceptedService},
    transport::{self, server::TcpIncoming},
};
use tower::Service;

use crate::transport::{Gate, Layered, Tls, Trust, TrustError};

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Streams that callers reset before we accepted them. Hang-ups come in crowds, so hyper's 20 would cut a healthy
/// connection.
const PENDING_RESETS: usize = 4096;
/// How long answers that were ended have to reach their callers.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Callers whose TLS begins at the same time; more wait.
const HANDSHAKES: usize = 4096;

/// Why a gRPC server could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Whoever reaches the address could do anything.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The service's description cannot be used for reflection.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server broke.
    #[error("the gRPC server failed")]
    Serve(#[from] transport::Error),
}

/// An open port, and what is asked of those who call there.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    trust: Trust,
}

impl Listener {
    /// Takes a port that is open already.
    pub fn on(listener: TcpListener, trust: Trust) -> Self {
        Self { listener, trust }
    }

    /// Where it is.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Opens a port, unless everybody could call there.
pub async fn listen(address: SocketAddr, trust: &Trust) -> Result<Listener, Error> {
    trust.may_listen(address)?;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    Ok(Listener::on(listener, trust.clone()))
}

/// Serves until `shutdown` is cancelled; then the health service says so, nothing new is taken, and what is in flight
/// has `drain` to finish. What is left after that is told to end by `end`, and its last words are still sent.
///
/// Where callers have to show a secret, the health service is for everybody all the same: the kubelet has none.
///
/// `descriptors` is the encoded `google.protobuf.FileDescriptorSet` that reflection serves.
pub async fn serve<S>(
    listener: Listener,
    service: Layered<S>,
    descriptors: &[u8],
    shutdown: CancellationToken,
    drain: Duration,
    end: impl Future<Output = ()>,
) -> Result<(), Error>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(S::NAME, tonic_health::ServingStatus::Serving).await;
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(descriptors).build_v1()?;
    let Listener { listener, trust } = listener;
    let gate = Gate(trust.secrets().cloned());
    let routes = Routes::new(InterceptedService::new(service, gate.clone()))
        .add_service(health_service)
        .add_service(InterceptedService::new(reflection, gate));

    let stopping = shutdown.clone();
    let not_serving = async move {
        stopping.cancelled().await;
        health.set_service_status(S::NAME, tonic_health::ServingStatus::NotServing).await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    };
    let builder = transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .add_routes(routes);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = match trust.tls() {
        None => builder.serve_with_incoming_shutdown(incoming, not_serving).left_future(),
        Some(tls) => builder.serve_with_incoming_shutdown(secured(incoming, tls.clone()), not_serving).right_future(),
    };
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain).await;
        tracing::warn!(drain_ms = drain.as_millis(), "calls were still in flight after the drain time");
        end.await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = drained => Ok(()),
    }
}

/// The connections of those who have shown a certificate that is known.
fn secured(
    incoming: TcpIncoming,
    tls: Arc<Tls>,
) -> impl Stream<Item = io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>> {
    let handshakes = incoming.map(move |socket| {
        let tls = tls.clone();
        async move {
            match socket {
                Ok(socket) => tls.accept(socket).await.map(Ok),
                Err(error) => Some(Err(error)),
            }
        }
    });
    handshakes.buffer_unordered(HANDSHAKES).filter_map(std::future::ready)
}
