//! The request as the API wants it.

use std::collections::HashMap;

use proto::{
    agent::v1::{FunctionTool, ToolChoice, response_format, tool_choice::Mode},
    session::v1::{Message, Part, Reasoning, Role, ToolCall, part::Kind},
};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::model::{
    Error, Request,
    input::{self, Speaker, Turn, data_url, file_data},
};

/// What ids begin with that this gateway made up, which the provider does not know.
pub(super) const MADE_UP: &str = "call_made_up_";
/// Stands for the signature of a call that another model made; newer models refuse a call without one.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The body of a request, as JSON.
pub(in crate::model) fn body(request: &Request) -> Result<Vec<u8>, Error> {
    let calls = request.messages.iter().flat_map(|message| &message.tool_calls);
    let conversation = Conversation {
        tool_names: calls.map(|call| (call.id.as_str(), call.name.as_str())).collect(),
        wants_signatures: request.model.contains("gemini-3"),
    };
    let turns = input::turns(&request.messages);
    let mut contents = turns.iter().map(|turn| conversation.content(turn)).collect::<Result<Vec<_>, Error>>()?;
    contents.retain(|content| !content.parts.is_empty());
    let instructions = input::instructions(&request.messages);
    let body = Body {
        contents,
        system_instruction: (!instructions.is_empty()).then(|| json!({"parts": [{"text": instructions}]})),
        tools: (!request.tools.is_empty())
            .then(|| [WireTools { function_declarations: request.tools.iter().map(Declaration::from).collect() }]),
        tool_config: request.tool_choice.as_ref().filter(|_| !request.tools.is_empty()).and_then(tool_config),
        generation_config: generation_config(request),
    };
    Ok(serde_json::to_vec(&body).expect("strings, numbers and checked JSON always serialise"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[WireTools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    generation_config: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireTools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<WirePart<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WirePart<'a> {
    Plain(Value),
    #[serde(rename_all = "camelCase")]
    Call {
        function_call: FunctionCall<'a>,
        #[serde(skip_serializing_if = "str::is_empty")]
        thought_signature: &'a str,
    },
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    args: Box<RawValue>,
}

/// What is said of one message depends on the others.
struct Conversation<'a> {
    /// The tool of each call, since the API wants results by name.
    tool_names: HashMap<&'a str, &'a str>,
    wants_signatures: bool,
}

impl<'a> Conversation<'a> {
    fn content(&self, turn: &Turn<'a>) -> Result<Content<'a>, Error> {
        let role = match turn.speaker {
            Speaker::User => "user",
            Speaker::Model => "model",
        };
        let mut parts = Vec::new();
        for message in &turn.messages {
            if message.role() == Role::Tool {
                parts.push(WirePart::Plain(self.function_response(message)));
                // Pictures stand beside the result that they belong to.
                for part in message.parts.iter().filter(|part| !matches!(part.kind, Some(Kind::Text(_)))) {
                    parts.extend(plain_part(part)?.map(WirePart::Plain));
                }
                continue;
            }
            for part in &message.parts {
                parts.extend(plain_part(part)?.map(WirePart::Plain));
            }
            parts.extend(message.tool_calls.iter().enumerate().map(|(index, call)| self.call(call, index == 0)));
        }
        Ok(Content { role, parts })
    }

    /// Of calls at the same time only the first is signed.
    fn call(&self, call: &'a ToolCall, is_first: bool) -> WirePart<'a> {
        let thought_signature = match call.signature.as_str() {
            "" if is_first && self.wants_signatures => NO_SIGNATURE,
            signature => signature,
        };
        let (id, args) = (known_id(&call.id), input::arguments(&call.arguments));
        WirePart::Call { function_call: FunctionCall { id, name: &call.name, args }, thought_signature }
    }

    fn function_response(&self, message: &Message) -> Value {
        let name = self.tool_names.get(message.tool_call_id.as_str()).copied().unwrap_or("unknown");
        let mut response = json!({"name": name, "response": {"result": input::plain(message)}});
        if let Some(id) = known_id(&message.tool_call_id) {
            response["id"] = id.into();
        }
        json!({"functionResponse": response})
    }
}

fn known_id(id: &str) -> Option<&str> {
    if id.is_empty() || id.starts_with(MADE_UP) { None } else { Some(id) }
}

/// `None` for what the API refuses, which is empty texts.
fn plain_part(part: &Part) -> Result<Option<Value>, Error> {
    Ok(Some(match &part.kind {
        Some(Kind::Text(text) | Kind::Refusal(text)) if text.is_empty() => return Ok(None),
        Some(Kind::Text(text) | Kind::Refusal(text)) => json!({"text": text}),
        Some(Kind::Reasoning(Reasoning { text, signature, .. })) => {
            let mut thought = json!({"text": text, "thoughtSignature": signature});
            if !text.is_empty() {
                thought["thought"] = true.into();
            }
            thought
        }
        None => return Ok(None),
        Some(Kind::Image(image)) => match data_url(&image.url)? {
            Some((mime_type, data)) => inline(mime_type, data),
            None => json!({"fileData": {"fileUri": image.url}}),
        },
        Some(Kind::Audio(audio)) => inline(&format!("audio/{}", audio.format), &audio.data),
        Some(Kind::File(file)) => {
            let (mime_type, data) = file_data(file)?;
            inline(mime_type, data)
        }
    }))
}

fn inline(mime_type: &str, data: &str) -> Value {
    json!({"inlineData": {"mimeType": mime_type, "data": data}})
}

fn generation_config(request: &Request) -> Value {
    let options = &request.options;
    let mut config = serde_json::Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set("temperature", options.temperature.map(Value::from));
    set("topP", options.top_p.map(Value::from));
    set("maxOutputTokens", request.profile.cap(options.max_tokens).map(Value::from));
    set("stopSequences", (!options.stop.is_empty()).then(|| options.stop.clone().into()));
    set("seed", options.seed.map(Value::from));
    set("frequencyPenalty", options.frequency_penalty.map(Value::from));
    set("presencePenalty", options.presence_penalty.map(Value::from));
    if let Some(kind) = options.response_format.as_ref().and_then(|format| format.kind.as_ref()) {
        set("responseMimeType", Some("application/json".into()));
        if let response_format::Kind::JsonSchema(schema) = kind {
            set("responseJsonSchema", serde_json::from_str(&schema.schema).ok());
        }
    }
    set("thinkingConfig", thinking(request));
    config.into()
}

fn thinking(request: &Request) -> Option<Value> {
    if !request.profile.reasoning {
        return None;
    }
    match request.options.reasoning_effort.as_str() {
        "" | "none" => None,
        effort => Some(json!({"includeThoughts": true, "thinkingBudget": input::thinking_budget(effort)})),
    }
}

fn tool_config(choice: &ToolChoice) -> Option<Value> {
    let config = match choice.mode() {
        Mode::Unspecified => return None,
        Mode::Auto => json!({"mode": "AUTO"}),
        Mode::None => json!({"mode": "NONE"}),
        Mode::Required => json!({"mode": "ANY"}),
        Mode::Function => json!({"mode": "ANY", "allowedFunctionNames": [choice.name]}),
    };
    Some(json!({"functionCallingConfig": config}))
}

impl<'a> From<&'a FunctionTool> for Declaration<'a> {
    fn from(tool: &'a FunctionTool) -> Self {
        let parameters_json_schema = input::raw(&tool.parameters);
        Self { name: &tool.name, description: &tool.description, parameters_json_schema }
    }
}
