//! Serving gRPC over the network, with health and reflection.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    server::NamedService,
    service::Routes,
    transport::{self, server::TcpIncoming},
};
use tower::Service;

use crate::transport::Layered;

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Streams that callers reset before we accepted them. Hang-ups come in crowds, so hyper's 20 would cut a healthy
/// connection.
const PENDING_RESETS: usize = 4096;
/// How long answers that were ended have to reach their callers.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
    /// The service's description cannot be used for reflection.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server broke.
    #[error("the gRPC server failed")]
    Serve(#[from] transport::Error),
}

/// Opens a port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves until `shutdown` is cancelled; then the health service says so, nothing new is taken, and what is in flight
/// has `drain` to finish. What is left after that is told to end by `end`, and its last words are still sent.
///
/// `descriptors` is the encoded `google.protobuf.FileDescriptorSet` that reflection serves.
pub async fn serve<S>(
    listener: TcpListener,
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
    let routes = Routes::new(service).add_service(health_service).add_service(reflection);

    let stopping = shutdown.clone();
    let not_serving = async move {
        stopping.cancelled().await;
        health.set_service_status(S::NAME, tonic_health::ServingStatus::NotServing).await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    };
    let serving = transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), not_serving);
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
