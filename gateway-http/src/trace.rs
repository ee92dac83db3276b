//! One span and one id for every request.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, header::USER_AGENT};
use shared::telemetry;
use tracing::{Instrument, Span, field::Empty};
use uuid::Uuid;

use crate::{Gateway, metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which trace the answer is in.
pub(crate) const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// Requests that are made all the time, whether anybody asks for anything: their traces would bury all others.
const ROUTINE: [&str; 4] = ["/healthz", "/health", "/readyz", "/ready"];
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Runs the request in a span of its own, which joins the client's trace if it names one. The answer carries the
/// request's id: the client's own, or a new one; and when there are traces, where to find its own.
pub(crate) async fn layer(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let counted = metrics::Request::begin(route, request.method());
    let span = span(&request, &request_id, gateway.inner.tls.is_some());
    telemetry::adopt(&span, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;

    let status = response.status();
    let duration_ms = counted.answered(status).as_millis();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    span.in_scope(|| {
        if status.is_server_error() {
            span.record("otel.status_code", "error");
            span.record("error.type", status.as_str());
            tracing::warn!(request.id = ?request_id, http.response.status_code = status.as_u16(), duration_ms, "answered");
        } else {
            tracing::debug!(request.id = ?request_id, http.response.status_code = status.as_u16(), duration_ms, "answered");
        }
    });
    response.headers_mut().insert(REQUEST_ID, request_id);
    if let Some(trace) = telemetry::trace_response(&span) {
        response.headers_mut().insert(TRACE_RESPONSE, trace);
    }
    response
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        !id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(format!("req_{}", Uuid::new_v4().simple())).expect("hexadecimal digits are visible")
    })
}

fn span(request: &Request, request_id: &HeaderValue, is_tls: bool) -> Span {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if route.is_some_and(|route| ROUTINE.contains(&route)) {
        return Span::none();
    }
    let method = request.method().as_str();
    let scheme = if is_tls { "https" } else { "http" };
    let version = format!("{:?}", request.version());
    let version = version.trim_start_matches("HTTP/").trim_end_matches(".0");
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    tracing::info_span!(
        "request",
        otel.name = format_args!("{method} {}", route.unwrap_or_default()),
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        http.request.method = method,
        http.route = route,
        url.scheme = scheme,
        url.path = request.uri().path(),
        network.protocol.version = version,
        user_agent.original = user_agent,
        http.response.status_code = Empty,
        request.id = request_id.to_str().unwrap_or_default(),
        client.address = Empty,
        token.name = Empty,
        run.id = Empty,
        gen_ai.agent.id = Empty,
    )
}
