//! The way to the collector of traces.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use tokio::runtime::Handle;

use super::Error;
use crate::config::Environment;

/// The variables that name the protocol, the first one first (OpenTelemetry Protocol Exporter, configuration options).
const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Exports by gRPC, unless the environment says HTTP.
pub(super) fn exporter(environment: &Environment) -> Result<SpanExporter, Error> {
    let named = VARIABLES.into_iter().find_map(|variable| Some((variable, environment.get(variable)?)));
    match named {
        None | Some((_, "grpc")) => Ok(SpanExporter::builder().with_tonic().build()?),
        Some((_, "http/protobuf")) => {
            let client = Client { client: reqwest::Client::builder().build()?, runtime: Handle::current() };
            let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            Ok(exporter.with_http_client(client).build()?)
        }
        Some((variable, protocol)) => Err(Error::Protocol { variable, protocol: protocol.to_owned() }),
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
