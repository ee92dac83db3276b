//! The HTTP server: connections, and how they end.

mod activity;
mod tls;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::Router;
use http::{HeaderValue, Version, header::CONNECTION};
use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Gateway, Limits, address::Source, metrics, router::router};

use activity::Activity;
pub(crate) use tls::{Tls, TlsFiles};

/// How long answers that were cut short have to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a connection of HTTP/1 is kept, while draining, from the order to end on, and after an answer that had begun
/// before: its client was not told that the connection would be closed, and may be asking again just now.
const ONE_MORE: Duration = Duration::from_secs(1);
/// As many headers hyper takes by itself; for more it needs memory for each request.
const HYPER_MAX_HEADERS: usize = 100;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// The pause after the system refused a connection, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2, by TLS if so configured, until `shutdown` is cancelled. Then no connection is taken any more, and the
/// requests in flight have the drain time to finish. Answers that are still being given after that end with an error.
pub async fn serve(gateway: Gateway, listener: TcpListener, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let stop_watching = CancellationToken::new();
    let serving = async {
        accept(&gateway, listener, &connections, &shutdown).await;
        gateway.inner.draining.cancel();
        connections.close();
        if tokio::time::timeout(gateway.settings().limits.drain, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "requests were still in flight after the drain time");
            gateway.inner.cut.cancel();
            let _ = tokio::time::timeout(LAST_WORDS, connections.wait()).await;
        }
        gateway.inner.tasks.close();
        let _ = tokio::time::timeout(LAST_WORDS, gateway.inner.tasks.wait()).await;
        stop_watching.cancel();
    };
    tokio::join!(serving, gateway.inner.directory.watch(&stop_watching), gateway.watch_files(&stop_watching));
}

/// Takes connections until `shutdown` is cancelled, then closes the port.
async fn accept(gateway: &Gateway, listener: TcpListener, connections: &TaskTracker, shutdown: &CancellationToken) {
    let service = TowerToHyperService::new(router(gateway.clone()));
    let mut is_full = false;
    loop {
        tokio::select! {
            // First, so that whoever comes later is not taken by chance.
            biased;
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let limits = gateway.settings().limits;
                    let was_full = is_full;
                    is_full = connections.len() >= limits.max_connections;
                    if is_full {
                        // Closed at once, so that the client can try another gateway. Told once, not for each.
                        if !was_full {
                            tracing::warn!(open = connections.len(), "there are too many connections; new ones are closed");
                        }
                        continue;
                    }
                    let accepted = Accepted { socket, peer, limits };
                    connections.spawn(accepted.serve(gateway.clone(), service.clone(), shutdown.clone()));
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
}

/// A connection that was taken.
struct Accepted {
    socket: TcpStream,
    peer: SocketAddr,
    limits: Limits,
}

impl Accepted {
    async fn serve(self, gateway: Gateway, service: TowerToHyperService<Router>, shutdown: CancellationToken) {
        let Self { socket, peer, limits } = self;
        let _open = metrics::connection();
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it began");
            return;
        }
        match &gateway.inner.tls {
            None => connection(socket, peer, limits, service, shutdown).await,
            Some(tls) => {
                if let Some(Some(stream)) = shutdown.run_until_cancelled(tls.accept(socket)).await {
                    connection(stream, peer, limits, service, shutdown).await;
                }
            }
        }
    }
}

async fn connection<I>(
    io: I,
    peer: SocketAddr,
    limits: Limits,
    service: TowerToHyperService<Router>,
    shutdown: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let source = Source::direct(peer);
    // What is a little too large gets an answer that says so; what is much too large is refused by hyper.
    let most_bytes = limits.max_header_bytes.saturating_mul(2);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_buf_size(most_bytes);
    if limits.max_headers > HYPER_MAX_HEADERS {
        builder.http1().max_headers(limits.max_headers.saturating_mul(2));
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .adaptive_window(true)
        .max_concurrent_streams(limits.max_concurrent_requests)
        .max_header_list_size(u32::try_from(most_bytes).unwrap_or(u32::MAX));
    let has_begun = AtomicBool::new(false);
    let speaks_http_2 = AtomicBool::new(false);
    let activity = Activity::new();
    let draining = shutdown.clone();
    let service = service_fn(|mut request: http::Request<_>| {
        has_begun.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(source);
        let is_http_2 = request.version() == Version::HTTP_2;
        speaks_http_2.store(is_http_2, Ordering::Relaxed);
        let (in_flight, draining) = (activity.begin(), draining.clone());
        let answering = service.call(request);
        async move {
            let mut response = answering.await?;
            if !is_http_2 && draining.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| in_flight.hold(body)))
        }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => {
            let has_one_more = has_begun.load(Ordering::Relaxed) && !speaks_http_2.load(Ordering::Relaxed);
            let waiting = async {
                if has_one_more {
                    tokio::time::sleep(ONE_MORE).await;
                    activity.idle(ONE_MORE).await;
                }
            };
            tokio::select! {
                biased;
                () = waiting => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                ended = connection.as_mut() => ended,
            }
        }
        ended = connection.as_mut() => ended,
        () = never_begins(&has_begun, limits.head_timeout) => return,
        () = idle(&activity, &speaks_http_2, limits.head_timeout) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke");
    }
}

/// Becomes ready when a client has connected and not sent a request in time. hyper's own timer starts only once it knows
/// which version of HTTP the client speaks.
async fn never_begins(has_begun: &AtomicBool, head_timeout: Duration) {
    tokio::time::sleep(head_timeout).await;
    if has_begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Becomes ready when a client has an HTTP/2 connection that it does not use. With HTTP/1 the time for the next request's
/// head begins by itself when an answer is over.
async fn idle(activity: &Activity, speaks_http_2: &AtomicBool, timeout: Duration) {
    while !speaks_http_2.load(Ordering::Relaxed) {
        tokio::time::sleep(timeout).await;
    }
    activity.idle(timeout).await;
}

async fn pause_after(error: &io::Error) {
    let is_of_one_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !is_of_one_client {
        tracing::error!(%error, "cannot take connections; pausing");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
