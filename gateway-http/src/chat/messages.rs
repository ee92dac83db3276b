//! The request's messages, sorted into what instructs, what was said before, and what is new.

use proto::session::v1::{Message, Part, Role, ToolCall};
use schemars::JsonSchema;
use serde::Deserialize;

use super::content::WireContent;
use crate::error::ApiError;

/// A request's messages by what they are for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Messages {
    /// The system and developer messages, wherever they stood.
    pub(super) instructions: Vec<Message>,
    /// Everything up to the last assistant message. Only a session without a transcript takes it over: any other knows
    /// it already.
    pub(super) history: Vec<Message>,
    /// What follows.
    pub(super) input: Vec<Message>,
}

/// A message as it is written.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatMessage")]
pub(super) struct WireMessage {
    #[schemars(
        with = "String",
        extend("enum" = ["system", "developer", "user", "assistant", "tool", "function"])
    )]
    role: WireRole,
    content: Option<WireContent>,
    refusal: Option<String>,
    name: Option<String>,
    tool_calls: Option<Vec<WireToolCall>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct WireRole(Role);

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatToolCall")]
struct WireToolCall {
    id: String,
    function: WireFunctionCall,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatFunctionCall")]
struct WireFunctionCall {
    name: String,
    arguments: String,
}

impl Messages {
    /// Fails when there is nothing to answer. Messages that say nothing are left out.
    pub(super) fn sort(messages: impl Iterator<Item = WireMessage>) -> Result<Self, ApiError> {
        let mut sorted = Self::default();
        let mut spoken = Vec::with_capacity(messages.size_hint().0);
        for (index, message) in messages.enumerate() {
            let message = message.check(&format!("messages[{index}]"))?;
            match message.role() {
                _ if says_nothing(&message) => {}
                Role::System | Role::Developer => sorted.instructions.push(message),
                Role::User | Role::Assistant | Role::Tool | Role::Unspecified => spoken.push(message),
            }
        }
        if spoken.is_empty() {
            return Err(ApiError::invalid_value("messages", "there is no message to answer"));
        }
        let last_answer = spoken.iter().rposition(|message| message.role() == Role::Assistant);
        sorted.input = spoken.split_off(last_answer.map_or(0, |index| index + 1));
        sorted.history = spoken;
        Ok(sorted)
    }
}

impl WireMessage {
    /// `path` is where the message stands in the request.
    fn check(self, path: &str) -> Result<Message, ApiError> {
        let WireRole(role) = self.role;
        let content = self.content.map(|content| content.into_parts(&format!("{path}.content")));
        let mut parts = content.transpose()?.unwrap_or_default();
        let is_text = |part: &Part| matches!(part.kind, Some(proto::session::v1::part::Kind::Text(_)));
        if matches!(role, Role::System | Role::Developer) && !parts.iter().all(is_text) {
            return Err(ApiError::invalid_value(format!("{path}.content"), "instructions are text only"));
        }
        if let Some(refusal) = self.refusal.filter(|refusal| !refusal.is_empty()) {
            parts.push(Part { kind: Some(proto::session::v1::part::Kind::Refusal(refusal)) });
        }
        let calls = self.tool_calls.unwrap_or_default().into_iter();
        Ok(Message {
            role: role.into(),
            parts,
            name: self.name.unwrap_or_default(),
            tool_calls: calls.map(ToolCall::from).collect(),
            tool_call_id: self.tool_call_id.unwrap_or_default(),
            ..Message::default()
        })
    }
}

/// An empty result of a tool says that it had nothing to say; any other empty message is none.
fn says_nothing(message: &Message) -> bool {
    message.parts.is_empty() && message.tool_calls.is_empty() && message.role() != Role::Tool
}

impl TryFrom<String> for WireRole {
    type Error = String;

    /// `function` is the older name of `tool`.
    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "system" => Ok(Self(Role::System)),
            "developer" => Ok(Self(Role::Developer)),
            "user" => Ok(Self(Role::User)),
            "assistant" => Ok(Self(Role::Assistant)),
            "tool" | "function" => Ok(Self(Role::Tool)),
            _ => Err(format!("`{name}` is none of system, developer, user, assistant, tool, function")),
        }
    }
}

impl From<WireToolCall> for ToolCall {
    fn from(call: WireToolCall) -> Self {
        Self { id: call.id, name: call.function.name, arguments: call.function.arguments, ..Self::default() }
    }
}
