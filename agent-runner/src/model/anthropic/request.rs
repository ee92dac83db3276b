//! The request as the API wants it.

use base64::{Engine, prelude::BASE64_STANDARD};
use proto::{
    agent::v1::{FunctionTool, ToolChoice, response_format, tool_choice::Mode},
    session::v1::{File, Message, Part, Reasoning, Role, ToolCall, part::Kind},
};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    REDACTED,
    thinking::{Thinking, takes_sampling, thinking, thinks_adaptively},
};
use crate::model::{
    Error, Request,
    input::{self, Speaker, Turn, cannot_take, data_url, file_data},
    thoughts,
};

/// What upstream assumes where nothing is configured; the API wants a number.
const DEFAULT_MAX_TOKENS: u32 = 8192;
/// How many of the user's turns are marked for the provider's cache: one to read up to, one to write.
const CACHED_TURNS: usize = 2;

/// The body of a request, as JSON.
pub(in crate::model) fn body(request: &Request) -> Result<Vec<u8>, Error> {
    let thinking = thinking(request);
    // A model that is told when to think refuses its former thoughts when it is not.
    let bare = if thinking.is_none() && !thinks_adaptively(&request.model) { thoughts::without(request) } else { None };
    let body = Body::new(bare.as_ref().unwrap_or(request), thinking)?;
    Ok(serde_json::to_vec(&body).expect("strings, numbers and checked JSON always serialise"))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Plain(Value),
    ToolUse { r#type: &'static str, id: String, name: &'a str, input: Box<RawValue> },
}

#[derive(Serialize)]
struct WireTool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: &'a RawValue,
}

impl<'a> Body<'a> {
    fn new(request: &'a Request, thinking: Option<Thinking>) -> Result<Self, Error> {
        let options = &request.options;
        // Thoughts count too, and are not to leave less to the answer than it has without.
        let usual = DEFAULT_MAX_TOKENS + thinking.as_ref().map_or(0, |thinking| thinking.budget);
        let max_tokens = most_tokens(request).unwrap_or(usual);
        let (format, form) = response_form(request);
        let effort = thinking.as_ref().and_then(|thinking| thinking.effort);
        let mut instructions = input::instructions(&request.messages);
        if let Some(form) = form {
            if !instructions.is_empty() {
                instructions.push_str("\n\n");
            }
            instructions.push_str(form);
        }
        let mut messages =
            input::turns(&request.messages).iter().map(WireMessage::new).collect::<Result<Vec<_>, Error>>()?;
        messages.retain(|message| !message.content.is_empty());
        if messages.first().is_some_and(|first| first.role == "assistant") {
            let before = vec![Block::text("(the start of the conversation is left out)")];
            messages.insert(0, WireMessage { role: "user", content: before });
        }
        mark_for_cache(&mut messages);
        // A thinking model takes no other randomness than its own; newer models take only one of the two settings.
        let is_free = thinking.is_none() && takes_sampling(&request.model);
        let temperature = options.temperature.filter(|_| is_free).map(|temperature| temperature.min(1.0));
        Ok(Self {
            model: &request.model,
            max_tokens,
            stream: true,
            system: system(&instructions),
            messages,
            // The API refuses blank ones.
            stop_sequences: options.stop.iter().map(String::as_str).filter(|stop| !stop.trim().is_empty()).collect(),
            temperature,
            top_p: options.top_p.filter(|_| is_free && temperature.is_none()),
            thinking: thinking.map(|thinking| thinking.config),
            tools: request.tools.iter().map(WireTool::from).collect(),
            tool_choice: tool_choice(request),
            output_config: output_config(format, effort),
            metadata: Some(&options.safety_identifier).filter(|id| !id.is_empty()).map(|id| json!({"user_id": id})),
        })
    }
}

fn output_config(format: Option<Value>, effort: Option<&str>) -> Option<Value> {
    let fields = [("format", format), ("effort", effort.map(Value::from))];
    let fields: serde_json::Map<_, _> =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    (!fields.is_empty()).then(|| fields.into())
}

/// The most tokens of the answer that the request or the configuration gives it.
pub(super) fn most_tokens(request: &Request) -> Option<u32> {
    request.profile.cap(request.options.max_tokens).or(request.profile.max_tokens)
}

fn system(instructions: &str) -> Vec<Value> {
    if instructions.is_empty() {
        return Vec::new();
    }
    vec![json!({"type": "text", "text": instructions, "cache_control": {"type": "ephemeral"}})]
}

/// Marks the ends of the user's last turns, up to which the provider keeps the conversation.
fn mark_for_cache(messages: &mut [WireMessage<'_>]) {
    let turns = messages.iter_mut().rev().filter(|message| message.role == "user").take(CACHED_TURNS);
    for turn in turns {
        if let Some(Block::Plain(block)) = turn.content.last_mut() {
            block["cache_control"] = json!({"type": "ephemeral"});
        }
    }
}

/// The form of the answer: as the API has it, or put into words where it has none.
fn response_form(request: &Request) -> (Option<Value>, Option<&'static str>) {
    const ANY_OBJECT: &str = "Answer with one JSON object and nothing else.";
    match request.options.response_format.as_ref().and_then(|format| format.kind.as_ref()) {
        None => (None, None),
        Some(response_format::Kind::JsonObject(_)) => (None, Some(ANY_OBJECT)),
        Some(response_format::Kind::JsonSchema(schema)) => match serde_json::from_str::<Value>(&schema.schema) {
            Ok(schema) => (Some(json!({"type": "json_schema", "schema": schema})), None),
            Err(_) => (None, Some(ANY_OBJECT)),
        },
    }
}

fn tool_choice(request: &Request) -> Option<Value> {
    if request.tools.is_empty() {
        return None;
    }
    let one_at_a_time = request.options.parallel_tool_calls == Some(false);
    let choice = request.tool_choice.as_ref();
    let mut wire = match choice.map_or(Mode::Unspecified, ToolChoice::mode) {
        Mode::Unspecified if !one_at_a_time => return None,
        Mode::Unspecified | Mode::Auto => json!({"type": "auto"}),
        Mode::None => return Some(json!({"type": "none"})),
        Mode::Required => json!({"type": "any"}),
        Mode::Function => json!({"type": "tool", "name": choice.map(|choice| choice.name.as_str())}),
    };
    if one_at_a_time {
        wire["disable_parallel_tool_use"] = true.into();
    }
    Some(wire)
}

impl<'a> WireMessage<'a> {
    fn new(turn: &Turn<'a>) -> Result<Self, Error> {
        let role = match turn.speaker {
            Speaker::User => "user",
            Speaker::Model => "assistant",
        };
        let mut content = Vec::new();
        for message in &turn.messages {
            if message.role() == Role::Tool {
                content.push(tool_result(message)?);
                continue;
            }
            for part in &message.parts {
                content.extend(block(part)?);
            }
            content.extend(message.tool_calls.iter().map(Block::from));
        }
        Ok(Self { role, content })
    }
}

impl Block<'_> {
    fn text(text: &str) -> Self {
        Self::Plain(json!({"type": "text", "text": text}))
    }
}

fn tool_result(message: &Message) -> Result<Block<'_>, Error> {
    let mut content = Vec::new();
    for part in &message.parts {
        content.extend(block(part)?);
    }
    let id = tool_use_id(&message.tool_call_id);
    Ok(Block::Plain(json!({"type": "tool_result", "tool_use_id": id, "content": content})))
}

/// `None` for what the API refuses, which is texts with nothing but blanks in them.
fn block(part: &Part) -> Result<Option<Block<'_>>, Error> {
    Ok(Some(Block::Plain(match &part.kind {
        None => return Ok(None),
        Some(Kind::Text(text) | Kind::Refusal(text)) if text.trim().is_empty() => return Ok(None),
        Some(Kind::Text(text) | Kind::Refusal(text)) => json!({"type": "text", "text": text}),
        Some(Kind::Reasoning(Reasoning { text, signature, .. })) => match signature.strip_prefix(REDACTED) {
            Some(data) => json!({"type": "redacted_thinking", "data": data}),
            None => json!({"type": "thinking", "thinking": text, "signature": signature}),
        },
        Some(Kind::Image(image)) => json!({"type": "image", "source": match data_url(&image.url)? {
            Some((media_type, data)) => json!({"type": "base64", "media_type": media_type, "data": data}),
            None => json!({"type": "url", "url": image.url}),
        }}),
        Some(Kind::File(file)) => document(file)?,
        Some(Kind::Audio(_)) => return Err(cannot_take("audio")),
    })))
}

fn document(file: &File) -> Result<Value, Error> {
    let (media_type, data) = file_data(file)?;
    let source = match media_type {
        "application/pdf" => json!({"type": "base64", "media_type": media_type, "data": data}),
        _ if media_type.starts_with("text/") => {
            let text = BASE64_STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| Error::InvalidRequest("a document is no UTF-8 text in base64".to_owned()))?;
            json!({"type": "text", "media_type": "text/plain", "data": text})
        }
        _ => return Err(cannot_take("documents but PDF and text")),
    };
    let mut document = json!({"type": "document", "source": source});
    if !file.filename.is_empty() {
        document["title"] = file.filename.as_str().into();
    }
    Ok(document)
}

impl<'a> From<&'a ToolCall> for Block<'a> {
    fn from(call: &'a ToolCall) -> Self {
        let (id, input) = (tool_use_id(&call.id), input::arguments(&call.arguments));
        Self::ToolUse { r#type: "tool_use", id, name: &call.name, input }
    }
}

/// The API takes only such ids; another provider's may have more in them.
fn tool_use_id(id: &str) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    id.chars().map(|character| if allowed(character) { character } else { '_' }).collect()
}

impl<'a> From<&'a FunctionTool> for WireTool<'a> {
    fn from(tool: &'a FunctionTool) -> Self {
        let input_schema = input::parameters(&tool.parameters);
        Self { name: &tool.name, description: &tool.description, input_schema }
    }
}
