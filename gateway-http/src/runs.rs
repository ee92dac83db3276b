//! `/v1/runs`: what a kept run says, from any place on, and an end to it.

use axum::{
    Json,
    extract::{FromRequestParts, Path, RawQuery, State},
    response::Response,
};
use http::{HeaderMap, request::Parts};
use schemars::JsonSchema;
use serde::Serialize;
use tracing::Span;

use crate::{
    Gateway,
    caller::Caller,
    chat::{Chunks, answer_headers},
    error::ApiError,
    kept::{Annotation, KeptRun},
    run::shutting_down,
    stream::Sse,
};

const STARTING_AFTER: &str = "starting_after";
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// The id that stands in a path.
pub(crate) struct RunId(pub(crate) String);

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CancelledRun")]
pub(crate) struct Cancelled {
    id: String,
    object: &'static str,
    /// Whether it was still going on.
    cancelled: bool,
}

/// `GET /v1/runs/{id}/events`: the run's stream as it was first sent, after the event that the client has, to its end.
pub(crate) async fn events(
    caller: Caller,
    RunId(run_id): RunId,
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let sse = Sse::new().with_ids().after(starting_after(query.as_deref(), &headers)?);
    let permit = gateway.admit_stream(&caller)?;
    let answering = async {
        let KeptRun { accepted, events } = gateway.kept_run(&caller, &run_id, false).await?;
        Span::current().record("run.id", &run_id);
        Span::current().record("gen_ai.agent.id", &accepted.agent_id);
        let format = match Annotation::read(&accepted.annotation) {
            Some(Annotation::Chat(chat)) => Chunks::of(&run_id, &chat),
            // It was asked for in another way, and is told of nowhere but there.
            Some(Annotation::Response(_)) | None => return Err(ApiError::run_not_found(&run_id)),
        };
        let mut response = gateway.stream(events, format, sse).await?;
        let session_key = caller.namespace().view(&accepted.session_key);
        response.headers_mut().extend(answer_headers(session_key, &run_id));
        Ok(permit.hold(response))
    };
    gateway.inner.cut.run_until_cancelled(answering).await.ok_or_else(shutting_down)?
}

/// `POST /v1/runs/{id}/cancel`.
pub(crate) async fn cancel(
    caller: Caller,
    RunId(run_id): RunId,
    State(gateway): State<Gateway>,
) -> Result<Json<Cancelled>, ApiError> {
    gateway.kept_run(&caller, &run_id, true).await?;
    let cancelled = gateway.cancel_kept(&run_id).await?;
    Ok(Json(Cancelled { id: run_id, object: "run", cancelled }))
}

/// How many events the client has: as the query says, else as a browser that connects again does.
fn starting_after(query: Option<&str>, headers: &HeaderMap) -> Result<u64, ApiError> {
    let not_a_number = |name| ApiError::invalid_value(name, "must be the number of an event");
    let mut parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    if let Some((_, value)) = parameters.find(|(name, _)| name == STARTING_AFTER) {
        return value.parse().map_err(|_| not_a_number(STARTING_AFTER));
    }
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(0) };
    value.to_str().ok().and_then(|value| value.parse().ok()).ok_or_else(|| not_a_number(LAST_EVENT_ID))
}

impl FromRequestParts<Gateway> for RunId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, gateway).await;
        path.map(|Path(run_id)| Self(run_id)).map_err(|_| ApiError::invalid_value("id", "must be UTF-8, URL-encoded"))
    }
}

#[cfg(test)]
mod tests;
