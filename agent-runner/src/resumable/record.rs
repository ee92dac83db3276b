//! What the session store knows of a run.

use prost::{Message, bytes::Bytes};
use proto::{
    agent::v1::{RunEvent, RunOutcome, RunRequest},
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
}

impl Record {
    pub(crate) fn new(store: Store, request: &RunRequest) -> Self {
        let RunRequest { run_id, session_key, fingerprint, .. } = request;
        Self { store, run_id: run_id.clone(), session_key: session_key.clone(), fingerprint: fingerprint.clone() }
    }

    /// This runner, as the store knows it.
    pub(super) fn runner(&self) -> &str {
        self.store.runner()
    }

    /// Records the run at this runner, in place of one at a runner that is `gone`; returns what is recorded then.
    pub(super) async fn put(&self, state: RunState, gone: &str) -> Result<Run, Failure> {
        let run = Run {
            run_id: self.run_id.clone(),
            session_key: self.session_key.clone(),
            runner: self.runner().to_owned(),
            fingerprint: self.fingerprint.clone(),
            state: state.into(),
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

/// The events that a finished run came to.
pub(crate) fn outcome(encoded: &[u8]) -> Result<Vec<RunEvent>, Failure> {
    let decoded = RunOutcome::decode(encoded).map_err(|error| Status::data_loss(error.to_string()))?;
    Ok(decoded.events)
}
