//! `/v1/sessions`: what is remembered, listed, read, reset, deleted, and the turn in flight stopped.

mod addressed;
mod content;
mod message;
mod object;
mod page;
mod store;

use std::time::Duration;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use proto::{
    agent::v1::CancelRequest,
    session::v1::{ListMessagesRequest, ListSessionsRequest, Order, TurnInFlight},
};
use tonic::Code;

use crate::{Gateway, caller::Caller, error::ApiError};
use addressed::Addressed;
use page::Page;

pub(crate) use message::WireMessage;
pub(crate) use object::{Abort, Deleted, List, WireSession};
pub(crate) use store::Store;

/// How long the runner may take to stop a run.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// `GET /v1/sessions`: most recently changed first. A main caller sees those of every namespace, any other its own, and
/// of them those of the agents that it may use.
pub(crate) async fn list(
    caller: Caller,
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<WireSession>>, ApiError> {
    let page = Page::parse(query.as_deref())?;
    if let Some(agent_id) = &page.agent_id {
        caller.check(agent_id, "agent")?;
    }
    let mut after = match &page.after {
        Some(key) => caller.session(key, &*gateway.inner.directory.agents().await?, "after")?.0.to_string(),
        None => String::new(),
    };
    let mut shown = Vec::new();
    // The store knows nothing of what a token may use, so a page of it can have less than was asked for.
    loop {
        let limit = page.limit - u32::try_from(shown.len()).unwrap_or(page.limit);
        let request = ListSessionsRequest {
            agent_id: page.agent_id.as_ref().map_or_else(String::new, ToString::to_string),
            limit,
            order: page.order(Order::Descending).into(),
            after,
            namespace: caller.namespace().to_string(),
            all_namespaces: caller.namespace().is_main(),
        };
        let listed = gateway.inner.store.list(request).await?;
        after = listed.sessions.last().map_or_else(String::new, |session| session.session_key.clone());
        let visible = listed
            .sessions
            .into_iter()
            .filter(|session| session.agent_id.parse().is_ok_and(|agent_id| caller.may_use(&agent_id)));
        shown.extend(visible.map(|session| WireSession::new(session, &caller)));
        let is_full = shown.len() >= page.limit as usize;
        if is_full || !listed.has_more || after.is_empty() {
            return Ok(Json(List::new(shown, listed.has_more)));
        }
    }
}

/// `GET /v1/sessions/{key}`.
pub(crate) async fn get(session: Addressed, State(gateway): State<Gateway>) -> Result<Json<WireSession>, ApiError> {
    let found = gateway.inner.store.get(&session.key).await?;
    Ok(Json(WireSession::new(found, &session.caller)))
}

/// `GET /v1/sessions/{key}/messages`: oldest first, as Chat Completions lists the messages of a stored completion.
pub(crate) async fn messages(
    session: Addressed,
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<WireMessage>>, ApiError> {
    let page = Page::parse(query.as_deref())?;
    let request = ListMessagesRequest {
        session_key: session.key.to_string(),
        limit: page.limit,
        order: page.order(Order::Ascending).into(),
        after_seq: page.after.as_deref().map(message::seq).transpose()?.unwrap_or_default(),
    };
    let listed = gateway.inner.store.messages(request).await?;
    Ok(Json(List::new(listed.messages.into_iter().map(WireMessage::from).collect(), listed.has_more)))
}

/// `POST /v1/sessions/{key}/reset`: answers with the new, empty session.
pub(crate) async fn reset(session: Addressed, State(gateway): State<Gateway>) -> Result<Json<WireSession>, ApiError> {
    let made = gateway.inner.store.reset(&session.key).await?;
    Ok(Json(WireSession::new(made, &session.caller)))
}

/// `DELETE /v1/sessions/{key}`.
pub(crate) async fn delete(session: Addressed, State(gateway): State<Gateway>) -> Result<Json<Deleted>, ApiError> {
    gateway.inner.store.delete(&session.key).await?;
    Ok(Json(Deleted::new(session.id())))
}

/// `POST /v1/sessions/{key}/abort`: stops the turn in flight, which keeps nothing unless its answer is whole already.
pub(crate) async fn abort(session: Addressed, State(gateway): State<Gateway>) -> Result<Json<Abort>, ApiError> {
    let in_flight = gateway.inner.store.get(&session.key).await?.turn_in_flight;
    let run_id = in_flight.as_ref().map(|turn| turn.run_id.clone());
    if let Some(turn) = in_flight
        && !gateway.cancel(&turn).await
    {
        // Nobody is there to end the turn, so the session is freed from here. Should the run live after all, it has
        // lost its lease and can write nothing.
        gateway.inner.store.abandon(turn.lease).await?;
    }
    Ok(Json(Abort::new(session.id(), run_id)))
}

impl Gateway {
    /// Whether a runner took it upon itself to stop the turn.
    async fn cancel(&self, turn: &TurnInFlight) -> bool {
        let request = CancelRequest { run_id: turn.run_id.clone(), runner: turn.runner.clone() };
        let mut runner = self.inner.runner.clone();
        match tokio::time::timeout(CANCEL_TIMEOUT, runner.cancel(request)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(status)) if status.code() == Code::NotFound => {}
            Ok(Err(status)) => tracing::warn!(run.id = turn.run_id, %status, "a run could not be cancelled"),
            Err(_) => tracing::warn!(run.id = turn.run_id, "the agent runner did not say whether it cancelled a run"),
        }
        false
    }
}
