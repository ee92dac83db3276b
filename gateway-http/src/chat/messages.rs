//! The request's messages, sorted into what instructs, what was said before, and what is new.

use proto::session::v1::{Message, Part, Role, ToolCall, part::Kind};
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use super::{content::WireContent, object::Object};
use crate::error::ApiError;

/// The most characters of the name of who speaks.
const MAX_NAME_CHARS: usize = 64;

/// A request's messages by what they are for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Messages {
    /// The system and developer messages, wherever they stood.
    pub(crate) instructions: Vec<Message>,
    /// Everything up to the last assistant message. Only a session without a transcript takes it over: any other knows
    /// it already.
    pub(crate) history: Vec<Message>,
    /// What follows.
    pub(crate) input: Vec<Message>,
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
    tool_calls: Option<Vec<Object<WireToolCall>>>,
    tool_call_id: Option<String>,
    /// What `tool_calls` was before it was several.
    function_call: Option<Object<WireFunctionCall>>,
    #[schemars(with = "Option<()>")]
    audio: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct WireRole {
    role: Role,
    /// Whether it is `function`, the older name of `tool`, whose results are known by the function's name.
    is_function: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatToolCall")]
struct WireToolCall {
    id: String,
    r#type: Option<String>,
    function: Option<Object<WireFunctionCall>>,
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
        let mut functions = Functions::default();
        let checked = messages
            .enumerate()
            .map(|(index, message)| message.check(&format!("messages[{index}]"), &mut functions))
            .collect::<Result<Vec<_>, _>>()?;
        Self::of(checked, "messages")
    }

    /// The same of messages that are checked; `param` is where they stand in the request.
    pub(crate) fn of(messages: Vec<Message>, param: &str) -> Result<Self, ApiError> {
        let mut sorted = Self::default();
        let mut spoken = Vec::with_capacity(messages.len());
        for message in messages {
            match message.role() {
                _ if says_nothing(&message) => {}
                Role::System | Role::Developer => sorted.instructions.push(message),
                Role::User | Role::Assistant | Role::Tool | Role::Unspecified => spoken.push(message),
            }
        }
        if spoken.is_empty() {
            return Err(ApiError::invalid_value(param, "there is no message to answer"));
        }
        let last_answer = spoken.iter().rposition(|message| message.role() == Role::Assistant);
        sorted.input = spoken.split_off(last_answer.map_or(0, |index| index + 1));
        sorted.history = spoken;
        Ok(sorted)
    }
}

/// The calls of the older kind, which have no ids: as they are made, they get some.
#[derive(Default)]
struct Functions {
    called: Vec<(String, String)>,
}

impl Functions {
    fn call(&mut self, function: WireFunctionCall) -> ToolCall {
        let id = format!("function_call_{}", self.called.len());
        self.called.push((function.name.clone(), id.clone()));
        function.into_call(id)
    }

    /// The id of the newest call of a function.
    fn id(&self, name: &str) -> Option<String> {
        self.called.iter().rev().find(|(called, _)| called == name).map(|(_, id)| id.clone())
    }
}

impl WireMessage {
    /// `path` is where the message stands in the request.
    fn check(self, path: &str, functions: &mut Functions) -> Result<Message, ApiError> {
        let invalid = |field: &str, reason: &str| Err(ApiError::invalid_value(format!("{path}.{field}"), reason));
        let WireRole { role, is_function } = self.role;
        let content = self.content.map(|content| content.into_parts(&format!("{path}.content")));
        let mut parts = content.transpose()?.unwrap_or_default();
        if let Some(reason) = parts.iter().find_map(|part| misplaced(role, part.kind.as_ref()?)) {
            return invalid("content", reason);
        }
        let has_calls = self.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let misplaced = [
            ("tool_calls", has_calls, Role::Assistant),
            ("function_call", self.function_call.is_some(), Role::Assistant),
            ("refusal", is_given(&self.refusal), Role::Assistant),
            ("tool_call_id", is_given(&self.tool_call_id), Role::Tool),
        ];
        if let Some((field, _, of)) = misplaced.into_iter().find(|(_, is_there, of)| *is_there && *of != role) {
            let of = if of == Role::Tool { "tool" } else { "assistant" };
            return invalid(field, &format!("stands only in messages of the role {of}"));
        }
        if self.audio.is_some() {
            return invalid("audio", "spoken answers are not kept; give their text as `content`");
        }
        if self.name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME_CHARS) {
            return invalid("name", &format!("longer than {MAX_NAME_CHARS} characters"));
        }
        if let Some(refusal) = self.refusal.filter(|refusal| !refusal.is_empty()) {
            parts.push(Part { kind: Some(Kind::Refusal(refusal)) });
        }
        let calls = self.tool_calls.into_iter().flatten().enumerate();
        let calls = calls.map(|(index, Object(call))| call.check(&format!("{path}.tool_calls[{index}]")));
        let mut tool_calls = calls.collect::<Result<Vec<_>, _>>()?;
        tool_calls.extend(self.function_call.map(|Object(function)| functions.call(function)));
        let name = self.name.unwrap_or_default();
        let tool_call_id = match self.tool_call_id.filter(|id| !id.is_empty()) {
            Some(id) => id,
            None if is_function => match functions.id(&name) {
                Some(id) => id,
                None => return invalid("name", "no `function_call` before it has this name"),
            },
            None if role == Role::Tool => return invalid("tool_call_id", "is missing"),
            None => String::new(),
        };
        Ok(Message { role: role.into(), parts, name, tool_calls, tool_call_id, ..Message::default() })
    }
}

/// Why what stands in a message cannot, if it cannot.
fn misplaced(role: Role, kind: &Kind) -> Option<&'static str> {
    let is_text = matches!(kind, Kind::Text(_));
    let is_refusal = matches!(kind, Kind::Refusal(_));
    match role {
        Role::System | Role::Developer => (!is_text).then_some("instructions are text only"),
        Role::Tool => (!is_text).then_some("what a tool gives is text only"),
        Role::Assistant => (!is_text && !is_refusal).then_some("what an assistant says is text only"),
        Role::User | Role::Unspecified => is_refusal.then_some("only an assistant refuses"),
    }
}

impl WireToolCall {
    /// `path` is where the call stands in the request.
    fn check(self, path: &str) -> Result<ToolCall, ApiError> {
        if let Some(other) = self.r#type.filter(|kind| kind != "function") {
            return Err(ApiError::invalid_value(format!("{path}.type"), &format!("`{other}` is not function")));
        }
        let missing = || ApiError::invalid_value(format!("{path}.function"), "is missing");
        let Object(function) = self.function.ok_or_else(missing)?;
        Ok(function.into_call(self.id))
    }
}

impl WireFunctionCall {
    fn into_call(self, id: String) -> ToolCall {
        ToolCall { id, name: self.name, arguments: self.arguments, ..ToolCall::default() }
    }
}

/// An empty result of a tool says that it had nothing to say; any other empty message is none.
fn says_nothing(message: &Message) -> bool {
    message.parts.is_empty() && message.tool_calls.is_empty() && message.role() != Role::Tool
}

impl TryFrom<String> for WireRole {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let role = match name.as_str() {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => return Err(format!("`{name}` is none of system, developer, user, assistant, tool, function")),
        };
        Ok(Self { role, is_function: name == "function" })
    }
}
