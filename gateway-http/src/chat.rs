//! `POST /v1/chat/completions`: one request, one agent run.

mod chunks;
mod completion;
mod content;
mod envelope;
mod events;
pub(crate) mod generation;
pub(crate) mod idempotency;
mod logprobs;
pub(crate) mod messages;
pub(crate) mod metadata;
pub(crate) mod object;
mod request;
mod schema;
pub(crate) mod tools;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::agent::v1::RunRequest;
use tracing::Span;
use uuid::Uuid;

use crate::{
    Gateway,
    caller::Caller,
    error::ApiError,
    kept::{Annotation, ChatAnnotation, OnDisconnect},
    run::shutting_down,
    stream::Sse,
    target::Target,
};
pub(crate) use chunks::Chunks;
pub(crate) use completion::Completion;
use envelope::Envelope;
pub(crate) use events::Shown;
use idempotency::IdempotencyKey;
use request::ChatRequest;
pub(crate) use request::{Wire as RequestBody, model_name, read, safety_identifier};
pub(crate) use schema::Event;

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
        let settings = self.settings();
        let idempotency_key = IdempotencyKey::of(&headers)?;
        let id = idempotency_key.as_ref().map_or_else(Uuid::new_v4, |key| key.run_id(caller.namespace()));
        let run_id = format!("chatcmpl_{id}");
        let permit = self.admit_named(caller, &run_id)?;
        let body = self.inner.bodies.read(&headers, body, &settings.limits).await?;
        let chat = body.parse(ChatRequest::parse).await?;
        let mut permit = if chat.stream { permit.streamed()? } else { permit };
        let shown = Shown::of(&headers)?;
        let agents = self.inner.directory.agents().await?;
        let on_disconnect = settings.on_disconnect.or_of(&headers)?;
        let target = Target::resolve(
            &headers,
            &settings.session_headers,
            &chat.model,
            chat.user.as_deref(),
            id,
            caller,
            &agents,
        )?;
        let model = caller.model(&headers)?;
        let span = Span::current();
        span.record("run.id", &run_id);
        span.record("gen_ai.agent.id", target.agent_id.as_str());
        chat.metadata.record(&span);

        let ids = answer_headers(target.session_key.seen_from(caller.namespace()), &run_id);
        let is_kept = idempotency_key.is_some() || on_disconnect == OnDisconnect::Continue;
        let fingerprint = if is_kept {
            idempotency::fingerprint(body.bytes(), &target.agent_id, &target.session_key, &model, shown)
        } else {
            Bytes::new()
        };
        let room = body.into_room();
        let shape = ChatAnnotation { model: chat.model, include_usage: chat.include_usage, shown };
        let chunks = Chunks::of(&run_id, &shape);
        let envelope = Envelope::new(&run_id, &shape.model);
        let run = RunRequest {
            owner: caller.namespace().to_string(),
            annotation: if is_kept { Annotation::Chat(shape).to_json() } else { String::new() },
            // A request with a key runs again when it has failed; nobody could ask for another one again.
            keeps_failure: is_kept && idempotency_key.is_none(),
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
        let events = if is_kept {
            self.begin_kept(run, caller, OnDisconnect::Continue, &mut permit).await?
        } else {
            self.run(run).await?
        };
        let events = events.holding(room);
        let mut response = if chat.stream {
            let sse = if is_kept { Sse::new().with_ids() } else { Sse::new() };
            self.stream(events, chunks, sse).await?
        } else {
            completion::collect(events, envelope, shown).await?.into_response()
        };
        response.headers_mut().extend(ids);
        Ok(permit.hold(response))
    }
}

/// What an answer says of its run. A key that cannot stand in a header is left out.
pub(crate) fn answer_headers(session_key: &str, run_id: &str) -> HeaderMap {
    let ids = [(SESSION_KEY, session_key), (RUN_ID, run_id)];
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
    ids.into_iter().filter_map(|(name, text)| Some((name, value(text)?))).collect()
}
