//! Leave to run an agent, held until the answer is over.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    CallerLimits,
    usage::{Usage, give_back, take},
};
use crate::error::ApiError;

/// One of the caller's runs, for as long as it lives.
#[must_use = "without its permit a run is not counted"]
pub(crate) struct Permit(Option<Held>);

/// What was taken of a caller's, and goes back when this is dropped.
struct Held {
    usage: Arc<Usage>,
    limits: CallerLimits,
    is_run: bool,
    is_stream: bool,
}

/// An answer whose run counts until its last byte is taken, or nobody takes it any more.
struct Guarded {
    body: Body,
    held: Option<Held>,
}

impl Permit {
    /// A permit of a caller whose runs are not counted.
    pub(super) fn unlimited() -> Self {
        Self(None)
    }

    pub(super) fn take_run(usage: Arc<Usage>, limits: CallerLimits) -> Result<Self, ApiError> {
        if !take(&usage.runs, limits.max_runs) {
            return Err(ApiError::too_many_at_once("runs"));
        }
        Ok(Self(Some(Held { usage, limits, is_run: true, is_stream: false })))
    }

    /// For an answer that tells of a run which counts already.
    pub(super) fn of_counted_run(usage: Arc<Usage>, limits: CallerLimits) -> Self {
        Self(Some(Held { usage, limits, is_run: false, is_stream: false }))
    }

    /// Has the answer count as a stream, too.
    pub(crate) fn streamed(mut self) -> Result<Self, ApiError> {
        if let Some(held) = &mut self.0 {
            if !take(&held.usage.streams, held.limits.max_streams) {
                return Err(ApiError::too_many_at_once("streams"));
            }
            held.is_stream = true;
        }
        Ok(self)
    }

    /// Takes the run out of it, which may outlive the stream; nothing if nothing is counted.
    pub(crate) fn split_run(&mut self) -> Option<Self> {
        let held = self.0.as_mut().filter(|held| held.is_run)?;
        held.is_run = false;
        Some(Self(Some(Held { usage: held.usage.clone(), limits: held.limits, is_run: true, is_stream: false })))
    }

    /// Keeps the permit until the answer is over, or its client gone.
    pub(crate) fn hold(self, response: Response) -> Response {
        match self.0 {
            None => response,
            Some(held) => response.map(|body| Body::new(Guarded { body, held: Some(held) })),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_run {
            give_back(&self.usage.runs);
        }
        if self.is_stream {
            give_back(&self.usage.streams);
        }
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            // Before the last byte is sent, so that a client which has it can begin the next run.
            self.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::atomic::Ordering};

    use http_body_util::BodyExt;

    use super::*;

    fn limits(max_runs: u32, max_streams: u32) -> CallerLimits {
        CallerLimits { rate: None, max_runs: NonZeroU32::new(max_runs), max_streams: NonZeroU32::new(max_streams) }
    }

    #[tokio::test]
    async fn a_run_counts_until_its_answer_is_read() {
        let usage = Arc::new(Usage::default());
        let take = || Permit::take_run(Arc::clone(&usage), limits(1, 0));
        let answer = take().expect("the first").hold(Response::new(Body::from("hello")));
        assert_eq!(take().err(), Some(ApiError::too_many_at_once("runs")));
        let mut body = answer.into_body();
        body.frame().await.expect("a frame").expect("no error");
        assert!(take().is_ok(), "the last byte is taken, though the body is still there");
    }

    #[tokio::test]
    async fn a_run_counts_no_more_once_its_answer_is_dropped() {
        let usage = Arc::new(Usage::default());
        let take = || Permit::take_run(Arc::clone(&usage), limits(0, 1)).and_then(Permit::streamed);
        let answer = take().expect("the first").hold(Response::new(Body::from("hello")));
        assert_eq!(take().err(), Some(ApiError::too_many_at_once("streams")));
        drop(answer);
        assert!(take().is_ok());
        assert_eq!((usage.runs.load(Ordering::Acquire), usage.streams.load(Ordering::Acquire)), (0, 0));
    }

    #[tokio::test]
    async fn a_run_may_outlive_its_stream() {
        let usage = Arc::new(Usage::default());
        let count = || (usage.runs.load(Ordering::Acquire), usage.streams.load(Ordering::Acquire));
        let told = || Permit::of_counted_run(Arc::clone(&usage), limits(1, 1)).streamed();
        let stream = Permit::take_run(Arc::clone(&usage), limits(1, 1)).and_then(Permit::streamed);
        let mut stream = stream.expect("the first");
        let run = stream.split_run().expect("it is counted");
        assert!(stream.split_run().is_none(), "there is one run only");
        drop(stream);
        assert_eq!(count(), (1, 0));
        let first = told().expect("it is no run");
        assert!(told().is_err());
        assert_eq!(count(), (1, 1));
        drop((run, first));
        assert_eq!(count(), (0, 0));
    }

    #[tokio::test]
    async fn what_is_no_stream_does_not_count_as_one() {
        let usage = Arc::new(Usage::default());
        let stream = Permit::take_run(Arc::clone(&usage), limits(0, 1)).and_then(Permit::streamed);
        let _stream = stream.expect("the first");
        assert!(Permit::take_run(Arc::clone(&usage), limits(0, 1)).is_ok());
    }
}
