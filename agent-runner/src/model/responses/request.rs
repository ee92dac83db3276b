//! The request as the API wants it.

use proto::{
    agent::v1::{FunctionTool, GenerationOptions, ResponseFormat, ToolChoice, response_format, tool_choice::Mode},
    session::v1::{File, Image, Message, Part, Reasoning, Role, ToolCall, part::Kind},
};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::model::{Error, Request, input};

/// The body of a request, as JSON. Nothing is kept at the provider, so thoughts come back encrypted and are sent again.
pub(in crate::model) fn body(request: &Request) -> Result<Vec<u8>, Error> {
    let options = &request.options;
    if !options.stop.is_empty() {
        return Err(Error::InvalidRequest("`stop` is not known to the protocol `openai-responses`".to_owned()));
    }
    let has_tools = !request.tools.is_empty();
    let thinks = request.profile.reasoning || input::is_openai_thinker(&request.model);
    let body = Body {
        model: &request.model,
        instructions: input::instructions(&request.messages),
        input: request.messages.iter().flat_map(items).collect(),
        stream: true,
        store: false,
        // Others refuse to be asked for thoughts, and those that think refuse to be told how to choose their words.
        include: match (thinks, options.logprobs) {
            (true, _) => &["reasoning.encrypted_content"],
            (false, Some(true)) => &["message.output_text.logprobs"],
            (false, _) => &[],
        },
        top_logprobs: options.top_logprobs.filter(|_| !thinks),
        temperature: options.temperature.filter(|_| !thinks),
        top_p: options.top_p.filter(|_| !thinks),
        max_output_tokens: request.profile.cap(options.max_tokens),
        reasoning: reasoning(request),
        text: text(options),
        safety_identifier: &options.safety_identifier,
        prompt_cache_key: &options.prompt_cache_key,
        parallel_tool_calls: options.parallel_tool_calls.filter(|_| has_tools),
        tools: request.tools.iter().map(WireTool::from).collect(),
        tool_choice: request.tool_choice.as_ref().filter(|_| has_tools).and_then(tool_choice),
    };
    Ok(serde_json::to_vec(&body).expect("strings, numbers and checked JSON always serialise"))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    instructions: String,
    input: Vec<Value>,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    safety_identifier: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    prompt_cache_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: &'a RawValue,
    /// Always said, since the API's default is `true`, and few schemas are made for that.
    strict: bool,
}

impl<'a> From<&'a FunctionTool> for WireTool<'a> {
    fn from(tool: &'a FunctionTool) -> Self {
        Self {
            r#type: "function",
            name: &tool.name,
            description: &tool.description,
            parameters: input::parameters(&tool.parameters),
            strict: tool.strict.unwrap_or(false),
        }
    }
}

/// What one message is in the API's list, where thoughts, calls and results stand beside messages.
fn items(message: &Message) -> Vec<Value> {
    match message.role() {
        Role::System | Role::Developer => Vec::new(),
        Role::Tool => {
            let is_text = |part: &Part| matches!(part.kind, Some(Kind::Text(_)));
            let output: Value = if message.parts.iter().all(is_text) {
                input::plain(message).into()
            } else {
                message.parts.iter().filter_map(asked).collect()
            };
            vec![json!({"type": "function_call_output", "call_id": message.tool_call_id, "output": output})]
        }
        Role::Assistant => {
            let mut items = Vec::new();
            let mut content = Vec::new();
            for part in &message.parts {
                let Some(thought) = thought(part) else {
                    content.extend(said(part));
                    continue;
                };
                items.extend(answer(&mut content));
                items.push(thought);
            }
            items.extend(answer(&mut content));
            items.extend(message.tool_calls.iter().map(call));
            items
        }
        Role::User | Role::Unspecified => {
            let content: Vec<_> = message.parts.iter().filter_map(asked).collect();
            if content.is_empty() { Vec::new() } else { vec![json!({"role": "user", "content": content})] }
        }
    }
}

/// What the model said between two thoughts.
fn answer(content: &mut Vec<Value>) -> Option<Value> {
    let content = std::mem::take(content);
    (!content.is_empty()).then(|| json!({"role": "assistant", "content": content}))
}

fn thought(part: &Part) -> Option<Value> {
    let Some(Kind::Reasoning(Reasoning { text, signature, .. })) = &part.kind else { return None };
    let summary = if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) };
    Some(json!({"type": "reasoning", "summary": summary, "encrypted_content": signature}))
}

fn said(part: &Part) -> Option<Value> {
    match part.kind.as_ref()? {
        Kind::Text(text) if text.is_empty() => None,
        Kind::Text(text) => Some(json!({"type": "output_text", "text": text})),
        Kind::Refusal(text) => Some(json!({"type": "refusal", "refusal": text})),
        Kind::Image(_) | Kind::Audio(_) | Kind::File(_) | Kind::Reasoning(_) => None,
    }
}

fn asked(part: &Part) -> Option<Value> {
    Some(match part.kind.as_ref()? {
        Kind::Text(text) | Kind::Refusal(text) => json!({"type": "input_text", "text": text}),
        Kind::Image(Image { url, detail, path: _ }) => {
            let detail = if detail.is_empty() { "auto" } else { detail };
            json!({"type": "input_image", "image_url": url, "detail": detail})
        }
        Kind::Audio(audio) => {
            json!({"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}})
        }
        Kind::File(file) => document(file),
        Kind::Reasoning(_) => return None,
    })
}

fn document(file: &File) -> Value {
    let mut document = json!({"type": "input_file"});
    let fields = [("filename", &file.filename), ("file_data", &file.data), ("file_id", &file.file_id)];
    for (name, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        document[name] = text.as_str().into();
    }
    document
}

fn call(call: &ToolCall) -> Value {
    let arguments = input::arguments(&call.arguments);
    json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments.get()})
}

fn reasoning(request: &Request) -> Option<Value> {
    let effort = &request.options.reasoning_effort;
    let is_known = request.profile.compat.supports_reasoning_effort != Some(false);
    (is_known && !effort.is_empty()).then(|| json!({"effort": effort, "summary": "auto"}))
}

/// The answer's form, and how long-winded it is.
fn text(options: &GenerationOptions) -> Option<Value> {
    let mut text = serde_json::Map::new();
    text.extend(options.response_format.as_ref().and_then(format).map(|format| ("format".to_owned(), format)));
    if !options.verbosity.is_empty() {
        text.insert("verbosity".to_owned(), options.verbosity.as_str().into());
    }
    (!text.is_empty()).then_some(Value::Object(text))
}

fn format(format: &ResponseFormat) -> Option<Value> {
    match format.kind.as_ref()? {
        response_format::Kind::JsonObject(_) => Some(json!({"type": "json_object"})),
        response_format::Kind::JsonSchema(schema) => {
            let parsed: Value = serde_json::from_str(&schema.schema).unwrap_or_else(|_| json!({"type": "object"}));
            let strict = schema.strict.unwrap_or(false);
            let mut wire = json!({"type": "json_schema", "name": schema.name, "schema": parsed, "strict": strict});
            if !schema.description.is_empty() {
                wire["description"] = schema.description.as_str().into();
            }
            Some(wire)
        }
    }
}

fn tool_choice(choice: &ToolChoice) -> Option<Value> {
    match choice.mode() {
        Mode::Unspecified => None,
        Mode::Auto => Some("auto".into()),
        Mode::None => Some("none".into()),
        Mode::Required => Some("required".into()),
        Mode::Function => Some(json!({"type": "function", "name": choice.name})),
    }
}
