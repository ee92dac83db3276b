//! The other runners, where a run may be that is asked for here.

use std::time::Duration;

use proto::agent::v1::{
    AttachRequest, AttachResponse, CancelRequest, RunEvent, agent_runner_client::AgentRunnerClient, run_event::Kind,
};
use shared::transport::{self, MAX_MESSAGE_BYTES, Transport, Trust, is_broken};
use tonic::{Code, Request, Status, Streaming};

use super::Log;

/// How long another runner may take to answer, whatever it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How other runners are reached; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Peers {
    trust: Trust,
}

/// What came of following a run at another runner.
pub(super) enum Followed {
    /// Its last event is in the log.
    ToItsEnd,
    /// It is not there, or its runner is not.
    Gone,
    /// Its runner is there, and won't tell.
    Refused(Status),
}

impl Peers {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust }
    }

    /// Copies the run's events into the log, from where that ends.
    pub(super) async fn follow(&self, runner: &str, run_id: &str, log: &Log) -> Followed {
        let request =
            AttachRequest { run_id: run_id.to_owned(), after_seq: log.last_seq(), ..AttachRequest::default() };
        let mut events = match self.attach(runner, request).await {
            Ok(events) => events,
            Err(status) if is_gone(&status) => return Followed::Gone,
            Err(status) => {
                tracing::error!(run.id = run_id, runner, %status, "another runner does not tell of a run");
                let refusal = Status::unavailable("the run's own runner does not tell of it; try again later");
                return Followed::Refused(refusal);
            }
        };
        while let Ok(Some(AttachResponse { event: Some(RunEvent { kind: Some(kind), .. }) })) = events.message().await {
            if matches!(kind, Kind::Finished(_) | Kind::Failed(_)) {
                log.end(kind);
                return Followed::ToItsEnd;
            }
            if let Err(full) = log.push(kind) {
                return Followed::Refused(full.into());
            }
        }
        Followed::Gone
    }

    /// Asks another runner, and nobody else, for the events of a run.
    pub(crate) async fn attach(
        &self,
        runner: &str,
        request: AttachRequest,
    ) -> Result<Streaming<AttachResponse>, Status> {
        let mut client = self.client(runner)?;
        let request = AttachRequest { local_only: true, ..request };
        match tokio::time::timeout(ANSWER_TIMEOUT, client.attach(request)).await {
            Ok(attached) => Ok(attached?.into_inner()),
            Err(_) => Err(Status::unavailable("the run's own runner does not answer")),
        }
    }

    /// Stops a run at another runner, and nowhere else.
    pub(crate) async fn cancel(&self, runner: &str, run_id: &str) -> Result<(), Status> {
        let mut request = Request::new(CancelRequest { run_id: run_id.to_owned(), runner: runner.to_owned() });
        request.set_timeout(ANSWER_TIMEOUT);
        match self.client(runner)?.cancel(request).await {
            Ok(_) => Ok(()),
            Err(status) if is_broken(&status) => Err(unreachable(&status)),
            Err(status) => Err(status),
        }
    }

    /// A runner that has no URL can be reached by nobody.
    fn client(&self, runner: &str) -> Result<AgentRunnerClient<Transport>, Status> {
        let transport = transport::remote(runner, &self.trust)
            .map_err(|_| Status::new(Code::Unavailable, "the run's own runner cannot be reached"))?;
        Ok(AgentRunnerClient::new(transport)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }
}

/// Whether it is the run that is not there, or its runner.
fn is_gone(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::Unavailable) || is_broken(status)
}

/// What callers are told when a run's own runner is gone, or seems to be.
pub(crate) fn unreachable(status: &Status) -> Status {
    tracing::warn!(%status, "a run's own runner cannot be reached");
    Status::unavailable("the agent runner that has the run cannot be reached; try again later")
}
