//! A run that moves to another runner when its own dies before it has given anything.
//!
//! Nothing is told twice, since nothing was told; and no turn is taken twice, since the session store gives the lease to
//! the newest of the runs with one id, and only who has the lease can write.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use proto::agent::v1::{RunRequest, RunResponse, run_event::Kind};
use shared::transport::is_broken;
use tonic::{Status, Streaming};

use super::{Broken, poll_kind};
use crate::{Gateway, body::Room, error::ApiError, kept::CancelGuard, metrics};

/// How long it is waited before each try to find another runner: if there is none, the one that died may be back.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1)];

/// A run's events, from whichever runner has it.
pub(crate) struct Moving {
    events: Streaming<RunResponse>,
    /// An event that was taken already.
    first: Option<Kind>,
    is_accepted: bool,
    is_started: bool,
    /// Whether there was more than that.
    has_given: bool,
    /// What the request takes of the gateway's memory, until then.
    room: Option<Room>,
    /// Cancels a kept run if this is dropped before the run is over.
    pub(super) guard: Option<CancelGuard>,
    /// What it takes to begin again, until the run has given something.
    again: Option<Again>,
}

struct Again {
    gateway: Gateway,
    run: RunRequest,

    tries: usize,
    beginning: Option<Beginning>,
}

type Beginning = Pin<Box<dyn Future<Output = Result<Streaming<RunResponse>, Status>> + Send>>;

impl Gateway {
    pub(super) async fn begin_moving(&self, run: RunRequest) -> Result<Moving, ApiError> {
        let again = self.inner.is_runner_remote.then(|| Again::new(self.clone(), run.clone()));
        let (events, again) = match (self.accepted(run).await, again) {
            (Ok(events), again) => (events, again),
            (Err(status), Some(mut again)) => (again.begin(status).await?, Some(again)),
            (Err(status), None) => return Err(status.into()),
        };
        Ok(Moving {
            events,
            first: None,
            is_accepted: false,
            is_started: false,
            has_given: false,
            room: None,
            guard: None,
            again,
        })
    }
}

impl Moving {
    /// Waits for the first event, which is then told as the next one.
    pub(super) async fn begin(&mut self) -> Result<(), Broken> {
        let first = std::future::poll_fn(|context| self.poll_next(context)).await?;
        self.first = Some(first);
        Ok(())
    }

    pub(super) fn hold(&mut self, room: Room) {
        if !self.has_given {
            self.room = Some(room);
        }
    }

    pub(super) fn let_go(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Kind, Broken>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(first));
        }
        loop {
            if let Some(again) = &mut self.again
                && again.beginning.is_some()
            {
                self.events = ready!(again.poll(context)).map_err(|status| Broken(Some(status)))?;
            }
            match ready!(poll_kind(&mut self.events, context, |RunResponse { event }| event?.kind)) {
                // A run that has moved is taken on and begins only once.
                Ok(Kind::Accepted(_)) if self.is_accepted => {}
                Ok(Kind::Started(_)) if self.is_started => {}
                Ok(event) => {
                    self.is_accepted |= matches!(event, Kind::Accepted(_));
                    self.is_started |= matches!(event, Kind::Started(_));
                    if !matches!(event, Kind::Accepted(_) | Kind::Started(_)) {
                        self.has_given = true;
                        (self.again, self.room) = (None, None);
                    }
                    return Poll::Ready(Ok(event));
                }
                Err(broken) => {
                    let again = self.again.as_mut().zip(broken.0.as_ref());
                    if !again.is_some_and(|(again, status)| again.start(status)) {
                        return Poll::Ready(Err(broken));
                    }
                }
            }
        }
    }
}

impl Again {
    fn new(gateway: Gateway, run: RunRequest) -> Self {
        Self { gateway, run, tries: 0, beginning: None }
    }

    /// Begins the run once more if the way to its runner broke; false when it was not that, or was tried often enough.
    fn start(&mut self, status: &Status) -> bool {
        if !is_broken(status) {
            return false;
        }
        let Some(&pause) = PAUSES.get(self.tries) else { return false };
        self.tries += 1;
        tracing::warn!(run.id = self.run.run_id, %status, "a run's runner is gone; the run begins anew at another");
        metrics::run_moved();
        let (gateway, run) = (self.gateway.clone(), self.run.clone());
        self.beginning = Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            gateway.accepted(run).await
        }));
        true
    }

    /// Begins the run elsewhere if it can; else the failure stays.
    async fn begin(&mut self, status: Status) -> Result<Streaming<RunResponse>, Status> {
        if !self.start(&status) {
            return Err(status);
        }
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// Goes on until a runner takes the run on, or none does.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Streaming<RunResponse>, Status>> {
        loop {
            let Some(beginning) = &mut self.beginning else {
                return Poll::Ready(Err(Status::unavailable("the agent runner broke off; try again later")));
            };
            let begun = ready!(beginning.as_mut().poll(context));
            self.beginning = None;
            match begun {
                Err(status) if self.start(&status) => {}
                begun => return Poll::Ready(begun),
            }
        }
    }
}
