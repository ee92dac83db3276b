//! What the session store knows of a run.

use prost::{Message, bytes::Bytes};
use proto::{
    agent::v1::{Accepted, RunEvent, RunOutcome, RunRequest, run_event::Kind},
    session::v1::{PutRunRequest, Run, RunState},
};
use tonic::Status;

use crate::{failure::Failure, turn::Store};

/// A run's place in the session store.
pub(crate) struct Record {
    store: Store,
    run_id: String,
    session_key: String,
    pub(super) fingerprint: Bytes,
    /// Whether what a failed run came to is kept.
    pub(super) keeps_failure: bool,
    /// Whether the run takes a turn, with which its outcome is kept.
    pub(super) has_turn: bool,
    /// The run's first event.
    accepted: Accepted,
}

impl Record {
    pub(crate) fn new(store: Store, request: &RunRequest) -> Self {
        Self {
            store,
            run_id: request.run_id.clone(),
            session_key: request.session_key.clone(),
            fingerprint: request.fingerprint.clone(),
            keeps_failure: request.keeps_failure,
            has_turn: !request.stateless,
            accepted: Accepted {
                agent_id: request.agent_id.clone(),
                session_key: request.session_key.clone(),
                stateless: request.stateless,
                owner: request.owner.clone(),
                annotation: request.annotation.clone(),
            },
        }
    }

    /// This runner, as the store knows it.
    pub(super) fn runner(&self) -> &str {
        self.store.runner()
    }

    /// Records the run at this runner, in place of one at a runner that is `gone`; returns what is recorded then.
    pub(super) async fn begin(&self, gone: &str) -> Result<Run, Failure> {
        // Those who find a run whose runner is gone are told at least this.
        let first = RunEvent { seq: 1, kind: Some(self.accepted()) };
        self.put(RunState::Running, RunOutcome { events: vec![first] }.encode_to_vec().into(), gone).await
    }

    /// What is told of the run first.
    pub(super) fn accepted(&self) -> Kind {
        Kind::Accepted(self.accepted.clone())
    }

    /// Records what the run has come to.
    pub(super) async fn finish(&self, outcome: Bytes) -> Result<(), Failure> {
        self.put(RunState::Finished, outcome, "").await.map(drop)
    }

    /// Has whoever asks again run again.
    pub(super) async fn forget(&self) -> Result<(), Failure> {
        self.put(RunState::Failed, Bytes::new(), "").await.map(drop)
    }

    async fn put(&self, state: RunState, outcome: Bytes, gone: &str) -> Result<Run, Failure> {
        let run = Run {
            run_id: self.run_id.clone(),
            session_key: self.session_key.clone(),
            runner: self.runner().to_owned(),
            fingerprint: self.fingerprint.clone(),
            state: state.into(),
            outcome,
            ..Run::default()
        };
        let request = PutRunRequest { run: Some(run), replaces_runner: gone.to_owned() };
        self.store.put_run(request).await
    }

    /// What is recorded.
    pub(super) async fn get(&self) -> Result<Option<Run>, Failure> {
        self.store.get_run(&self.run_id).await
    }
}

/// The events that are recorded: all of a finished run, the first of one that goes on.
pub(crate) fn outcome(encoded: &[u8]) -> Result<Vec<RunEvent>, Failure> {
    let decoded = RunOutcome::decode(encoded).map_err(|error| Status::data_loss(error.to_string()))?;
    Ok(decoded.events)
}
