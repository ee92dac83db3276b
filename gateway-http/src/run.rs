//! Runs as the gateway sees them: begun at the runner, and told of in events.

mod moving;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use proto::agent::v1::{AttachResponse, RunRequest, RunResponse, run_event::Kind};
use tonic::{Status, Streaming};

use crate::{Gateway, body::Room, error::ApiError, kept::CancelGuard};
use moving::Moving;

/// How long the runner may take to take a run on, or to refuse it.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// What happens in a run, in order. Dropping it before the run is over cancels the run, unless it goes on without
/// whoever follows it.
pub(crate) enum Events {
    /// Of a run that was begun by this request, or would have been.
    Run(Box<Moving>),
    /// Of a kept run.
    Attached(Box<Streaming<AttachResponse>>),
}

impl Events {
    /// Has a kept run, which would go on without its events, be cancelled with them.
    pub(crate) fn guarded(mut self, guard: CancelGuard) -> Self {
        match &mut self {
            Self::Run(run) => run.guard = Some(guard),
            Self::Attached(_) => {}
        }
        self
    }

    /// Keeps the request's room until the run has given something: so long what was asked is held, to begin again with.
    pub(crate) fn holding(mut self, room: Room) -> Self {
        match &mut self {
            Self::Run(run) => run.hold(room),
            Self::Attached(_) => {}
        }
        self
    }

    /// Has a kept run go on without its events after all.
    pub(crate) fn let_go(&mut self) {
        match self {
            Self::Run(run) => run.let_go(),
            Self::Attached(_) => {}
        }
    }

    /// What happens next.
    pub(crate) async fn next(&mut self) -> Result<Kind, Broken> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same, to be polled. Not to be called again after `finished`, `failed` or an error.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Kind, Broken>> {
        match self {
            Self::Run(run) => {
                let event = ready!(run.poll_next(context));
                if matches!(event, Ok(Kind::Finished(_) | Kind::Failed(_))) {
                    run.let_go();
                }
                Poll::Ready(event)
            }
            Self::Attached(events) => poll_kind(events, context, |AttachResponse { event }| event?.kind),
        }
    }
}

/// The next event of a stream that is known here: a newer runner may tell of others.
fn poll_kind<T>(
    events: &mut Streaming<T>,
    context: &mut Context<'_>,
    kind: impl Fn(T) -> Option<Kind>,
) -> Poll<Result<Kind, Broken>> {
    loop {
        match ready!(Pin::new(&mut *events).poll_next(context)) {
            Some(Ok(event)) => {
                if let Some(kind) = kind(event) {
                    return Poll::Ready(Ok(kind));
                }
            }
            Some(Err(status)) => return Poll::Ready(Err(Broken(Some(status)))),
            None => return Poll::Ready(Err(Broken(None))),
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
    /// Begins a run, which ends when its events are dropped, unless it is kept.
    pub(crate) async fn run(&self, run: RunRequest) -> Result<Events, ApiError> {
        Ok(Events::Run(Box::new(Box::pin(self.begin_moving(run)).await?)))
    }

    /// Begins a run, and waits for its first event: a kept run is recorded then.
    pub(crate) async fn begun(&self, run: RunRequest) -> Result<Events, ApiError> {
        let mut run = Box::pin(self.begin_moving(run)).await?;
        run.begin().await?;
        Ok(Events::Run(Box::new(run)))
    }

    async fn accepted(&self, run: RunRequest) -> Result<Streaming<RunResponse>, Status> {
        let mut runner = self.inner.runner.clone();
        match tokio::time::timeout(ACCEPT_TIMEOUT, runner.run(run)).await {
            Ok(accepted) => Ok(accepted?.into_inner()),
            Err(_) => Err(Status::unavailable("the agent runner did not answer; try again later")),
        }
    }
}

/// The gateway ends before the answer does.
pub(crate) fn shutting_down() -> ApiError {
    ApiError::unavailable("the gateway is shutting down; try again later")
}
