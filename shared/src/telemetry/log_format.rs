//! Log lines that say which trace they belong to.

use std::fmt;

use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::{Event, Subscriber, dispatcher};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// A format of JSON objects, whose lines have `trace_id` and `span_id` too, as OpenTelemetry names them.
pub(super) struct Traced<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // The span itself is not of the log's filter, which may leave it out.
        let traced = dispatcher::get_default(|dispatch| {
            let current = dispatch.current_span();
            tracing_opentelemetry::get_otel_context(current.id()?, dispatch)
        });
        let traced = traced.map(|traced| traced.span().span_context().clone()).filter(SpanContext::is_valid);
        let Some(span) = traced else { return self.0.format_event(context, writer, event) };
        let mut line = String::with_capacity(256);
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(fields) => {
                writeln!(writer, r#"{fields},"trace_id":"{}","span_id":"{}"}}"#, span.trace_id(), span.span_id())
            }
            None => writer.write_str(&line),
        }
    }
}
