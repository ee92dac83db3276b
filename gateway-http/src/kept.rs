//! Runs that outlive their requests, found again from any gateway.

mod annotation;
mod beginning;
mod guard;
mod on_disconnect;

use std::time::Duration;

use proto::agent::v1::{Accepted, AttachRequest, CancelRequest, run_event::Kind};
use tonic::Code;

use crate::{Gateway, caller::Caller, error::ApiError, run::Events};
pub(crate) use annotation::{Annotation, ChatAnnotation};
pub(crate) use guard::CancelGuard;
pub(crate) use on_disconnect::OnDisconnect;

/// How long the runner may take to say whether it has a run.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Enough for every id that a run can have.
const MAX_RUN_ID_BYTES: usize = 128;

/// A run that is kept.
pub(crate) struct KeptRun {
    /// What was asked for.
    pub(crate) accepted: Accepted,
    /// What happened after that, from the first event.
    pub(crate) events: Events,
}

impl Gateway {
    /// The kept run with this id, if the caller may see it. Its events are followed to the run's end, or with
    /// `is_snapshot` end with what there is.
    pub(crate) async fn kept_run(&self, caller: &Caller, run_id: &str, is_snapshot: bool) -> Result<KeptRun, ApiError> {
        if !is_run_id(run_id) {
            return Err(ApiError::run_not_found(run_id));
        }
        let request = AttachRequest { run_id: run_id.to_owned(), after_seq: 0, local_only: false, is_snapshot };
        let mut runner = self.inner.runner.clone();
        let attaching = async {
            let mut events = match runner.attach(request).await {
                Ok(attached) => Events::Attached(Box::new(attached.into_inner())),
                Err(status) if status.code() == Code::NotFound => return Err(ApiError::run_not_found(run_id)),
                Err(status) => return Err(status.into()),
            };
            if let Kind::Accepted(accepted) = events.next().await?
                && may_see(caller, &accepted)
            {
                return Ok(KeptRun { accepted, events });
            }
            // Whether there is such a run is nobody else's business.
            Err(ApiError::run_not_found(run_id))
        };
        tokio::time::timeout(ANSWER_TIMEOUT, attaching)
            .await
            .unwrap_or_else(|_| Err(ApiError::unavailable("the agent runner did not answer; try again later")))
    }

    /// Stops a kept run, wherever it is; says whether it was still going on. The caller has to be one who may see it.
    pub(crate) async fn cancel_kept(&self, run_id: &str) -> Result<bool, ApiError> {
        let request = CancelRequest { run_id: run_id.to_owned(), runner: String::new() };
        let mut runner = self.inner.runner.clone();
        match tokio::time::timeout(ANSWER_TIMEOUT, runner.cancel(request)).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(false),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(ApiError::unavailable("the agent runner did not answer; try again later")),
        }
    }
}

/// Whether a run could have this id.
pub(crate) fn is_run_id(text: &str) -> bool {
    (1..=MAX_RUN_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A run is its owner's, and a main caller's; and of these, theirs who may use its agent.
fn may_see(caller: &Caller, accepted: &Accepted) -> bool {
    let is_owner = caller.namespace().is_main() || caller.namespace().as_str() == accepted.owner;
    is_owner && accepted.agent_id.parse().is_ok_and(|agent_id| caller.may_use(&agent_id))
}
