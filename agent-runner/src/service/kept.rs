//! Kept runs, found wherever they are: here, at another runner, or in the session store.

use std::{
    pin::Pin,
    time::{Duration, SystemTime},
};

use futures_util::{Stream, TryStreamExt, stream};
use proto::{
    agent::v1::{AttachRequest, AttachResponse, CancelRequest, Failed, FailureCode, RunEvent, run_event::Kind},
    session::v1::{Run, RunState},
};
use shared::transport::is_broken;
use tonic::{Code, Status};

use super::Service;
use crate::{
    failure::Failure,
    resumable::{outcome, unreachable},
    run,
};

/// A kept run's events on their way to who asked for them.
pub(super) type Attached = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

impl Service {
    /// A run's events as far as they are known here, or at the run's own runner, or kept by the session store. Of a run
    /// whose runner is gone there is the first event, and then an error, or in a snapshot its failure.
    pub(super) async fn attach_anywhere(&self, request: AttachRequest) -> Result<Attached, Status> {
        let AttachRequest { run_id, after_seq, local_only, is_snapshot } = &request;
        // The runner at which the run is recorded, and is not.
        let mut left = String::new();
        loop {
            if let Some(log) = self.inner.live.log(run_id) {
                return Ok(if *is_snapshot {
                    attached(stream::iter(log.snapshot(*after_seq).await))
                } else {
                    attached(log.follow(*after_seq))
                });
            }
            if *local_only {
                return Err(unknown(run_id));
            }
            let recorded = self.recorded(run_id).await?;
            match recorded.state() {
                RunState::Finished => return Ok(attached(stream::iter(events(&recorded, *after_seq)?))),
                RunState::Running if recorded.runner == left => return lost(&recorded, &request),
                // It may have ended in the meantime, or begun.
                RunState::Running if recorded.runner == self.inner.store.runner() => left = recorded.runner,
                RunState::Running => match self.inner.peers.attach(&recorded.runner, request.clone()).await {
                    Ok(events) => return Ok(Box::pin(events.map_err(from_peer))),
                    Err(status) if status.code() == Code::NotFound => left = recorded.runner,
                    Err(_) if self.must_be_over(&recorded) => return lost(&recorded, &request),
                    Err(status) => return cut_off(&recorded, *after_seq, unreachable(&status)),
                },
                RunState::Failed | RunState::Unspecified => return Err(unknown(run_id)),
            }
        }
    }

    /// Stops a run at the runner that is named, or wherever it is.
    pub(super) async fn cancel_anywhere(&self, request: CancelRequest) -> Result<(), Status> {
        let CancelRequest { run_id, runner } = request;
        let own = self.inner.store.runner();
        if (runner.is_empty() || runner == own) && self.inner.live.cancel(&run_id) {
            return Ok(());
        }
        let runner = if runner.is_empty() {
            let recorded = self.recorded(&run_id).await?;
            if recorded.state() == RunState::Running { recorded.runner } else { own.to_owned() }
        } else {
            runner
        };
        if runner == own {
            return Err(Status::not_found(format!("there is no live run `{run_id}`")));
        }
        self.inner.peers.cancel(&runner, &run_id).await
    }

    /// Whether a run would have ended by now, even one that waited for its session as long as it may run.
    fn must_be_over(&self, recorded: &Run) -> bool {
        let age = SystemTime::UNIX_EPOCH + Duration::from_millis(recorded.created_at_ms);
        age.elapsed().is_ok_and(|age| age > 2 * self.configured().shared.settings.run_timeout)
    }

    async fn recorded(&self, run_id: &str) -> Result<Run, Status> {
        let recorded = self.inner.store.get_run(run_id).await.map_err(|failure| unavailable(run_id, &failure))?;
        recorded.ok_or_else(|| unknown(run_id))
    }
}

/// What is left of a run that was lost with its runner: it has failed, for who asks how it stands. A client that has
/// a part of its stream is told so outside of the run's events, of which it may have more than are left.
fn lost(recorded: &Run, request: &AttachRequest) -> Result<Attached, Status> {
    const MESSAGE: &str = "the run was lost with the agent runner that had it";
    if !request.is_snapshot {
        return cut_off(recorded, request.after_seq, Status::unavailable(MESSAGE));
    }
    let told = events(recorded, request.after_seq)?;
    let failed = Failed {
        code: FailureCode::Unavailable.into(),
        message: MESSAGE.to_owned(),
        retryable: true,
        ..Failed::default()
    };
    let last = RunEvent { seq: request.after_seq + told.len() as u64 + 1, kind: Some(Kind::Failed(failed)) };
    Ok(attached(stream::iter(told.into_iter().chain([Ok(last)]))))
}

/// What is left of a run whose runner cannot be reached now.
fn cut_off(recorded: &Run, after_seq: u64, status: Status) -> Result<Attached, Status> {
    let first = events(recorded, after_seq)?;
    Ok(attached(stream::iter(first.into_iter().chain([Err(status)]))))
}

fn events(recorded: &Run, after_seq: u64) -> Result<Vec<Result<RunEvent, Status>>, Status> {
    let events = outcome(&recorded.outcome).map_err(|failure| unavailable(&recorded.run_id, &failure))?;
    Ok(events.into_iter().filter(|event| event.seq > after_seq).map(Ok).collect())
}

fn attached(events: impl Stream<Item = Result<RunEvent, Status>> + Send + 'static) -> Attached {
    Box::pin(events.map_ok(|event| AttachResponse { event: Some(event) }))
}

/// What ends the events of a run at another runner; a connection that breaks is no fault of ours.
fn from_peer(status: Status) -> Status {
    if is_broken(&status) { unreachable(&status) } else { status }
}

fn unknown(run_id: &str) -> Status {
    Status::not_found(format!("there is no run `{run_id}`"))
}

fn unavailable(run_id: &str, failure: &Failure) -> Status {
    run::log(run_id, failure);
    Status::unavailable(failure.to_string())
}
