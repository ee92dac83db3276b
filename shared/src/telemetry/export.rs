//! The way to the collector of traces.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use metrics::{Unit, counter, describe_counter};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter as Exporter},
};
use tokio::runtime::Handle;

use super::Error;
use crate::config::Environment;

/// The variables that name the protocol, and the time for one export in milliseconds, the first one first (OpenTelemetry
/// Protocol Exporter, configuration options).
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const EXPORTED_SPANS: &str = "clawdbot_trace_spans_total";

/// Says what the metric is, to whatever records it by now.
pub(crate) fn describe() {
    describe_counter!(EXPORTED_SPANS, Unit::Count, "Spans that were sent to the collector, or could not be.");
}

/// Exports by gRPC, unless the environment says HTTP.
pub(super) fn exporter(environment: &Environment) -> Result<Told<SpanExporter>, Error> {
    let named = PROTOCOL.into_iter().find_map(|variable| Some((variable, environment.get(variable)?)));
    let exporter = match named {
        None | Some((_, "grpc")) => SpanExporter::builder().with_tonic().build()?,
        Some((_, "http/protobuf")) => {
            let timeout = TIMEOUT.into_iter().find_map(|variable| environment.get(variable)?.parse().ok());
            let client = reqwest::Client::builder()
                .timeout(timeout.map_or(DEFAULT_TIMEOUT, Duration::from_millis))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()?;
            let client = Client { client, runtime: Handle::current() };
            let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            exporter.with_http_client(client).build()?
        }
        Some((variable, protocol)) => return Err(Error::Protocol { variable, protocol: protocol.to_owned() }),
    };
    Ok(Told { exporter, is_failing: AtomicBool::new(false) })
}

/// An exporter that says in the log when it begins to fail, and when it works again.
#[derive(Debug)]
pub(super) struct Told<E> {
    exporter: E,
    is_failing: AtomicBool,
}

impl<E: Exporter> Exporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !was_failing => {
                tracing::warn!(%error, "traces cannot be sent to their collector; they are lost");
            }
            Ok(()) if was_failing => tracing::info!("traces are sent to their collector again"),
            Ok(()) | Err(_) => {}
        }
        let outcome = if exported.is_ok() { "ok" } else { "error" };
        counter!(EXPORTED_SPANS, "outcome" => outcome).increment(spans);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Sends from a thread that has no runtime, which the exporter's has not.
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move {
            let mut answer = client.execute(request.try_into()?).await?.error_for_status()?;
            let headers = std::mem::take(answer.headers_mut());
            let mut response = Response::builder().status(answer.status()).body(answer.bytes().await?)?;
            *response.headers_mut() = headers;
            Ok(response)
        };
        self.runtime.spawn(sending).await?
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}
