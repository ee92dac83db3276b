//! The service's side of every call: a span under the caller's, and a bound on calls in flight.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::{sync::Semaphore, time::Instant};
use tonic::{body::Body, server::NamedService};
use tower::Service;
use tracing::{Instrument, Span, field::Empty};

use super::{
    ROUTINE, refusal,
    scope::{self, Scoped, Side},
};
use crate::telemetry::{self, HeldSpan};

const CALLS: &str = "clawdbot_rpc_server_calls_total";
const CALL_DURATION: &str = "clawdbot_rpc_server_duration_seconds";

/// Says what each metric is, to whatever records them by now.
pub(crate) fn describe() {
    describe_counter!(CALLS, Unit::Count, "Calls that a service has answered, by method and status.");
    describe_histogram!(CALL_DURATION, Unit::Seconds, "Time from a call to the end of its answer, streams included.");
}

/// A call that is being answered. One that is dropped before its status is known was cancelled.
pub(super) struct Served {
    method: String,
    began: Instant,
    code: Option<tonic::Code>,
}

impl Served {
    fn begin(path: &str) -> Self {
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        Self { method, began: Instant::now(), code: None }
    }

    pub(super) fn ended(&mut self, code: tonic::Code) {
        self.code = Some(code);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(tonic::Code::Cancelled);
        // What there is not, callers may have made up.
        let is_made_up = code == tonic::Code::Unimplemented;
        let method = if is_made_up { "unknown".to_owned() } else { std::mem::take(&mut self.method) };
        counter!(CALLS, "method" => method.clone(), "code" => format!("{code:?}")).increment(1);
        histogram!(CALL_DURATION, "method" => method).record(self.began.elapsed());
    }
}

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
        let mut served = Served::begin(request.uri().path());
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            served.ended(tonic::Code::ResourceExhausted);
            let refusal = refusal::overloaded("the service has as many calls in flight as it may");
            return Box::pin(async { Ok(refusal.into_http()) });
        };
        let span = span(request.uri().path(), request.headers());
        let answer = span.in_scope(|| self.server.call(request));
        let call = async move {
            let response = answer.await?;
            if let Some(code) = scope::record_status(&Span::current(), response.headers(), Side::Server) {
                served.ended(code);
            }
            Ok(response.map(|body| {
                Scoped::new(body).span(HeldSpan::current(), Side::Server).place(permit).served(served).boxed()
            }))
        };
        Box::pin(call.instrument(span))
    }
}

fn span(path: &str, headers: &http::HeaderMap) -> Span {
    if ROUTINE.contains(&path) {
        return Span::none();
    }
    let (name, service, method) = scope::method(path);
    let span = tracing::info_span!(
        parent: None,
        "serve",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    );
    telemetry::adopt(&span, headers);
    span
}
