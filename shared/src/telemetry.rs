//! Logs and traces: what a process says about itself.

pub(crate) mod export;
mod held;
mod log_format;
mod propagation;

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
};

use opentelemetry::{KeyValue, global, trace::TracerProvider};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use serde::Deserialize;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{self, Document, Environment};

pub use held::HeldSpan;
pub use propagation::{adopt, event, inject, label, label_list, trace_response};

/// Whether prompts and answers are to be in traces.
static CAPTURES_CONTENT: AtomicBool = AtomicBool::new(false);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogFormat {
    /// Text when a person reads along.
    fn default() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// The configuration section `log`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LogSection {
    /// How log lines look, if that is said.
    pub format: Option<LogFormat>,
}

impl LogSection {
    /// Reads the section.
    pub fn load(document: &Document) -> Result<Self, config::Error> {
        document.section("log")
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG is not a log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter does not take the `OTEL_*` variables.
    #[error("the OTEL_EXPORTER_OTLP_* variables cannot be used")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A protocol that there is not.
    #[error("{variable}: `{protocol}` is none of grpc, http/protobuf")]
    Protocol {
        /// The variable that names it.
        variable: &'static str,
        /// The name.
        protocol: String,
    },
    /// No HTTP client can be made to export with.
    #[error("cannot make an HTTP client for traces")]
    Client(#[from] reqwest::Error),
}

/// Keeps telemetry running; [`Telemetry::shutdown`] sends what is left.
#[derive(Debug)]
pub struct Telemetry {
    tracer_provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging to standard error and, if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
    /// is set, tracing over OTLP, by gRPC or HTTP as `OTEL_EXPORTER_OTLP_PROTOCOL` says. Called once, first thing in a
    /// process and inside its tokio runtime.
    ///
    /// Spans are exported in the background from a bounded queue: a slow or dead collector loses spans, never time.
    /// JSON log lines have the ids of the trace and span that they were written in.
    pub fn start(
        service_name: &'static str,
        log_level: &str,
        log_format: LogFormat,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let filter = EnvFilter::try_new(environment.get("RUST_LOG").unwrap_or(log_level))?;
        // The MCP library logs what servers say and where they are, which can be what tools gave and a secret.
        let filter = filter.add_directive("rmcp=off".parse()?);
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match log_format {
            LogFormat::Text => log.with_target(false).boxed(),
            LogFormat::Json => {
                let log = log.json().flatten_event(true).with_span_list(false);
                log.map_event_format(log_format::Traced).boxed()
            }
        };
        let tracer_provider = tracer_provider(service_name, environment)?;
        let captures = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
        let captures = environment.get(captures).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        CAPTURES_CONTENT.store(captures && tracer_provider.is_some(), Ordering::Relaxed);
        let traces = tracer_provider.as_ref().map(|provider| {
            global::set_text_map_propagator(TraceContextPropagator::new());
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(service_name))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
        });
        tracing_subscriber::registry().with(traces.with_filter(only_ours())).with(log.with_filter(filter)).init();
        Ok(Self { tracer_provider })
    }

    /// Sends the spans that are still queued; waits a bounded time for that.
    pub fn shutdown(self) {
        if let Some(Err(error)) = self.tracer_provider.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Whether prompts, answers and what tools are given and give back are to be in traces:
/// `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true`. Never in logs.
pub fn captures_content() -> bool {
    CAPTURES_CONTENT.load(Ordering::Relaxed)
}

/// Libraries' own spans stay out of the traces.
fn only_ours() -> tracing_subscriber::filter::Targets {
    tracing_subscriber::filter::Targets::new().with_targets(
        ["agent_runner", "clawdbot", "gateway_http", "session_store", "shared"]
            .map(|ours| (ours, tracing::Level::INFO)),
    )
}

fn tracer_provider(service_name: &'static str, environment: &Environment) -> Result<Option<SdkTracerProvider>, Error> {
    let is_wanted = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .into_iter()
        .any(|variable| environment.get(variable).is_some());
    let is_disabled = environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || environment.get("OTEL_TRACES_EXPORTER") == Some("none");
    if !is_wanted || is_disabled {
        return Ok(None);
    }
    let exporter = export::exporter(environment)?;
    // What the environment says beats what we say.
    let given = environment.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_given =
        |key: &str| given.split(',').any(|pair| pair.split('=').next().is_some_and(|name| name.trim() == key));
    let mut resource = Resource::builder();
    if !is_given("service.version") {
        resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    if environment.get("OTEL_SERVICE_NAME").is_none() && !is_given("service.name") {
        resource = resource.with_service_name(service_name);
    }
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
}
