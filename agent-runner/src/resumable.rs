//! Runs that outlive their callers: whoever asks again for the same run gets the same events, whichever runner it asks.

mod log;
mod peers;
mod record;

use std::sync::Arc;

use prost::Message;
use proto::{
    agent::v1::{Failed, RunEvent, run_event::Kind},
    session::v1::{self as store, RunState},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    failure::Failure,
    live::{Registration, is_another},
    run::{self, Ended, Run},
};
pub(crate) use log::{Full, Log};
use peers::Followed;
pub(crate) use peers::{Peers, unreachable};
pub(crate) use record::{Record, outcome};

/// A resumable run on its way, here or at another runner.
pub(crate) struct Resumable {
    pub(crate) log: Arc<Log>,
    pub(crate) registration: Registration,
    /// Where others find the run.
    pub(crate) record: Record,
    pub(crate) peers: Peers,
    /// The runner shuts down.
    pub(crate) stop: CancellationToken,
}

/// What is to be done about a run.
enum Step {
    /// Its id is another request's.
    Refuse,
    Run,
    Replay(Vec<RunEvent>),
    Follow {
        runner: String,
    },
}

impl Resumable {
    /// Sees the run to its end; `execute` runs it, if nobody else does or has.
    pub(crate) async fn drive(self, run: Run, execute: impl AsyncFnOnce(Run) -> Ended) {
        let record = &self.record;
        let mut gone = String::new();
        loop {
            let recorded = record.begin(&gone).await;
            match recorded.and_then(|recorded| record.step(&recorded)) {
                Ok(Step::Refuse) => return self.log.refuse(is_another(self.registration.run_id())),
                Ok(Step::Run) => return self.run_recorded(record, run, execute).await,
                Ok(Step::Replay(events)) => return self.log.replay(events),
                Ok(Step::Follow { runner }) => match self.follow(&runner).await {
                    Followed::ToItsEnd => return,
                    Followed::Gone if self.log.has_answer() => return self.complete(record).await,
                    Followed::Gone => gone = runner,
                    Followed::Refused(status) => return self.log.refuse(status),
                },
                Err(failure) => {
                    run::log(self.registration.run_id(), &failure);
                    return self.log.end(Kind::Failed(Failed::from(&failure)));
                }
            }
        }
    }

    /// Tells the callers, who have a part of the answer, the rest of it if it was kept. Nobody else can complete it.
    async fn complete(&self, record: &Record) {
        match record.kept().await {
            Ok(Some(events)) => self.log.replay(events),
            Ok(None) | Err(_) => self.log.refuse(Status::unavailable("the agent runner broke off; try again later")),
        }
    }

    async fn run_recorded(&self, record: &Record, run: Run, execute: impl AsyncFnOnce(Run) -> Ended) {
        // Not before it is recorded: whoever hears of the run can ask for it anywhere.
        if let Err(full) = self.log.push(record.accepted()) {
            return self.log.refuse(full.into());
        }
        let ended = execute(run).await;
        match &ended.outcome {
            // Committed with the turn.
            Ok(_) if record.has_turn => ended.tell(),
            Ok(_) => self.keep(record, ended).await,
            Err(Failure::AlreadyCommitted) => match record.kept().await {
                Ok(Some(events)) => self.log.replay(events),
                // Its answer was forgotten, but its turn is in the session.
                Ok(None) => {
                    self.forget(record).await;
                    self.log.refuse(is_another(self.registration.run_id()));
                }
                Err(_) => ended.tell(),
            },
            // With its session what it said goes too.
            Err(failure) if record.keeps_failure && !matches!(failure, Failure::LeaseLost) => {
                self.keep(record, ended).await;
            }
            Err(_) => {
                self.forget(record).await;
                ended.tell();
            }
        }
    }

    /// Has whoever asks again told the same. If this cannot be written, those who follow are told all the same.
    async fn keep(&self, record: &Record, ended: Ended) {
        let outcome = self.log.outcome(ended.last());
        if let Err(failure) = record.finish(outcome.encode_to_vec().into()).await {
            tracing::warn!(run.id = self.registration.run_id(), %failure, "cannot record what a run has come to");
        }
        ended.tell();
    }

    /// Has whoever asks again run again. If this cannot be written, it is found out then.
    async fn forget(&self, record: &Record) {
        if let Err(failure) = record.forget().await {
            tracing::warn!(run.id = self.registration.run_id(), %failure, "cannot record that a run has failed");
        }
    }

    /// Copies the events of a run that is at another runner, and stops it there when it is stopped here.
    async fn follow(&self, runner: &str) -> Followed {
        let run_id = self.registration.run_id();
        let following = self.peers.follow(runner, run_id, &self.log);
        tokio::pin!(following);
        tokio::select! {
            followed = &mut following => return followed,
            () = self.stop.cancelled() => {
                return Followed::Refused(Status::unavailable("the agent runner is shutting down; try again later"));
            }
            () = self.registration.cancelled().cancelled() => {}
        }
        if let Err(status) = self.peers.cancel(runner, run_id).await {
            tracing::warn!(run.id = run_id, %status, "cannot cancel a run at another runner");
        }
        tokio::select! {
            followed = following => followed,
            () = self.stop.cancelled() => Followed::Refused(Status::unavailable("the agent runner is shutting down")),
        }
    }
}

impl Record {
    /// What the run came to, if that is kept.
    async fn kept(&self) -> Result<Option<Vec<RunEvent>>, Failure> {
        let Some(run) = self.get().await? else { return Ok(None) };
        match self.step(&run)? {
            Step::Replay(events) => Ok(Some(events)),
            Step::Refuse | Step::Run | Step::Follow { .. } => Ok(None),
        }
    }

    /// What is to be done, seeing what is recorded.
    fn step(&self, run: &store::Run) -> Result<Step, Failure> {
        match run.state() {
            _ if run.fingerprint != self.fingerprint => Ok(Step::Refuse),
            RunState::Finished => Ok(Step::Replay(outcome(&run.outcome)?)),
            RunState::Running if run.runner == self.runner() => Ok(Step::Run),
            RunState::Running => Ok(Step::Follow { runner: run.runner.clone() }),
            RunState::Failed | RunState::Unspecified => {
                Err(Failure::Store(Status::internal("it recorded a run in a state that nobody asked for")))
            }
        }
    }
}
