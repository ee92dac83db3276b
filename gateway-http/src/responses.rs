//! `/v1/responses`: the Responses API, whose answers are kept, go on in the background if they are asked to, and can be
//! continued.

mod events;
mod items;
mod object;
mod output;
mod previous;
mod request;
mod schema;

use std::time::{Duration, SystemTime};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header::CONTENT_TYPE};
use proto::{
    agent::v1::{RunRequest, run_event::Kind},
    session::v1::Message,
};
use shared::SessionKey;
use tracing::Span;
use uuid::Uuid;

use crate::{
    Gateway,
    caller::Caller,
    chat::{
        Shown, answer_headers,
        idempotency::{IdempotencyKey, fingerprint},
    },
    directory::Agents,
    error::ApiError,
    kept::{Annotation, KeptRun, OnDisconnect},
    run::{Events, shutting_down},
    runs::RunId,
    stream::{Format, Sse},
    target::Target,
};
use events::ResponseEvents;
use object::Progress;
pub(crate) use object::ResponseAnnotation;
use previous::Previous;
use request::ResponseRequest;
pub(crate) use request::Wire as RequestBody;
pub(crate) use schema::{Answer, Event};

/// How long a run that is cancelled has to end, so that the answer can say so.
const END_WAIT: Duration = Duration::from_secs(10);
/// What a runner takes of an annotation.
const MAX_ANNOTATION_BYTES: usize = 262_144;

/// `POST /v1/responses`.
pub(crate) async fn create(
    caller: Caller,
    State(gateway): State<Gateway>,
    request: http::Request<Body>,
) -> Result<Response, ApiError> {
    gateway.serves_responses(request.uri().path())?;
    let answering = gateway.respond(&caller, request);
    gateway.inner.cut.run_until_cancelled(answering).await.ok_or_else(shutting_down)?
}

/// `GET /v1/responses/{id}`: how the response stands, or with `stream=true` its events, after `starting_after`.
pub(crate) async fn get(
    caller: Caller,
    RunId(id): RunId,
    State(gateway): State<Gateway>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    gateway.serves_responses(uri.path())?;
    let query = Query::parse(query.as_deref())?;
    if !query.stream {
        return Ok(answer(&gateway.progress(&caller, &id, true).await?));
    }
    let permit = gateway.admit_stream(&caller)?;
    let (run, annotation) = gateway.response(&caller, &id, false).await?;
    let mut sse = Sse::new().after(query.starting_after.map_or(0, |number| number.saturating_add(1)));
    let mut format = ResponseEvents::new(Progress::new(&id, annotation));
    format.take(Kind::Accepted(run.accepted), &mut sse);
    Ok(permit.hold(gateway.open_stream(run.events, format, sse)))
}

/// `POST /v1/responses/{id}/cancel`: ends a response that goes on in the background.
pub(crate) async fn cancel(
    caller: Caller,
    RunId(id): RunId,
    State(gateway): State<Gateway>,
    uri: Uri,
) -> Result<Response, ApiError> {
    gateway.serves_responses(uri.path())?;
    let (_, annotation) = gateway.response(&caller, &id, true).await?;
    if !annotation.background {
        return Err(ApiError::invalid_value("id", "only a response with `background` can be cancelled"));
    }
    gateway.cancel_kept(&id).await?;
    let ending = async {
        let ending = gateway.progress(&caller, &id, false);
        match tokio::time::timeout(END_WAIT, ending).await {
            Ok(progress) => Ok(answer(&progress?)),
            Err(_) => Ok(answer(&gateway.progress(&caller, &id, true).await?)),
        }
    };
    gateway.inner.cut.run_until_cancelled(ending).await.ok_or_else(shutting_down)?
}

/// Where a response belongs.
struct Place {
    target: Target,
    /// The session that is asked for. It is the same when the request comes again, other than that of `target`, which
    /// is another once somebody has gone on from the previous response.
    asked_for: SessionKey,
    /// What was said before, where the session does not know it.
    history: Vec<Message>,
    /// The run whose turn has to be the session's newest.
    after_run_id: String,
}

impl Gateway {
    async fn respond(&self, caller: &Caller, request: http::Request<Body>) -> Result<Response, ApiError> {
        let (http::request::Parts { headers, .. }, body) = request.into_parts();
        let settings = self.settings();
        let key = IdempotencyKey::of(&headers)?;
        let id = key.as_ref().map_or_else(Uuid::new_v4, |key| key.run_id(caller.namespace()));
        let run_id = format!("resp_{}", id.simple());
        let permit = self.admit_named(caller, &run_id)?;
        let body = self.inner.bodies.read(&headers, body, &settings.limits).await?;
        let asked = body.parse(ResponseRequest::parse).await?;
        let mut permit = if asked.stream { permit.streamed()? } else { permit };
        let agents = self.inner.directory.agents().await?;
        let on_disconnect = settings.on_disconnect.or_of(&headers)?;
        let place = self.place(caller, &headers, &asked, id, &agents).await?;
        let Place { target, asked_for, history, after_run_id } = place;
        let model = caller.model(&headers)?;
        let span = Span::current();
        span.record("run.id", &run_id);
        span.record("gen_ai.agent.id", target.agent_id.as_str());
        asked.metadata.record(&span);

        let ids = answer_headers(target.session_key.seen_from(caller.namespace()), &run_id);
        let goes_on = asked.background || key.is_some() || on_disconnect == OnDisconnect::Continue;
        let is_kept = asked.store || goes_on;
        let created_at = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let annotation = ResponseAnnotation { created_at, background: asked.background, echo: asked.echo };
        let annotated = if is_kept { Annotation::Response(annotation.clone()).to_json() } else { String::new() };
        if annotated.len() > MAX_ANNOTATION_BYTES {
            let reason = format!("with `instructions`, has more than the {MAX_ANNOTATION_BYTES} bytes that are kept");
            return Err(ApiError::invalid_value("tools", &reason));
        }
        let fingerprint = if is_kept {
            fingerprint(body.bytes(), &target.agent_id, &asked_for, &model, Shown::default())
        } else {
            Bytes::new()
        };
        let room = body.into_room();
        let run = RunRequest {
            owner: caller.namespace().to_string(),
            annotation: annotated,
            // A request with a key runs again when it has failed, unless the failure can only be asked for.
            keeps_failure: is_kept && (key.is_none() || asked.background),
            after_run_id,
            run_id: run_id.clone(),
            agent_id: target.agent_id.to_string(),
            session_key: target.session_key.to_string(),
            stateless: target.stateless,
            instructions: asked.messages.instructions,
            history: history.into_iter().chain(asked.messages.history).collect(),
            input: asked.messages.input,
            options: Some(asked.options),
            tools: asked.tools,
            tool_choice: asked.tool_choice,
            fingerprint,
            model,
        };
        let on_disconnect = if goes_on { OnDisconnect::Continue } else { OnDisconnect::Cancel };
        let events = if is_kept {
            self.begin_kept(run, caller, on_disconnect, &mut permit).await?
        } else {
            self.run(run).await?
        };
        let events = events.holding(room);
        let progress = Progress::new(&run_id, annotation);
        let mut response = match (asked.stream, asked.background) {
            (true, true) => self.open_stream(events, ResponseEvents::new(progress), Sse::new()),
            (true, false) => self.stream(events, ResponseEvents::new(progress), Sse::new()).await?,
            (false, true) => {
                begun(events, progress).await?;
                answer(&self.progress(caller, &run_id, true).await?)
            }
            (false, false) => answer(&finished(events, progress).await?),
        };
        response.headers_mut().extend(ids);
        Ok(permit.hold(response))
    }

    /// The session that a request belongs to: that of the response it follows, the one that a header names, that of its
    /// user, else a new one; and none if nothing is to be kept.
    async fn place(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        asked: &ResponseRequest,
        id: Uuid,
        agents: &Agents,
    ) -> Result<Place, ApiError> {
        let session_headers = &self.settings().session_headers;
        let target = Target::resolve(headers, session_headers, &asked.model, None, id, caller, agents)?;
        let user = asked.user.as_deref().filter(|user| !user.trim().is_empty());
        let named = match user {
            _ if !asked.store => None,
            _ if !target.stateless => Some(target.session_key),
            Some(user) => Some(caller.responses_user_session(&target.agent_id, user)?),
            None => None,
        };
        let previous = match &asked.previous_response_id {
            Some(previous) => Some(self.previous(caller, previous, &target.agent_id, named.as_ref()).await?),
            None => None,
        };
        let new = if asked.store {
            SessionKey::for_response(caller.namespace(), &target.agent_id, id)
        } else {
            SessionKey::stateless(&target.agent_id, id)
        };
        let asked_for = named.as_ref().unwrap_or(&new).clone();
        let (session_key, history, after_run_id) = match (previous, named) {
            (Some(Previous::Newest { session_key, run_id }), _) if asked.store => (session_key, Vec::new(), run_id),
            // Somebody has gone on from there already, or nothing is to be kept: this is a branch of its own.
            (Some(previous), _) => (new, self.said_until(&previous).await?, String::new()),
            (None, Some(session_key)) => (session_key, Vec::new(), String::new()),
            (None, None) => (new, Vec::new(), String::new()),
        };
        let target = Target { agent_id: target.agent_id, session_key, stateless: !asked.store };
        Ok(Place { target, asked_for, history, after_run_id })
    }

    fn serves_responses(&self, path: &str) -> Result<(), ApiError> {
        if self.settings().serves_responses { Ok(()) } else { Err(ApiError::not_found(path)) }
    }

    /// A kept response, if the caller may see it.
    async fn response(
        &self,
        caller: &Caller,
        id: &str,
        is_snapshot: bool,
    ) -> Result<(KeptRun, ResponseAnnotation), ApiError> {
        let run = self.kept_run(caller, id, is_snapshot).await?;
        Span::current().record("run.id", id);
        Span::current().record("gen_ai.agent.id", &run.accepted.agent_id);
        match Annotation::read(&run.accepted.annotation) {
            Some(Annotation::Response(annotation)) => Ok((run, annotation)),
            Some(Annotation::Chat(_)) | None => Err(ApiError::run_not_found(id)),
        }
    }

    /// How a kept response stands, or what it came to in the end.
    async fn progress(&self, caller: &Caller, id: &str, is_snapshot: bool) -> Result<Progress, ApiError> {
        let (KeptRun { mut events, .. }, annotation) = self.response(caller, id, is_snapshot).await?;
        let mut progress = Progress::new(id, annotation);
        while !progress.is_over() {
            match events.next().await {
                Ok(event) => progress.take(event, &mut |_| {}),
                Err(broken) if is_snapshot && broken.is_end() => break,
                Err(broken) => return Err(broken.into()),
            }
        }
        Ok(progress)
    }
}

/// Waits until a run is taken on.
async fn begun(mut events: Events, progress: Progress) -> Result<Progress, ApiError> {
    taken(progress, events.next().await?)
}

/// Waits until a run is over; an error if it fails.
async fn finished(mut events: Events, mut progress: Progress) -> Result<Progress, ApiError> {
    while !progress.is_over() {
        progress = taken(progress, events.next().await?)?;
    }
    Ok(progress)
}

/// Takes an event in, unless it is a failure.
fn taken(mut progress: Progress, event: Kind) -> Result<Progress, ApiError> {
    if let Kind::Failed(failed) = event {
        return Err(failed.into());
    }
    progress.take(event, &mut |_| {});
    Ok(progress)
}

fn answer(progress: &Progress) -> Response {
    let json = serde_json::to_vec(&progress.object()).expect("strings and numbers always serialise");
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))], json).into_response()
}

/// What a response is asked for with.
#[derive(Default)]
struct Query {
    stream: bool,
    starting_after: Option<u64>,
}

impl Query {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "stream" => {
                    parsed.stream =
                        value.parse().map_err(|_| ApiError::invalid_value("stream", "must be true or false"))?;
                }
                "starting_after" => {
                    let number = value.parse().map_err(|_| {
                        ApiError::invalid_value("starting_after", "must be the sequence number of an event")
                    })?;
                    parsed.starting_after = Some(number);
                }
                _ => {}
            }
        }
        if parsed.starting_after.is_some() && !parsed.stream {
            return Err(ApiError::invalid_value("starting_after", "needs `stream=true`"));
        }
        Ok(parsed)
    }
}
