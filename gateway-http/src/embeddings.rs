//! `POST /v1/embeddings`: texts as vectors, by the embedding model of an agent.

mod answer;
mod request;

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use proto::agent::v1::EmbedRequest;
use tracing::Span;
use uuid::Uuid;

use crate::{Gateway, caller::Caller, error::ApiError, run, target::Target};
pub(crate) use answer::Answer;
use request::EmbeddingsRequest;
pub(crate) use request::Wire as RequestBody;

/// How much a request may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) inputs: usize,
    /// Of one text.
    pub(crate) input_chars: usize,
    /// Of all texts.
    pub(crate) total_chars: usize,
}

pub(crate) async fn create(
    caller: Caller,
    State(gateway): State<Gateway>,
    request: http::Request<Body>,
) -> Result<Response, ApiError> {
    if gateway.settings().embeddings.is_none() {
        return Err(ApiError::not_found(request.uri().path()));
    }
    let answering = gateway.embed(&caller, request);
    gateway.inner.cut.run_until_cancelled(answering).await.ok_or_else(run::shutting_down)?
}

impl Gateway {
    async fn embed(&self, caller: &Caller, request: http::Request<Body>) -> Result<Response, ApiError> {
        let settings = self.settings();
        let (http::request::Parts { headers, uri, .. }, body) = request.into_parts();
        let limits = settings.embeddings.ok_or_else(|| ApiError::not_found(uri.path()))?;
        let _permit = self.admit(caller)?;
        let body = self.inner.bodies.read(&headers, body, &settings.limits).await?;
        let request = body.parse(move |body| EmbeddingsRequest::parse(body, &limits)).await?;
        drop(body);
        let agents = self.inner.directory.agents().await?;
        let target = Target::resolve(&headers, &[], &request.model, None, Uuid::nil(), caller, &agents)?;
        Span::current().record("gen_ai.agent.id", target.agent_id.as_str());
        let asked = EmbedRequest {
            agent_id: target.agent_id.to_string(),
            input: request.input,
            model: caller.model(&headers)?,
            dimensions: request.dimensions.unwrap_or_default(),
        };
        let embedded = self.inner.runner.clone().embed(asked).await;
        let embedded = embedded.map_err(|status| ApiError::of_embedding(&status))?.into_inner();
        Ok(Json(Answer::new(embedded, request.model, request.encoding)).into_response())
    }
}
