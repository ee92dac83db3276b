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

use super::deadline;

pub(super) struct Scoped<P = ()> {
    body: Body,
    span: Option<Span>,
    /// The call's place among those in flight.
    place: Option<P>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<P: Send + Unpin + 'static> Scoped<P> {
    pub(super) fn new(body: Body) -> Self {
        Self { body, span: None, place: None, deadline: None }
    }

    pub(super) fn span(mut self, span: Span) -> Self {
        self.span = Some(span);
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

    pub(super) fn boxed(self) -> Body {
        Body::new(self)
    }

    /// Ends the call: what it held is let go even if the caller keeps the body.
    fn finish(&mut self) {
        self.place = None;
        self.deadline = None;
        self.span = None;
    }
}

/// Marks a call's span as failed if its status, in the trailers or in a head without a body, says so.
pub(super) fn record_status(span: &Span, headers: &http::HeaderMap) {
    if Status::from_header_map(headers).is_some_and(|status| status.code() != Code::Ok) {
        span.record("otel.status_code", "error");
    }
}

impl<P: Send + Unpin + 'static> http_body::Body for Scoped<P> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        if let Some(span) = &self.span {
                            record_status(span, trailers);
                        }
                        self.finish();
                    }
                }
                Some(Err(_)) | None => self.finish(),
            }
            return Poll::Ready(frame);
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        self.body = Body::empty();
        self.finish();
        let mut trailers = http::HeaderMap::new();
        Poll::Ready(Some(deadline::exceeded().add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
