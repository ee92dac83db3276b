//! What the `tracing` crate has no way to say: the W3C trace context in HTTP and gRPC headers, and labels of any name.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Array, KeyValue, StringValue, Value, global,
    propagation::{Extractor, Injector},
    trace::TraceContextExt,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Writes a span's trace context into a request's headers; nothing when tracing is off.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Outgoing(headers)));
}

/// Makes a span the child of the one that a request's headers name, if they name one.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Incoming(headers)));
    // Fails only when tracing is off, and then there is nothing to adopt.
    let _ = span.set_parent(parent);
}

/// A span as the answer to its request names it, in a `traceresponse` header (W3C Trace Context, level 2); nothing when
/// tracing is off.
pub fn trace_response(span: &Span) -> Option<HeaderValue> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context().clone();
    if !span.is_valid() {
        return None;
    }
    let (trace_id, span_id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    HeaderValue::try_from(format!("00-{trace_id}-{span_id}-{flags:02x}")).ok()
}

/// Puts a label on a span that no field of it was made for; nothing when tracing is off.
pub fn label(span: &Span, key: String, value: String) {
    span.set_attribute(key, value);
}

/// The same with a list of texts.
pub fn label_list(span: &Span, key: &'static str, values: Vec<String>) {
    let values = values.into_iter().map(StringValue::from).collect();
    span.set_attribute(key, Value::Array(Array::String(values)));
}

/// Notes on a span that something has happened by now, with a number that says more; nothing when tracing is off, and
/// nothing in the log.
pub fn event(span: &Span, name: &'static str, key: &'static str, value: f64) {
    span.add_event(name, vec![KeyValue::new(key, value)]);
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), value.try_into()) {
            self.0.insert(name, value);
        }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
