//! Runs as the gateway sees them: begun at the runner, and told of in events.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use proto::agent::v1::{AttachResponse, RunRequest, RunResponse, run_event::Kind};
use tonic::{Status, Streaming};

use crate::{Gateway, error::ApiError};

/// How long the runner may take to take a run on, or to refuse it.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// What happens in a run, in order. Dropping it cancels a run that cannot be resumed.
pub(crate) enum Events {
    /// Of a run that was begun by this request, or would have been.
    Run(Streaming<RunResponse>),
    /// The same, with an event that was taken from it already.
    Begun(Option<Kind>, Streaming<RunResponse>),
    /// Of a kept run.
    Attached(Streaming<AttachResponse>),
}

impl Events {
    /// What happens next.
    pub(crate) async fn next(&mut self) -> Result<Kind, Broken> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same, to be polled. Not to be called again after `finished`, `failed` or an error.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Kind, Broken>> {
        loop {
            let next = match self {
                Self::Begun(first, _) if first.is_some() => return Poll::Ready(first.take().ok_or(Broken(None))),
                Self::Run(events) | Self::Begun(_, events) => {
                    ready!(Pin::new(events).poll_next(context)).map(|next| next.map(|RunResponse { event }| event))
                }
                Self::Attached(events) => {
                    ready!(Pin::new(events).poll_next(context)).map(|next| next.map(|AttachResponse { event }| event))
                }
            };
            let event = match next {
                Some(Ok(event)) => event,
                Some(Err(status)) => return Poll::Ready(Err(Broken(Some(status)))),
                None => return Poll::Ready(Err(Broken(None))),
            };
            // A newer runner may tell of what is not known here.
            if let Some(kind) = event.and_then(|event| event.kind) {
                return Poll::Ready(Ok(kind));
            }
        }
    }
}

/// The runner is gone without saying how the run did; the status is its last word.
#[derive(Debug)]
pub(crate) struct Broken(Option<Status>);

impl Broken {
    /// Whether the stream has merely ended, as that of a snapshot does.
    pub(crate) fn is_end(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Broken> for ApiError {
    fn from(Broken(status): Broken) -> Self {
        status.map_or_else(|| Self::unavailable("the agent runner broke off; try again later"), Self::from)
    }
}

impl Gateway {
    /// Begins a run, which ends when its events are dropped.
    pub(crate) async fn run(&self, run: RunRequest) -> Result<Events, ApiError> {
        self.accepted(run).await.map(Events::Run)
    }

    /// Begins a run, and waits for its first event: a kept run is recorded then.
    pub(crate) async fn begun(&self, run: RunRequest) -> Result<Events, ApiError> {
        let mut events = Events::Run(self.accepted(run).await?);
        let first = events.next().await?;
        Ok(match events {
            Events::Run(events) => Events::Begun(Some(first), events),
            Events::Begun(..) | Events::Attached(_) => events,
        })
    }

    async fn accepted(&self, run: RunRequest) -> Result<Streaming<RunResponse>, ApiError> {
        let mut runner = self.inner.runner.clone();
        match tokio::time::timeout(ACCEPT_TIMEOUT, runner.run(run)).await {
            Ok(accepted) => Ok(accepted?.into_inner()),
            Err(_) => Err(ApiError::unavailable("the agent runner did not answer; try again later")),
        }
    }
}

/// The gateway ends before the answer does.
pub(crate) fn shutting_down() -> ApiError {
    ApiError::unavailable("the gateway is shutting down; try again later")
}
