//! Texts as vectors.

use proto::agent::v1::{EmbedRequest, EmbedResponse};
use tonic::Status;

use super::Service;
use crate::{
    embeddings::MAX_TEXTS,
    failover::Candidate,
    failure::{Failure, invalid_argument, not_configured},
};

impl Service {
    /// Asks the agent's embedding model, or the one that the request names.
    pub(super) async fn vectors(&self, request: EmbedRequest) -> Result<EmbedResponse, Status> {
        if self.inner.tasks.is_closed() {
            return Err(shared::transport::draining("the runner is shutting down"));
        }
        if !(1..=MAX_TEXTS).contains(&request.input.len()) {
            return Err(invalid_argument("input", &format!("must be 1 to {MAX_TEXTS} texts")));
        }
        let configured = self.configured();
        let agent = configured.agent(&request.agent_id)?;
        let shared = &configured.shared;
        let candidate = if request.model.is_empty() {
            shared.embeddings.model(&agent.id, &configured.models).map_err(|error| not_configured(&error))?
        } else {
            configured.asked_for(&request.model)?
        };
        let asked = shared.embeddings.ask(&shared.failover, &agent.id, &candidate, request).await;
        asked.map_err(|failure| refused(&candidate, &failure))
    }
}

fn refused(candidate: &Candidate, failure: &Failure) -> Status {
    // The message may quote the provider, and the provider the texts.
    tracing::warn!(
        gen_ai.provider.name = candidate.name.provider,
        gen_ai.request.model = candidate.name.model,
        error.code = failure.code().as_str_name(),
        "texts could not be turned into vectors"
    );
    failure.into()
}
