//! `POST /v1/chat/completions`: one request, one agent run.

mod completion;
mod content;
mod envelope;
mod generation;
mod idempotency;
mod messages;
mod object;
mod request;
mod stream;
mod tools;

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::agent::v1::{RunRequest, RunResponse, run_event::Kind};
use tonic::Streaming;
use tracing::Span;
use uuid::Uuid;

use crate::{Gateway, body, brand, caller::Caller, error::ApiError, target::Target};
use envelope::Envelope;
use idempotency::IdempotencyKey;
use request::ChatRequest;

/// How long the head of a streamed answer waits for the run to begin. What fails before gets a status of its own;
/// after that the stream is open, and errors come as frames.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long the runner may take to take a run on, or to refuse it.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

const SESSION_KEY: HeaderName = HeaderName::from_static("x-clawdbot-session-key");
const RUN_ID: HeaderName = HeaderName::from_static("x-clawdbot-run-id");

pub(crate) async fn completions(
    caller: Caller,
    State(gateway): State<Gateway>,
    request: http::Request<Body>,
) -> Result<Response, ApiError> {
    if !gateway.settings().serves_chat_completions {
        return Err(ApiError::not_found(request.uri().path()));
    }
    let answering = gateway.answer(&caller, request);
    gateway.inner.cut.run_until_cancelled(answering).await.ok_or_else(shutting_down)?
}

impl Gateway {
    async fn answer(&self, caller: &Caller, request: http::Request<Body>) -> Result<Response, ApiError> {
        let (http::request::Parts { headers, .. }, body) = request.into_parts();
        let body = body::read(&headers, body, &self.settings().limits).await?;
        let chat = ChatRequest::parse(&body)?;
        let agents = self.inner.directory.agents().await?;
        let idempotency_key = IdempotencyKey::of(&headers)?;
        let id = idempotency_key.as_ref().map_or_else(Uuid::new_v4, |key| key.run_id(caller.namespace()));
        let target = Target::resolve(&headers, &chat.model, chat.user.as_deref(), id, caller, &agents)?;
        let model = brand::header(&headers, brand::MODEL)?.unwrap_or_default().to_owned();
        let run_id = format!("chatcmpl_{id}");
        let span = Span::current();
        span.record("run.id", &run_id);
        span.record("gen_ai.agent.id", target.agent_id.as_str());

        let ids = answer_headers(caller, &target, &run_id);
        let fingerprint = match idempotency_key {
            Some(_) => idempotency::fingerprint(&body, &target, &model),
            None => Bytes::new(),
        };
        let envelope = Envelope::new(&run_id, &chat.model);
        let (stream, include_usage) = (chat.stream, chat.include_usage);
        let run = RunRequest {
            run_id,
            agent_id: target.agent_id.to_string(),
            session_key: target.session_key.to_string(),
            stateless: target.stateless,
            instructions: chat.messages.instructions,
            history: chat.messages.history,
            input: chat.messages.input,
            options: Some(chat.options),
            tools: chat.tools,
            tool_choice: chat.tool_choice,
            model,
            fingerprint,
            ..RunRequest::default()
        };
        let events = self.run(run).await?;
        let mut response = if stream {
            self.stream(events, envelope, include_usage).await?
        } else {
            completion::collect(events, envelope).await?.into_response()
        };
        response.headers_mut().extend(ids);
        Ok(response)
    }

    async fn run(&self, run: RunRequest) -> Result<Streaming<RunResponse>, ApiError> {
        let mut runner = self.inner.runner.clone();
        match tokio::time::timeout(ACCEPT_TIMEOUT, runner.run(run)).await {
            Ok(accepted) => Ok(accepted?.into_inner()),
            Err(_) => Err(ApiError::unavailable("the agent runner did not answer; try again later")),
        }
    }

    /// Opens the stream once the run has begun, so that a run which cannot begin gets a status of its own.
    async fn stream(
        &self,
        mut events: Streaming<RunResponse>,
        envelope: Envelope,
        include_usage: bool,
    ) -> Result<Response, ApiError> {
        let first = match tokio::time::timeout(HEAD_WAIT, events.message()).await {
            Ok(first) => Some(began(first?)?),
            Err(_) => None,
        };
        // A token of its own, so that streams do not share a lock.
        let cut = self.inner.cut.child_token();
        let mut chunks = stream::Chunks::new(events, envelope, include_usage, self.settings().limits.keep_alive, cut);
        chunks.take(first);
        Ok(chunks.into_response())
    }
}

/// A run's first event says that it began, or why it did not.
fn began(first: Option<RunResponse>) -> Result<Kind, ApiError> {
    match first.and_then(|response| response.event?.kind) {
        Some(Kind::Failed(failed)) => Err(failed.into()),
        Some(kind) => Ok(kind),
        None => Err(ended_early()),
    }
}

/// The runner is gone: its stream ended without saying how the run did.
fn ended_early() -> ApiError {
    ApiError::unavailable("the agent runner broke off; try again later")
}

/// The gateway ends before the answer does.
fn shutting_down() -> ApiError {
    ApiError::unavailable("the gateway is shutting down; try again later")
}

fn answer_headers(caller: &Caller, target: &Target, run_id: &str) -> HeaderMap {
    let ids = [(SESSION_KEY, target.session_key.seen_from(caller.namespace())), (RUN_ID, run_id)];
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("keys and ids have no control characters");
    ids.into_iter().map(|(name, text)| (name, value(text))).collect()
}
