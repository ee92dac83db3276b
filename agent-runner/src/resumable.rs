//! Runs that outlive their callers: whoever asks again for the same run gets the same events, whichever runner it asks.

mod log;
pub(crate) mod peers;
mod record;

use std::sync::Arc;

use proto::agent::v1::RunEvent;
use proto::session::v1::{self as store, RunState};
use tonic::Status;

use crate::{
    failure::Failure,
    live::{Registration, is_another},
    run::{Ended, Run},
};
pub(crate) use log::{Full, Log};
use peers::Followed;
pub(crate) use record::{Record, outcome};

/// A resumable run on its way, here or at another runner.
pub(crate) struct Resumable {
    pub(crate) log: Arc<Log>,
    pub(crate) registration: Registration,
    /// Where others find the run; `None` for a stateless one, which only this runner knows.
    pub(crate) record: Option<Record>,
}

/// What is to be done about a run.
enum Step {
    Run,
    Replay(Vec<RunEvent>),
    Follow { runner: String },
}

impl Resumable {
    /// Sees the run to its end; `execute` runs it, if nobody else does or has.
    pub(crate) async fn drive(self, run: Run, execute: impl AsyncFnOnce(Run) -> Ended) {
        let Some(record) = &self.record else {
            let ended = execute(run).await;
            let is_finished = ended.outcome.is_ok();
            ended.tell();
            if is_finished {
                self.registration.keep(&self.log);
            }
            return;
        };
        let mut gone = String::new();
        loop {
            match self.next(record, &gone).await {
                Ok(Step::Run) => return self.run_recorded(record, run, execute).await,
                Ok(Step::Replay(events)) => return self.log.replay(events),
                Ok(Step::Follow { runner }) => match self.follow(&runner).await {
                    Followed::ToItsEnd => return,
                    // Its callers have a part of an answer that nobody can complete.
                    Followed::Gone if self.log.has_answer() => {
                        return self.log.refuse(Status::unavailable("the agent runner broke off; try again later"));
                    }
                    Followed::Gone => gone = runner,
                    Followed::Refused(status) => return self.log.refuse(status),
                },
                Err(status) => return self.log.refuse(status),
            }
        }
    }

    /// Asks for the run's record, and sees from what is there what is to be done.
    async fn next(&self, record: &Record, gone: &str) -> Result<Step, Status> {
        let recorded = record.put(RunState::Running, gone).await?;
        if recorded.fingerprint != record.fingerprint {
            return Err(is_another(self.registration.run_id()));
        }
        step(recorded, record.runner())
    }

    async fn run_recorded(&self, record: &Record, run: Run, execute: impl AsyncFnOnce(Run) -> Ended) {
        let ended = execute(run).await;
        match &ended.outcome {
            // Committed with the turn.
            Ok(_) => ended.tell(),
            Err(Failure::AlreadyCommitted) => match record.get().await.and_then(|run| step(run, record.runner())) {
                Ok(Step::Replay(events)) => self.log.replay(events),
                Ok(Step::Run | Step::Follow { .. }) | Err(_) => ended.tell(),
            },
            Err(_) => {
                // Whoever asks again runs again. If this cannot be written, it is found out then.
                if let Err(status) = record.put(RunState::Failed, "").await {
                    tracing::warn!(run.id = self.registration.run_id(), %status, "cannot record that a run has failed");
                }
                ended.tell();
            }
        }
    }

    /// Copies the events of a run that is at another runner, and stops it there when it is stopped here.
    async fn follow(&self, runner: &str) -> Followed {
        let following = peers::follow(runner, self.registration.run_id(), &self.log);
        tokio::pin!(following);
        tokio::select! {
            followed = &mut following => return followed,
            () = self.registration.cancelled().cancelled() => {}
        }
        if let Err(status) = peers::cancel(runner, self.registration.run_id()).await {
            tracing::warn!(run.id = self.registration.run_id(), %status, "cannot cancel a run at another runner");
        }
        following.await
    }
}

fn step(run: store::Run, this_runner: &str) -> Result<Step, Status> {
    match run.state() {
        RunState::Finished => Ok(Step::Replay(outcome(&run.outcome)?)),
        RunState::Running if run.runner == this_runner => Ok(Step::Run),
        RunState::Running => Ok(Step::Follow { runner: run.runner }),
        RunState::Failed | RunState::Unspecified => {
            Err(Status::internal("a run was recorded in a state without sense"))
        }
    }
}
