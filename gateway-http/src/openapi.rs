//! `GET /openapi.json`: what the gateway takes and answers, made of the very types that read and write it.

mod document;
mod failures;
mod operation;
mod parameters;

use std::sync::OnceLock;

use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::{
    chat, embeddings,
    models::{Model, ModelList},
    probes::Status,
    responses,
    runs::Cancelled,
    sessions::{Abort, Deleted, List, WireMessage, WireSession},
};
use operation::Operation;
use parameters::{
    AFTER_MESSAGE, AFTER_SESSION, AGENT, AGENT_ID, EVENTS, IDEMPOTENCY_KEY, LAST_EVENT_ID, LIMIT, MODEL, MODEL_ID,
    OF_AGENT, ON_DISCONNECT, ORDER, REQUEST_ID, RESPONSE_ID, RUN_ID, SESSION_IN_PATH, SESSION_KEY, STARTING_AFTER,
    STREAM,
};

/// The document, which needs no secret to be read.
pub(crate) async fn document() -> impl IntoResponse {
    static JSON: OnceLock<Bytes> = OnceLock::new();
    let json = JSON.get_or_init(|| document::document(&operations()).to_string().into());
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], json.clone())
}

/// Everything that can be asked, a row for each: what the router has and this table has not, or the other way round,
/// is found by a test.
fn operations() -> Vec<Operation> {
    /// What every operation that asks a runner or a store may end with.
    const ASKS: [u16; 5] = [400, 429, 500, 503, 504];
    /// The same of those of one session.
    const ASKS_SESSION: [u16; 6] = [400, 404, 429, 500, 503, 504];
    vec![
        Operation::post("/v1/chat/completions", "Runs an agent once, and answers with what it says")
            .with(&[AGENT_ID, AGENT, SESSION_KEY, MODEL, EVENTS, IDEMPOTENCY_KEY, ON_DISCONNECT, REQUEST_ID])
            .takes::<chat::RequestBody>()
            .answers::<chat::Completion>("The whole answer, or with `stream` its chunks as they come")
            .streams::<chat::Event>()
            .says(&["x-clawdbot-session-key", "x-clawdbot-run-id"])
            .fails(&ASKS_SESSION)
            .fails(&[402, 408, 409, 413, 502]),
        Operation::post("/v1/embeddings", "Turns texts into vectors")
            .with(&[AGENT_ID, AGENT, MODEL, REQUEST_ID])
            .takes::<embeddings::RequestBody>()
            .answers::<embeddings::Answer>("A vector for each text, in their order")
            .fails(&ASKS_SESSION)
            .fails(&[402, 408, 413, 502]),
        Operation::post("/v1/responses", "Runs an agent once, and keeps what it says")
            .with(&[AGENT_ID, AGENT, SESSION_KEY, MODEL, IDEMPOTENCY_KEY, ON_DISCONNECT, REQUEST_ID])
            .takes::<responses::RequestBody>()
            .answers::<responses::Answer>("The response, or with `stream` its events as they come")
            .streams::<responses::Event>()
            .says(&["x-clawdbot-session-key", "x-clawdbot-run-id"])
            .fails(&ASKS_SESSION)
            .fails(&[402, 408, 409, 413, 502]),
        Operation::get("/v1/responses/{id}", "Says how a response stands, or tells its events, from any place on")
            .with(&[RESPONSE_ID, STREAM, STARTING_AFTER, REQUEST_ID])
            .answers::<responses::Answer>("The response, or with `stream` its events")
            .streams::<responses::Event>()
            .fails(&ASKS)
            .fails(&[404]),
        Operation::post("/v1/responses/{id}/cancel", "Ends a response that goes on in the background")
            .with(&[RESPONSE_ID, REQUEST_ID])
            .answers::<responses::Answer>("The response")
            .fails(&ASKS)
            .fails(&[404]),
        Operation::get("/v1/runs/{id}/events", "Streams what a kept run says, from any place on")
            .with(&[RUN_ID, STARTING_AFTER, LAST_EVENT_ID, REQUEST_ID])
            .only_streams::<chat::Event>("The run's stream, as it was first sent")
            .says(&["x-clawdbot-session-key", "x-clawdbot-run-id"])
            .fails(&ASKS_SESSION)
            .fails(&[402, 502]),
        Operation::post("/v1/runs/{id}/cancel", "Stops a kept run")
            .with(&[RUN_ID, REQUEST_ID])
            .answers::<Cancelled>("Whether it was still going on")
            .fails(&ASKS)
            .fails(&[404]),
        Operation::get("/v1/models", "Lists the agents, as models")
            .with(&[REQUEST_ID])
            .answers::<ModelList>("The agents that the token may use")
            .fails(&ASKS),
        Operation::get("/v1/models/{id}", "Says whether there is an agent, as a model")
            .with(&[MODEL_ID, REQUEST_ID])
            .answers::<Model>("The agent")
            .fails(&ASKS)
            .fails(&[404]),
        Operation::get("/v1/sessions", "Lists the sessions, most recently changed first")
            .with(&[LIMIT, ORDER, AFTER_SESSION, OF_AGENT, REQUEST_ID])
            .answers::<List<WireSession>>("A page of the sessions that the token may see")
            .fails(&ASKS),
        Operation::get("/v1/sessions/{key}", "Reads what is known of a session")
            .with(&[SESSION_IN_PATH, REQUEST_ID])
            .answers::<WireSession>("The session")
            .fails(&ASKS_SESSION),
        Operation::delete("/v1/sessions/{key}", "Deletes a session with its transcript")
            .with(&[SESSION_IN_PATH, REQUEST_ID])
            .answers::<Deleted>("It is deleted")
            .fails(&ASKS_SESSION),
        Operation::get("/v1/sessions/{key}/messages", "Lists a session's messages, oldest first")
            .with(&[SESSION_IN_PATH, LIMIT, ORDER, AFTER_MESSAGE, REQUEST_ID])
            .answers::<List<WireMessage>>("A page of the messages")
            .fails(&ASKS_SESSION),
        Operation::post("/v1/sessions/{key}/reset", "Gives a session's key a new, empty session")
            .with(&[SESSION_IN_PATH, REQUEST_ID])
            .answers::<WireSession>("The new session")
            .fails(&ASKS_SESSION),
        Operation::post("/v1/sessions/{key}/abort", "Stops a session's turn in flight")
            .with(&[SESSION_IN_PATH, REQUEST_ID])
            .answers::<Abort>("Whether there was a turn to stop")
            .fails(&ASKS_SESSION),
        probe("/healthz", "Says that the process lives"),
        probe("/health", "The same as `/healthz`"),
        probe("/readyz", "Says whether requests can be answered now").answers_also::<Status>(503, "Not now"),
        probe("/ready", "The same as `/readyz`").answers_also::<Status>(503, "Not now"),
        Operation::get("/openapi.json", "Answers with this document")
            .open()
            .with(&[REQUEST_ID])
            .answers::<Value>("An OpenAPI 3.1 document"),
    ]
}

fn probe(path: &'static str, summary: &'static str) -> Operation {
    Operation::get(path, summary).open().with(&[REQUEST_ID]).answers::<Status>("Yes")
}

#[cfg(test)]
pub(crate) use failures::is_listed;

#[cfg(test)]
mod tests;
