//! The answer as it is written: a run's events as server-sent events, several per write where several are ready.

mod json;
mod sse;

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
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Frame;
use proto::agent::v1::{Failed, run_event::Kind};
use shared::telemetry::HeldSpan;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    Gateway,
    error::ApiError,
    metrics::{OpenStream, StreamOutcome},
    run::{Events, shutting_down},
};
pub(crate) use json::json;
pub(crate) use sse::Sse;

/// Enough for one write; what is ready beyond it waits for the next.
const WRITE_BYTES: usize = 16 * 1024;
/// How long the head of a streamed answer waits for the run to begin. What fails before gets a status of its own;
/// after that the stream is open, and errors come as frames.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// How an API writes a run's events.
pub(crate) trait Format: Send + Unpin + 'static {
    /// Writes what an event says; `failed` never comes here.
    fn take(&mut self, event: Kind, sse: &mut Sse);

    /// Ends the stream with the error that the run came to.
    fn fail(&mut self, error: &ApiError, sse: &mut Sse);

    /// Ends the stream, but not the run, with an error.
    fn break_off(&mut self, error: &ApiError, sse: &mut Sse);
}

/// The body of a streamed answer. Dropping it cancels a run that cannot be resumed.
pub(crate) struct Answer<F> {
    events: Events,
    format: F,
    sse: Sse,
    keep_alive: KeepAlive,
    /// Becomes ready when the gateway cannot wait for the answer any longer.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    has_ended: bool,
    outcome: StreamOutcome,
    /// The request's span, which ends with the stream.
    span: HeldSpan,
    /// What is counted of the stream, once it has a head.
    open: Option<OpenStream>,
}

/// Says when a stream has been silent for too long.
struct KeepAlive {
    interval: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Gateway {
    /// Opens the stream once the run has begun, so that a run which cannot begin gets a status of its own. A client that
    /// has had a part of the stream gets the rest of it, whatever that is.
    pub(crate) async fn stream(&self, events: Events, format: impl Format, sse: Sse) -> Result<Response, ApiError> {
        let mut answer = self.answer_with(events, format, sse);
        let opening = tokio::time::timeout(HEAD_WAIT, answer.begin()).await;
        // A run that waits for longer begins in the open stream.
        opening.unwrap_or(Ok(()))?;
        Ok(answer.into_response())
    }

    /// Opens the stream at once: whatever the run comes to, the stream tells of it.
    pub(crate) fn open_stream(&self, events: Events, format: impl Format, sse: Sse) -> Response {
        self.answer_with(events, format, sse).into_response()
    }

    fn answer_with<F: Format>(&self, events: Events, format: F, sse: Sse) -> Answer<F> {
        // A token of its own, so that streams do not share a lock.
        let cut = self.inner.cut.child_token();
        Answer::new(events, format, sse, self.settings().limits.keep_alive, cut)
    }
}

impl<F: Format> Answer<F> {
    fn new(events: Events, format: F, sse: Sse, keep_alive: Duration, cut: CancellationToken) -> Self {
        Self {
            events,
            format,
            sse,
            keep_alive: KeepAlive { interval: keep_alive, sleep: Box::pin(sleep(keep_alive)) },
            cut: Box::pin(cut.cancelled_owned()),
            has_ended: false,
            outcome: StreamOutcome::Cancelled,
            span: HeldSpan::current(),
            open: None,
        }
    }

    /// Waits until the run is not only taken on.
    async fn begin(&mut self) -> Result<(), ApiError> {
        loop {
            let event = self.events.next().await?;
            if let Kind::Failed(failed) = event {
                if !self.sse.is_resumed() {
                    return Err(failed.into());
                }
                self.fail(failed);
                return Ok(());
            }
            let has_begun = !matches!(event, Kind::Accepted(_));
            self.take(event);
            if has_begun {
                return Ok(());
            }
        }
    }

    fn take(&mut self, event: Kind) {
        self.has_ended = matches!(event, Kind::Finished(_));
        if self.has_ended {
            self.outcome = StreamOutcome::Ok;
        }
        self.format.take(event, &mut self.sse);
    }

    fn fail(&mut self, failed: Failed) {
        let error = self.end_badly(|| failed.into());
        self.format.fail(&error, &mut self.sse);
    }

    fn break_off(&mut self, error: impl FnOnce() -> ApiError) {
        // Its client did not hang up.
        self.events.let_go();
        let error = self.end_badly(error);
        self.format.break_off(&error, &mut self.sse);
    }

    /// The error is made within the request's span, since making it may log.
    fn end_badly(&mut self, error: impl FnOnce() -> ApiError) -> ApiError {
        let error = self.span.in_scope(|| {
            let error = error();
            let status = error.status().as_u16();
            tracing::info!(http.response.status_code = status, "a streamed answer ended with an error");
            error
        });
        self.span.record("otel.status_code", "error");
        self.span.record("error.type", error.code());
        self.outcome = StreamOutcome::Error;
        self.has_ended = true;
        error
    }

    /// Takes what is ready, up to one write's worth.
    fn take_ready(&mut self, context: &mut Context<'_>) {
        while !self.has_ended && self.sse.len() < WRITE_BYTES {
            match self.events.poll_next(context) {
                Poll::Ready(Ok(Kind::Failed(failed))) => self.fail(failed),
                Poll::Ready(Ok(event)) => self.take(event),
                Poll::Ready(Err(broken)) => self.break_off(|| broken.into()),
                Poll::Pending if self.cut.as_mut().poll(context).is_ready() => self.break_off(shutting_down),
                Poll::Pending => return,
            }
        }
    }
}

impl<F: Format> http_body::Body for Answer<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.take_ready(context);
        let outcome = self.outcome;
        if let Some(open) = &mut self.open {
            open.outcome = outcome;
        }
        if self.sse.is_empty() {
            if self.has_ended {
                return Poll::Ready(None);
            }
            if self.keep_alive.poll(context).is_pending() {
                return Poll::Pending;
            }
            self.sse.comment("keep-alive");
        }
        self.keep_alive.restart();
        Poll::Ready(Some(Ok(Frame::data(self.sse.take()))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.sse.is_empty()
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

impl<F: Format> IntoResponse for Answer<F> {
    fn into_response(mut self) -> Response {
        self.open = Some(OpenStream::begin());
        let mut response = Response::new(Body::new(self));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Asks nginx and its kin not to hold the stream back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}
