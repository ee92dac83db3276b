//! The caller's side of every call: a span, the trace context in its headers, and the deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tonic::body::Body;
use tower::Service;
use tracing::{Instrument, Span, field::Empty};

use super::{
    ROUTINE, TransportError, deadline,
    scope::{self, Scoped, Side},
};
use crate::telemetry::{self, HeldSpan};

/// Wraps the way to a service.
#[derive(Clone, Debug)]
pub(super) struct Client<S>(S);

impl<S> Client<S> {
    pub(super) fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S> Service<http::Request<Body>> for Client<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = TransportError>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TransportError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let span = span(request.uri().path());
        telemetry::inject(&span, request.headers_mut());
        let deadline = deadline::of(request.headers());
        let answer = self.0.call(request);
        let call = async move {
            let span = Span::current();
            let response = deadline::bound(deadline, answer).await.inspect_err(|_| scope::record_broken(&span))?;
            scope::record_status(&span, response.headers(), Side::Client);
            Ok(response
                .map(|body| Scoped::<()>::new(body).span(HeldSpan::current(), Side::Client).deadline(deadline).boxed()))
        };
        Box::pin(call.instrument(span))
    }
}

/// The span of a call, unless it is a matter of routine; OpenTelemetry names it by the call's full method name, as its
/// RPC conventions ask.
fn span(path: &str) -> Span {
    if ROUTINE.contains(&path) {
        return Span::none();
    }
    let (name, service, method) = scope::method(path);
    tracing::info_span!(
        "call",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        network.peer.address = Empty,
        network.peer.port = Empty,
    )
}
