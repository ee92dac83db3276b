//! What stands beside a request's body: in its path, its query and its headers.

use serde_json::{Value, json};

/// A parameter, which must be there only in a path.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    name: &'static str,
    /// `path`, `query` or `header`.
    place: &'static str,
    description: &'static str,
    schema: fn() -> Value,
}

pub(super) const AGENT_ID: Parameter = header(
    "x-clawdbot-agent-id",
    "The agent that is asked, in place of the one that `model` names; also as `x-openclaw-` and `x-moltbot-agent-id`",
);
pub(super) const AGENT: Parameter =
    header("x-clawdbot-agent", "The same as `x-clawdbot-agent-id`, which goes before it");
pub(super) const SESSION_KEY: Parameter =
    header("x-clawdbot-session-key", "The session, in place of the one that `user` has with the agent");
pub(super) const MODEL: Parameter =
    header("x-clawdbot-model", "The model that this one request is answered by, as `provider/model`");
pub(super) const EVENTS: Parameter = header(
    "x-clawdbot-events",
    "What of the agent's work the stream shows too: `tools`, `reasoning`, or both, separated by a comma",
);
pub(super) const REQUEST_ID: Parameter =
    header("x-request-id", "What the request is called in logs and traces; without it a name is made");
pub(super) const IDEMPOTENCY_KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    place: "header",
    description: "What is asked again with the same key runs once",
    schema: || json!({"type": "string", "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}),
};

pub(super) const LIMIT: Parameter = query(
    "limit",
    "The most items of a page",
    || json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}),
);
pub(super) const ORDER: Parameter =
    query("order", "Oldest first, or newest first", || json!({"type": "string", "enum": ["asc", "desc"]}));
pub(super) const AFTER_SESSION: Parameter =
    query("after", "The key of the session after which the page starts", || json!({"type": "string"}));
pub(super) const AFTER_MESSAGE: Parameter =
    query("after", "The id of the message after which the page starts", || json!({"type": "string"}));
pub(super) const OF_AGENT: Parameter = query(
    "agent",
    "Only the sessions with this agent",
    || json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}),
);

pub(super) const MODEL_ID: Parameter = path(
    "id",
    "The model's id, URL-encoded",
    || json!({"type": "string", "minLength": 1, "examples": ["clawdbot/main"]}),
);
pub(super) const SESSION_IN_PATH: Parameter = path("key", "The session's key, URL-encoded", || {
    json!({
        "type": "string",
        "maxLength": 512,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
        "examples": ["agent:main:openai-user:alice"],
    })
});

pub(super) const RUN_ID: Parameter = path(
    "id",
    "The run's id, which its answer has in `x-clawdbot-run-id`",
    || json!({"type": "string", "minLength": 1, "maxLength": 128, "examples": ["chatcmpl_1"]}),
);
pub(super) const RESPONSE_ID: Parameter = path(
    "id",
    "The response's id",
    || json!({"type": "string", "minLength": 1, "maxLength": 128, "examples": ["resp_1"]}),
);
pub(super) const STREAM: Parameter =
    query("stream", "Whether the events are wanted", || json!({"type": "boolean", "default": false}));
pub(super) const STARTING_AFTER: Parameter = query(
    "starting_after",
    "The number of the last event that the client has",
    || json!({"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64}),
);
pub(super) const LAST_EVENT_ID: Parameter = Parameter {
    name: "Last-Event-ID",
    place: "header",
    description: "The same as `starting_after`, which goes before it",
    schema: || json!({"type": "string"}),
};
pub(super) const ON_DISCONNECT: Parameter = Parameter {
    name: "x-clawdbot-on-disconnect",
    place: "header",
    description: "What becomes of the run if the client hangs up",
    schema: || json!({"type": "string", "enum": ["cancel", "continue"]}),
};

const fn header(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "header", description, schema: || json!({"type": "string"}) }
}

const fn query(name: &'static str, description: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, place: "query", description, schema }
}

const fn path(name: &'static str, description: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, place: "path", description, schema }
}

impl Parameter {
    pub(super) fn to_json(self) -> Value {
        json!({
            "name": self.name,
            "in": self.place,
            "description": self.description,
            "required": self.place == "path",
            "schema": (self.schema)(),
        })
    }
}
