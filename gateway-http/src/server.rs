//! The HTTP server: connections, and how they end.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Gateway, router::router};

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers that were cut short have to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(2);
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// The pause after the system refused a connection, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 without TLS until `shutdown` is cancelled. Then no connection is taken any more, and the
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
        stop_watching.cancel();
    };
    tokio::join!(serving, gateway.inner.directory.watch(&stop_watching));
}

/// Takes connections until `shutdown` is cancelled, then closes the port.
async fn accept(gateway: &Gateway, listener: TcpListener, connections: &TaskTracker, shutdown: &CancellationToken) {
    let service = TowerToHyperService::new(router(gateway.clone()));
    loop {
        tokio::select! {
            // First, so that whoever comes later is not taken by chance.
            biased;
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket, service.clone(), shutdown.clone()));
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
}

async fn connection<S>(socket: TcpStream, service: TowerToHyperService<S>, shutdown: CancellationToken)
where
    S: tower::Service<
            http::Request<hyper::body::Incoming>,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING_INTERVAL).adaptive_window(true);
    let has_begun = AtomicBool::new(false);
    let service = service_fn(|request| {
        has_begun.store(true, Ordering::Relaxed);
        service.call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        ended = connection.as_mut() => ended,
        () = never_begins(&has_begun) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke");
    }
}

/// Becomes ready when a client has connected and not sent a request in time. hyper's own timer starts only once it knows
/// which version of HTTP the client speaks.
async fn never_begins(has_begun: &AtomicBool) {
    tokio::time::sleep(HEAD_TIMEOUT).await;
    if has_begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
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
