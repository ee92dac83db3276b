//! An OTLP collector in the test's process, by gRPC and HTTP, which keeps every span it is sent and tells traces as Jaeger
//! does.

use std::net::Ipv4Addr;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value,
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::{
    Response, Status,
    transport::{Server, server::TcpIncoming},
};

use super::TracedSpan;

/// The collector; it stops when dropped.
pub(crate) struct Collector {
    endpoint: String,
    http_endpoint: String,
    spans: watch::Sender<Vec<CollectedSpan>>,
    servers: [JoinHandle<()>; 2],
}

/// A span and the service that made it.
#[derive(Clone, Debug)]
pub(crate) struct CollectedSpan {
    /// The resource's `service.name`.
    pub(crate) service: String,
    pub(crate) span: Span,
}

impl CollectedSpan {
    /// The trace's id as it stands in a `traceparent`.
    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The span's id as it stands in a `traceparent`.
    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// A text among its attributes; empty when there is none.
    pub(crate) fn attribute(&self, key: &str) -> String {
        let attribute = self.span.attributes.iter().find(|attribute| attribute.key == key);
        match attribute.and_then(|attribute| attribute.value.as_ref()?.value.clone()) {
            Some(any_value::Value::StringValue(text)) => text,
            _ => String::new(),
        }
    }

    /// The parent's id; empty for a root.
    pub(crate) fn parent_id(&self) -> String {
        hex(&self.span.parent_span_id)
    }
}

impl Collector {
    pub(crate) fn start() -> Self {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let endpoint = format!("http://{}", incoming.local_addr().unwrap());
        let spans = watch::Sender::default();
        let service = TraceServiceServer::new(Service(spans.clone()));
        let server = Server::builder().add_service(service).serve_with_incoming(incoming);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let http_endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .route("/api/traces/{id}", get(tell))
            .with_state(Service(spans.clone()));
        let http = axum::serve(TcpListener::from_std(listener).unwrap(), routes);
        let servers =
            [tokio::spawn(async move { server.await.unwrap() }), tokio::spawn(async move { http.await.unwrap() })];
        Self { endpoint, http_endpoint, spans, servers }
    }

    /// The same for `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`. Traces are there as at a Jaeger's address.
    pub(crate) fn http_endpoint(&self) -> &str {
        &self.http_endpoint
    }

    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Waits until `enough` holds for the spans collected so far.
    pub(crate) async fn spans(&self, enough: impl Fn(&[CollectedSpan]) -> bool) -> Vec<CollectedSpan> {
        let mut spans = self.spans.subscribe();
        let found = tokio::time::timeout(super::DEADLINE, spans.wait_for(|spans| enough(spans))).await;
        if let Ok(found) = found {
            return found.unwrap().clone();
        }
        panic!("not all spans arrive; there are {:#?}", *self.spans.borrow());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Clone)]
struct Service(watch::Sender<Vec<CollectedSpan>>);

impl Service {
    fn keep(&self, request: ExportTraceServiceRequest) {
        let spans = request.resource_spans.into_iter().flat_map(|of_resource| {
            let service = service_name(of_resource.resource.as_ref());
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            spans.map(move |span| CollectedSpan { service: service.clone(), span })
        });
        self.0.send_modify(|collected| collected.extend(spans));
    }
}

async fn take(State(service): State<Service>, body: Bytes) -> Vec<u8> {
    service.keep(ExportTraceServiceRequest::decode(body).unwrap());
    ExportTraceServiceResponse::default().encode_to_vec()
}

async fn tell(State(service): State<Service>, Path(trace_id): Path<String>) -> Json<Value> {
    let spans = service.0.borrow();
    let spans: Vec<_> = spans.iter().filter(|span| span.trace_id() == trace_id).map(TracedSpan::from).collect();
    Json(TracedSpan::to_jaeger(&trace_id, &spans))
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn service_name(resource: Option<&Resource>) -> String {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    match name.and_then(|name| name.value.as_ref()?.value.clone()) {
        Some(any_value::Value::StringValue(name)) => name,
        other => panic!("service.name is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
