//! A response body that keeps what belongs to its call until the last byte: the span, its place among the calls in flight, the
//! deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};
use tracing::Span;

use super::{deadline, server::Served};
use crate::telemetry::HeldSpan;

pub(super) struct Scoped<P = ()> {
    body: Body,
    span: Option<(HeldSpan, Side)>,
    /// The call's place among those in flight.
    place: Option<P>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// On the service's side, what is counted of the call.
    served: Option<Served>,
}

impl<P: Send + Unpin + 'static> Scoped<P> {
    pub(super) fn new(body: Body) -> Self {
        Self { body, span: None, place: None, deadline: None, served: None }
    }

    pub(super) fn span(mut self, span: HeldSpan, side: Side) -> Self {
        self.span = Some((span, side));
        self
    }

    pub(super) fn place(mut self, place: P) -> Self {
        self.place = Some(place);
        self
    }

    pub(super) fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        self
    }

    pub(super) fn served(mut self, served: Served) -> Self {
        self.served = Some(served);
        self
    }

    pub(super) fn boxed(self) -> Body {
        Body::new(self)
    }

    /// Notes what the call's status is.
    fn ended(&mut self, trailers: &http::HeaderMap) {
        let none = Span::none();
        let (span, side) = self.span.as_ref().map_or((&none, Side::Client), |(span, side)| (&**span, *side));
        let code = record_status(span, trailers, side);
        if let (Some(served), Some(code)) = (&mut self.served, code) {
            served.ended(code);
        }
    }

    /// Ends the call: what it held is let go even if the caller keeps the body.
    fn finish(&mut self) {
        self.place = None;
        self.deadline = None;
        self.served = None;
        self.span = None;
    }
}

/// Whose span it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A call's full method name, and the service and the method in it.
pub(super) fn method(path: &str) -> (&str, &str, &str) {
    let name = path.trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or((name, ""));
    (name, service, method)
}

/// Notes on a call's span what its status is, in the trailers or in a head without a body; returns it.
pub(super) fn record_status(span: &Span, headers: &http::HeaderMap, side: Side) -> Option<Code> {
    let status = Status::from_header_map(headers)?;
    span.record("rpc.grpc.status_code", i32::from(status.code()));
    if status.code() != Code::Ok {
        // Of a service, only what is its own fault is an error (OpenTelemetry's conventions for gRPC).
        let is_of_the_service = matches!(
            status.code(),
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        );
        if side == Side::Client || is_of_the_service {
            span.record("otel.status_code", "error");
        }
        span.record("error.type", format!("{:?}", status.code()));
    }
    Some(status.code())
}

/// Notes on a call's span that it did not reach the service.
pub(super) fn record_broken(span: &Span) {
    span.record("otel.status_code", "error");
    span.record("error.type", "transport");
}

impl<P: Send + Unpin + 'static> http_body::Body for Scoped<P> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        self.ended(trailers);
                        self.finish();
                    }
                }
                Some(Err(_)) => {
                    if let Some((span, _)) = &self.span {
                        record_broken(span);
                    }
                    self.finish();
                }
                None => self.finish(),
            }
            return Poll::Ready(frame);
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        self.body = Body::empty();
        let mut trailers = http::HeaderMap::new();
        let written = deadline::exceeded().add_header(&mut trailers);
        self.ended(&trailers);
        self.finish();
        Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
