//! Lists and sessions, in the shapes of OpenAI's objects.

use proto::session::v1::{Session, TurnInFlight};
use schemars::JsonSchema;
use serde::Serialize;
use shared::Namespace;

use crate::{caller::Caller, wire::WireUsage};

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct List<T> {
    object: &'static str,
    data: Vec<T>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// What has a place in a list.
pub(crate) trait Identified {
    /// The item's id, with which the next page is asked for.
    fn id(&self) -> &str;
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(crate) struct WireSession {
    /// The key as the caller knows it.
    id: String,
    object: &'static str,
    agent_id: String,
    session_id: String,
    /// Only where it isn't the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    created_at: u64,
    updated_at: u64,
    message_count: u64,
    usage: WireUsage,
    turn_in_flight: Option<WireTurn>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionTurn")]
struct WireTurn {
    run_id: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionDeleted")]
pub(crate) struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionAbort")]
pub(crate) struct Abort {
    id: String,
    object: &'static str,
    /// Whether there was a turn to stop.
    aborted: bool,
    run_id: Option<String>,
}

impl<T: Identified> List<T> {
    pub(super) fn new(data: Vec<T>, has_more: bool) -> Self {
        let id = |item: &T| item.id().to_owned();
        Self { object: "list", first_id: data.first().map(id), last_id: data.last().map(id), data, has_more }
    }
}

impl WireSession {
    pub(super) fn new(session: Session, caller: &Caller) -> Self {
        let (namespace, _) = Namespace::split(&session.session_key);
        Self {
            id: caller.namespace().view(&session.session_key).to_owned(),
            object: "session",
            agent_id: session.agent_id,
            session_id: session.session_id,
            namespace: (namespace != caller.namespace().as_str()).then(|| namespace.to_owned()),
            created_at: seconds(session.created_at_ms),
            updated_at: seconds(session.updated_at_ms),
            message_count: session.message_count,
            usage: session.usage.unwrap_or_default().into(),
            turn_in_flight: session.turn_in_flight.map(|TurnInFlight { run_id, .. }| WireTurn { run_id }),
        }
    }
}

impl Identified for WireSession {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Deleted {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), object: "session.deleted", deleted: true }
    }
}

impl Abort {
    /// `run_id` is the run that was stopped, if there was one.
    pub(super) fn new(id: &str, run_id: Option<String>) -> Self {
        Self { id: id.to_owned(), object: "session.abort", aborted: run_id.is_some(), run_id }
    }
}

/// The API's times are whole seconds since 1970.
pub(super) fn seconds(ms: u64) -> u64 {
    ms / 1000
}
