//! The answer as it is written: server-sent events, one chunk per event of the run, several chunks per write where
//! several are ready.

mod chunk;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::Stream;
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Frame;
use proto::agent::v1::{Finished, RunResponse, run_event::Kind};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Streaming;
use tracing::Span;

use super::{ended_early, envelope::Envelope, shutting_down};
use crate::error::ApiError;
use chunk::Writer;

/// Enough for one write; what is ready beyond it waits for the next.
const WRITE_BYTES: usize = 16 * 1024;

/// The body of a streamed answer. Dropping it cancels a run that cannot be resumed.
pub(super) struct Chunks {
    events: Streaming<RunResponse>,
    envelope: Envelope,
    writer: Writer,
    keep_alive: KeepAlive,
    /// Becomes ready when the gateway cannot wait for the answer any longer.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    has_ended: bool,
    /// The request's span, which ends with the stream.
    span: Span,
}

/// Says when a stream has been silent for too long.
struct KeepAlive {
    interval: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Chunks {
    pub(super) fn new(
        events: Streaming<RunResponse>,
        envelope: Envelope,
        include_usage: bool,
        keep_alive: Duration,
        cut: CancellationToken,
    ) -> Self {
        Self {
            events,
            envelope,
            writer: Writer::new(include_usage),
            keep_alive: KeepAlive { interval: keep_alive, sleep: Box::pin(sleep(keep_alive)) },
            cut: Box::pin(cut.cancelled_owned()),
            has_ended: false,
            span: Span::current(),
        }
    }

    pub(super) fn take(&mut self, kind: Option<Kind>) {
        match kind {
            Some(Kind::Started(started)) => {
                self.envelope.begin(&started);
                self.writer.begin(&self.envelope);
            }
            Some(Kind::TextDelta(text)) => self.writer.text(&text),
            Some(Kind::ToolCallDelta(delta)) => self.writer.tool_call(&delta),
            Some(Kind::Finished(finished)) => self.finish(&finished),
            Some(Kind::Failed(failed)) => self.fail(|| failed.into()),
            Some(
                Kind::Accepted(_)
                | Kind::ReasoningDelta(_)
                | Kind::RefusalDelta(_)
                | Kind::LogprobsDelta(_)
                | Kind::ToolStarted(_)
                | Kind::ToolFinished(_)
                | Kind::Usage(_),
            )
            | None => {}
        }
    }

    fn finish(&mut self, finished: &Finished) {
        self.writer.finish(finished.reason(), finished.usage.unwrap_or_default());
        self.has_ended = true;
    }

    /// The error is made within the request's span, since making it may log.
    fn fail(&mut self, error: impl FnOnce() -> ApiError) {
        let error = self.span.in_scope(|| {
            let error = error();
            let status = error.status().as_u16();
            tracing::info!(http.response.status_code = status, "a streamed answer ended with an error");
            error
        });
        self.span.record("otel.status_code", "error");
        self.writer.error(&error);
        self.has_ended = true;
    }

    /// Takes what is ready, up to one write's worth.
    fn take_ready(&mut self, context: &mut Context<'_>) {
        while !self.has_ended && self.writer.len() < WRITE_BYTES {
            match Pin::new(&mut self.events).poll_next(context) {
                Poll::Ready(Some(Ok(response))) => self.take(response.event.and_then(|event| event.kind)),
                Poll::Ready(Some(Err(status))) => self.fail(|| status.into()),
                Poll::Ready(None) => self.fail(ended_early),
                Poll::Pending if self.cut.as_mut().poll(context).is_ready() => self.fail(shutting_down),
                Poll::Pending => return,
            }
        }
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.take_ready(context);
        if self.writer.is_empty() {
            if self.has_ended {
                return Poll::Ready(None);
            }
            if self.keep_alive.poll(context).is_pending() {
                return Poll::Pending;
            }
            self.writer.comment("keep-alive");
        }
        self.keep_alive.restart();
        Poll::Ready(Some(Ok(Frame::data(self.writer.take()))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.writer.is_empty()
    }
}

impl KeepAlive {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(context)
    }

    fn restart(&mut self) {
        let next = Instant::now() + self.interval;
        self.sleep.as_mut().reset(next);
    }
}

impl IntoResponse for Chunks {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::new(self));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Asks nginx and its kin not to hold the stream back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}
