//! The service's side of every call: a span under the caller's, and a bound on calls in flight.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::Semaphore;
use tonic::{body::Body, server::NamedService};
use tower::Service;
use tracing::{Instrument, Span, field::Empty};

use super::{
    ROUTINE, refusal,
    scope::{self, Scoped},
};
use crate::telemetry;

/// A generated server with the layers that every call passes, over the network and in memory alike.
#[derive(Clone, Debug)]
pub struct Layered<S> {
    server: S,
    permits: Arc<Semaphore>,
}

impl<S> Layered<S> {
    /// Wraps a generated server. At most `max_calls` are served at once, streams included; one more is answered with
    /// `RESOURCE_EXHAUSTED`.
    pub fn new(server: S, max_calls: usize) -> Self {
        Self { server, permits: Arc::new(Semaphore::new(max_calls.min(Semaphore::MAX_PERMITS))) }
    }
}

impl<S: NamedService> NamedService for Layered<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Layered<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.server.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            let refusal = refusal::overloaded("the service has as many calls in flight as it may");
            return Box::pin(async { Ok(refusal.into_http()) });
        };
        let span = span(request.uri().path(), request.headers());
        let answer = span.in_scope(|| self.server.call(request));
        let call = async move {
            let response = answer.await?;
            scope::record_status(&Span::current(), response.headers());
            Ok(response.map(|body| Scoped::new(body).span(Span::current()).place(permit).boxed()))
        };
        Box::pin(call.instrument(span))
    }
}

fn span(path: &str, headers: &http::HeaderMap) -> Span {
    if ROUTINE.contains(&path) {
        return Span::none();
    }
    let name = path.trim_start_matches('/');
    let span = tracing::info_span!(
        parent: None, "serve", otel.name = name, otel.kind = "server", otel.status_code = Empty, rpc.system = "grpc"
    );
    telemetry::adopt(&span, headers);
    span
}
