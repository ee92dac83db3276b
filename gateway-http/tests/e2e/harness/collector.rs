//! An OTLP collector in the test's process, which keeps every span it is sent.

use std::net::Ipv4Addr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value,
    resource::v1::Resource,
    trace::v1::Span,
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{
    Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// The collector; it stops when dropped.
pub(crate) struct Collector {
    endpoint: String,
    spans: watch::Sender<Vec<CollectedSpan>>,
    server: JoinHandle<()>,
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
        Self { endpoint, spans, server: tokio::spawn(async move { server.await.unwrap() }) }
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
        self.server.abort();
    }
}

struct Service(watch::Sender<Vec<CollectedSpan>>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let of_resources = request.into_inner().resource_spans;
        let spans = of_resources.into_iter().flat_map(|of_resource| {
            let service = service_name(of_resource.resource.as_ref());
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            spans.map(move |span| CollectedSpan { service: service.clone(), span })
        });
        self.0.send_modify(|collected| collected.extend(spans));
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
