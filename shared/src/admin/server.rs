//! The admin port's HTTP: one small answer a connection.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Readiness, State, recorder};

/// How long a connection may take, from its beginning to the end of its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer that is being given when the port closes has to reach its client.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The pause after a connection could not be taken, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes connections until `stop` is cancelled, then closes the port. So many at a time are answered at most; others wait
/// until one of them is over.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>, max_connections: usize, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        tokio::select! {
            // First, so that whoever comes later is not taken by chance.
            biased;
            () = stop.cancelled() => break,
            (place, accepted) = next => match accepted {
                Ok((socket, _)) => {
                    let (state, stop) = (state.clone(), stop.clone());
                    connections.spawn(async move {
                        connection(socket, &state, &stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot take a connection; pausing");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(socket: TcpStream, state: &State, stop: &CancellationToken) {
    if socket.set_nodelay(true).is_err() {
        // It was gone before it began.
        return;
    }
    let service = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(&request, state)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).max_buf_size(MAX_HEAD_BYTES);
    // Probes and scrapes are rare, and a connection that ends with its answer needs no other bound than the one in time.
    let mut connection = pin!(builder.keep_alive(false).serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_WORDS, connection).await
        }
        ended = tokio::time::timeout(CONNECTION_TIMEOUT, connection.as_mut()) => ended,
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin port broke"),
        Err(_) => tracing::debug!("a connection to the admin port took too long"),
    }
}

fn answer<B>(request: &Request<B>, state: &State) -> Response<Full<Bytes>> {
    let is_question = [Method::GET, Method::HEAD].contains(request.method());
    match request.uri().path() {
        "/healthz" if is_question => text(StatusCode::OK, PLAIN_TEXT, "ok"),
        "/readyz" if is_question => {
            let readiness = state.readiness();
            let is_ready = readiness == Readiness::Ready;
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(status, PLAIN_TEXT, readiness.word())
        }
        "/metrics" if is_question => {
            recorder::look();
            text(StatusCode::OK, PROMETHEUS_TEXT, state.metrics.render())
        }
        _ => text(StatusCode::NOT_FOUND, PLAIN_TEXT, "not found"),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
