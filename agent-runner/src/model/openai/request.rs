//! The request as the API wants it, written straight from the messages.

use std::collections::HashMap;

use proto::{
    agent::v1::{FunctionTool, ResponseFormat, ToolChoice, response_format, tool_choice::Mode},
    session::v1::{Message, Part, Reasoning, Role, ToolCall, part::Kind},
};
use reqwest::Url;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::{json, value::RawValue};

use super::REASONING_CONTENT;
use crate::model::{
    MaxTokensField, Request,
    input::{self, raw},
};

/// The body of a request to the server at `base_url`, as JSON.
pub(in crate::model) fn body(request: &Request, base_url: &Url) -> Vec<u8> {
    serde_json::to_vec(&Body::new(request, base_url)).expect("strings, numbers and checked JSON always serialise")
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_effort: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    verbosity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    logit_bias: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    safety_identifier: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    prompt_cache_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Content<'a>,
    /// What it thought before it called, for servers that send that under this name.
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    tool_call_id: &'a str,
}

/// What a message says: `null`, one text, or parts.
struct Content<'a> {
    parts: Vec<&'a Kind>,
    /// Whether nothing at all may be said; that is for messages which only call tools.
    may_be_null: bool,
}

#[derive(Serialize)]
struct WireToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WireFunctionCall<'a>,
    /// As the server sent it with the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct WireFunctionCall<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> Body<'a> {
    fn new(request: &'a Request, base_url: &Url) -> Self {
        let (options, profile) = (&request.options, &request.profile);
        let is_openai = base_url.host_str() == Some("api.openai.com");
        let field = profile.compat.max_tokens_field.unwrap_or(if is_openai {
            MaxTokensField::MaxCompletionTokens
        } else {
            MaxTokensField::MaxTokens
        });
        let max_tokens = profile.cap(options.max_tokens);
        // OpenAI's thinkers refuse to be told how to choose their words; others' take it.
        let thinks = input::is_openai_thinker(&request.model) || (is_openai && profile.reasoning);
        let instructs_as = match profile.compat.supports_developer_role {
            Some(true) if profile.reasoning => "developer",
            Some(_) | None => "system",
        };
        let reasoning_effort = match profile.compat.supports_reasoning_effort {
            Some(false) => "",
            Some(true) | None => &options.reasoning_effort,
        };
        Self {
            model: &request.model,
            messages: request.messages.iter().filter_map(|message| WireMessage::new(message, instructs_as)).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            store: profile.compat.supports_store.filter(|supported| *supported).map(|_| false),
            temperature: options.temperature.filter(|_| !thinks),
            top_p: options.top_p.filter(|_| !thinks),
            max_tokens: max_tokens.filter(|_| field == MaxTokensField::MaxTokens),
            max_completion_tokens: max_tokens.filter(|_| field == MaxTokensField::MaxCompletionTokens),
            stop: if thinks { &[] } else { &options.stop },
            seed: options.seed,
            frequency_penalty: options.frequency_penalty.filter(|_| !thinks),
            presence_penalty: options.presence_penalty.filter(|_| !thinks),
            response_format: options.response_format.as_ref().and_then(response_format),
            reasoning_effort,
            verbosity: &options.verbosity,
            // Nor do they tell what else they might have said.
            logprobs: options.logprobs.filter(|_| !thinks),
            top_logprobs: options.top_logprobs.filter(|_| !thinks),
            logit_bias: if thinks { serde_json::Map::new() } else { logit_bias(&options.logit_bias) },
            safety_identifier: &options.safety_identifier,
            prompt_cache_key: &options.prompt_cache_key,
            parallel_tool_calls: options.parallel_tool_calls.filter(|_| !request.tools.is_empty()),
            tools: request.tools.iter().map(WireTool::from).collect(),
            tool_choice: request.tool_choice.as_ref().and_then(tool_choice),
        }
    }
}

impl<'a> WireMessage<'a> {
    /// `None` for an assistant's message of which nothing is left; servers refuse an empty one.
    fn new(message: &'a Message, instructs_as: &'static str) -> Option<Self> {
        let role = match message.role() {
            Role::System | Role::Developer => instructs_as,
            Role::Assistant => "assistant",
            Role::Tool => "tool",
            Role::User | Role::Unspecified => "user",
        };
        let parts: Vec<&Kind> = message.parts.iter().filter_map(|part| sendable(part.kind.as_ref()?)).collect();
        if message.role() == Role::Assistant && parts.is_empty() && message.tool_calls.is_empty() {
            return None;
        }
        Some(Self {
            role,
            reasoning_content: message.parts.iter().filter_map(thought).collect(),
            content: Content { parts, may_be_null: !message.tool_calls.is_empty() },
            name: &message.name,
            tool_calls: message.tool_calls.iter().map(WireToolCall::from).collect(),
            tool_call_id: &message.tool_call_id,
        })
    }
}

impl<'a> From<&'a ToolCall> for WireToolCall<'a> {
    fn from(call: &'a ToolCall) -> Self {
        // Servers that read the arguments refuse what a model broke off in the middle of.
        let arguments = input::arguments(&call.arguments).get().to_owned();
        let function = WireFunctionCall { name: &call.name, arguments };
        Self { id: &call.id, r#type: "function", function, extra_content: raw(&call.signature) }
    }
}

impl<'a> From<&'a FunctionTool> for WireTool<'a> {
    fn from(tool: &'a FunctionTool) -> Self {
        let function = WireFunction {
            name: &tool.name,
            description: &tool.description,
            parameters: raw(&tool.parameters),
            strict: tool.strict,
        };
        Self { r#type: "function", function }
    }
}

impl Serialize for Content<'_> {
    /// Texts alone become one, since not every server takes parts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Option<Vec<&str>> = self.parts.iter().map(|kind| plain_text(kind)).collect();
        match texts.as_deref() {
            Some([]) if self.may_be_null => serializer.serialize_none(),
            Some([text]) => serializer.serialize_str(text),
            Some(texts) => serializer.serialize_str(&texts.join("\n")),
            None => {
                let mut parts = serializer.serialize_seq(None)?;
                for part in self.parts.iter().filter_map(|kind| wire_part(kind)) {
                    parts.serialize_element(&part)?;
                }
                parts.end()
            }
        }
    }
}

/// What a server sent as `reasoning_content`, which it wants back; for other thoughts the protocol has no way back.
fn thought(part: &Part) -> Option<&str> {
    match &part.kind {
        Some(Kind::Reasoning(Reasoning { text, signature, .. })) if signature == REASONING_CONTENT => Some(text),
        Some(
            Kind::Reasoning(_) | Kind::Text(_) | Kind::Image(_) | Kind::Audio(_) | Kind::File(_) | Kind::Refusal(_),
        )
        | None => None,
    }
}

/// `None` for what a model thought, which is no content.
fn sendable(kind: &Kind) -> Option<&Kind> {
    if matches!(kind, Kind::Reasoning(_)) { None } else { Some(kind) }
}

fn plain_text(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Text(text) => Some(text),
        Kind::Image(_) | Kind::Audio(_) | Kind::File(_) | Kind::Refusal(_) | Kind::Reasoning(_) => None,
    }
}

fn wire_part(kind: &Kind) -> Option<serde_json::Value> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(match kind {
        Kind::Reasoning(_) => return None,
        Kind::Text(text) => json!({"type": "text", "text": text}),
        Kind::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        Kind::Image(image) => match given(&image.detail) {
            Some(detail) => json!({"type": "image_url", "image_url": {"url": image.url, "detail": detail}}),
            None => json!({"type": "image_url", "image_url": {"url": image.url}}),
        },
        Kind::Audio(audio) => {
            json!({"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}})
        }
        Kind::File(file) => {
            let fields = [("filename", &file.filename), ("file_data", &file.data), ("file_id", &file.file_id)];
            let fields: serde_json::Map<_, _> =
                fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), given(text)?.into()))).collect();
            json!({"type": "file", "file": fields})
        }
    })
}

/// Whole numbers are written as such: some servers take no others.
fn logit_bias(biases: &HashMap<String, f64>) -> serde_json::Map<String, serde_json::Value> {
    let number = |bias: f64| serde_json::from_str::<serde_json::Value>(&bias.to_string()).unwrap_or_default();
    biases.iter().map(|(token, bias)| (token.clone(), number(*bias))).collect()
}

fn response_format(format: &ResponseFormat) -> Option<serde_json::Value> {
    match format.kind.as_ref()? {
        response_format::Kind::JsonObject(_) => Some(json!({"type": "json_object"})),
        response_format::Kind::JsonSchema(schema) => {
            let mut wire = json!({"name": schema.name});
            if !schema.description.is_empty() {
                wire["description"] = schema.description.clone().into();
            }
            if let Ok(parsed) = serde_json::from_str::<serde_json::Value>(&schema.schema) {
                wire["schema"] = parsed;
            }
            if let Some(strict) = schema.strict {
                wire["strict"] = strict.into();
            }
            Some(json!({"type": "json_schema", "json_schema": wire}))
        }
    }
}

fn tool_choice(choice: &ToolChoice) -> Option<serde_json::Value> {
    match choice.mode() {
        Mode::Unspecified => None,
        Mode::Auto => Some("auto".into()),
        Mode::None => Some("none".into()),
        Mode::Required => Some("required".into()),
        Mode::Function => Some(json!({"type": "function", "function": {"name": choice.name}})),
    }
}
