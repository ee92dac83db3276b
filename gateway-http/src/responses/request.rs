//! The request's JSON, checked field by field.

use proto::{
    agent::v1::{
        FunctionTool, GenerationOptions, JsonObject, JsonSchema as Schema, ResponseFormat, ToolChoice,
        response_format::Kind as Format, tool_choice::Mode,
    },
    session::v1::{Message, Part, Role, part::Kind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, json, value::RawValue};

use super::items::{TextOr, WireItem};
use crate::{
    chat::{
        self,
        generation::{EFFORTS, VERBOSITIES, positive, within, word},
        messages::Messages,
        metadata::{Metadata, WireMetadata},
        object::Object,
        safety_identifier,
        tools::{INVALID_NAME, MAX_TOOLS, is_name, is_object},
    },
    error::ApiError,
};

/// The model's name when the client gives none.
const DEFAULT_MODEL: &str = "clawdbot";

/// A request that can be run.
pub(super) struct ResponseRequest {
    pub(super) model: String,
    pub(super) messages: Messages,
    pub(super) stream: bool,
    pub(super) store: bool,
    pub(super) background: bool,
    pub(super) previous_response_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) options: GenerationOptions,
    pub(super) tools: Vec<FunctionTool>,
    pub(super) tool_choice: Option<ToolChoice>,
    /// What the answer says of the request.
    pub(super) echo: Map<String, Value>,
}

/// The request as it is written. Fields that are not named here are accepted and have no effect.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseRequest", extend("examples" = [{"model": "clawdbot", "input": "hi"}]))]
pub(crate) struct Wire {
    #[schemars(length(max = 256))]
    model: Option<String>,
    #[schemars(required)]
    input: Option<TextOr<WireItem>>,
    instructions: Option<String>,
    stream: Option<bool>,
    store: Option<bool>,
    background: Option<bool>,
    previous_response_id: Option<String>,
    user: Option<String>,
    metadata: Option<WireMetadata>,
    #[schemars(range(min = 0.0, max = 2.0))]
    temperature: Option<f64>,
    #[schemars(range(min = 0.0, max = 1.0))]
    top_p: Option<f64>,
    #[schemars(range(min = 1))]
    max_output_tokens: Option<u32>,
    reasoning: Option<Object<WireReasoning>>,
    text: Option<Object<WireText>>,
    parallel_tool_calls: Option<bool>,
    tools: Option<Vec<Object<WireTool>>>,
    tool_choice: Option<WireToolChoice>,
    #[schemars(extend("enum" = ["auto", "disabled", null]))]
    truncation: Option<String>,
    safety_identifier: Option<String>,
    prompt_cache_key: Option<String>,
    #[schemars(with = "Option<()>")]
    conversation: Option<IgnoredAny>,
    #[schemars(with = "Option<()>")]
    prompt: Option<IgnoredAny>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseReasoning")]
struct WireReasoning {
    effort: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseText")]
struct WireText {
    format: Option<Object<WireFormat>>,
    verbosity: Option<String>,
}

/// The form of the answer; what a schema needs stands beside its type.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "ResponseFormat")]
struct WireFormat {
    #[schemars(extend("enum" = ["text", "json_object", "json_schema"]))]
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// A tool as it is written: flat, other than in Chat Completions.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseTool")]
struct WireTool {
    #[schemars(extend("const" = "function"))]
    r#type: String,
    #[schemars(required)]
    name: Option<String>,
    description: Option<String>,
    #[schemars(with = "Option<Map<String, Value>>")]
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected `none`, `auto`, `required`, or a function of `tools`")]
#[schemars(rename = "ResponseToolChoice")]
enum WireToolChoice {
    Mode(#[schemars(extend("enum" = ["none", "auto", "required"]))] String),
    Function(Object<WireChoice>),
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ResponseChosenTool")]
struct WireChoice {
    r#type: String,
    name: Option<String>,
}

impl ResponseRequest {
    /// Fails with a 400 that names the field at fault.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut wire: Wire = chat::read(body)?;
        let invalid = |field: &str, reason: &str| Err(ApiError::invalid_value(field, reason));
        if wire.conversation.is_some() {
            return invalid("conversation", "is not supported; send `previous_response_id`, or `user`");
        }
        if wire.prompt.is_some() {
            return invalid("prompt", "there are no stored prompts; send `instructions` and `input`");
        }
        let (store, background) = (wire.store.unwrap_or(true), wire.background.unwrap_or(false));
        if background && !store {
            return invalid("background", "needs `store`");
        }
        word("truncation", wire.truncation.clone(), &["auto", "disabled"])?;
        let input = wire.input.take().ok_or_else(|| ApiError::invalid_value("input", "is missing"))?;
        let mut messages = input.into_messages()?;
        if let Some(instructions) = wire.instructions.as_ref().filter(|text| !text.trim().is_empty()) {
            let part = Part { kind: Some(Kind::Text(instructions.clone())) };
            messages.insert(0, Message { role: Role::System.into(), parts: vec![part], ..Message::default() });
        }
        let mut messages = Messages::of(messages, "input")?;
        if wire.previous_response_id.is_some() {
            // What the other response has said, it knows: all of this is new.
            messages.history.append(&mut messages.input);
            messages.input = std::mem::take(&mut messages.history);
        }
        let options = wire.options()?;
        let tools = tools(&mut wire.tools)?;
        let tool_choice = wire.tool_choice.take().map(|choice| choice.check(&tools)).transpose()?;
        let echo = wire.echo(&options, &tools, tool_choice.as_ref(), (store, background));
        Ok(Self {
            model: chat::model_name(wire.model)?.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            messages,
            stream: wire.stream.unwrap_or(false),
            store,
            background,
            previous_response_id: wire.previous_response_id,
            user: wire.user,
            metadata: wire.metadata.map(Metadata::check).transpose()?.unwrap_or_default(),
            options,
            tool_choice: tool_choice.filter(|_| !tools.is_empty()),
            tools,
            echo,
        })
    }
}

impl Wire {
    fn options(&mut self) -> Result<GenerationOptions, ApiError> {
        let (format, verbosity) = match &mut self.text {
            Some(Object(text)) => (text.format.as_ref(), text.verbosity.take()),
            None => (None, None),
        };
        let effort = self.reasoning.as_ref().and_then(|Object(reasoning)| reasoning.effort.clone());
        Ok(GenerationOptions {
            temperature: within("temperature", self.temperature, 0.0..=2.0)?,
            top_p: within("top_p", self.top_p, 0.0..=1.0)?,
            max_tokens: positive("max_output_tokens", self.max_output_tokens)?,
            response_format: format.map(|Object(format)| format.check()).transpose()?.flatten(),
            reasoning_effort: word("reasoning.effort", effort, EFFORTS)?,
            verbosity: word("text.verbosity", verbosity, VERBOSITIES)?,
            parallel_tool_calls: self.parallel_tool_calls,
            safety_identifier: safety_identifier(self.safety_identifier.clone())?,
            prompt_cache_key: self.prompt_cache_key.clone().unwrap_or_default(),
            ..GenerationOptions::default()
        })
    }

    /// The fields of the answer that come from the request, in the API's shape.
    fn echo(
        &self,
        options: &GenerationOptions,
        tools: &[FunctionTool],
        tool_choice: Option<&ToolChoice>,
        (store, background): (bool, bool),
    ) -> Map<String, Value> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let format = self.text.as_ref().and_then(|Object(text)| text.format.as_ref());
        let format = format.map_or_else(|| json!({"type": "text"}), |Object(format)| json!(format));
        let tools: Vec<Value> = tools.iter().map(echoed_tool).collect();
        let choice = match tool_choice.map(|choice| (choice.mode(), &choice.name)) {
            Some((Mode::None, _)) => json!("none"),
            Some((Mode::Required, _)) => json!("required"),
            Some((Mode::Function, name)) => json!({"type": "function", "name": name}),
            Some((Mode::Auto | Mode::Unspecified, _)) | None => json!("auto"),
        };
        let metadata = self.metadata.as_ref().map_or_else(|| json!({}), |Object(metadata)| json!(metadata));
        let Value::Object(echo) = json!({
            "model": self.model.as_deref().unwrap_or(DEFAULT_MODEL),
            "background": background,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": null,
            "metadata": metadata,
            "parallel_tool_calls": self.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": self.previous_response_id,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": given(&options.reasoning_effort), "summary": null},
            "safety_identifier": self.safety_identifier,
            "service_tier": "default",
            "store": store,
            "temperature": self.temperature.unwrap_or(1.0),
            "text": {"format": format, "verbosity": given(&options.verbosity).unwrap_or_else(|| "medium".to_owned())},
            "tool_choice": choice,
            "tools": tools,
            "top_logprobs": 0,
            "top_p": self.top_p.unwrap_or(1.0),
            "truncation": self.truncation.as_deref().unwrap_or("disabled"),
            "user": self.user,
        }) else {
            return Map::new();
        };
        echo
    }
}

fn echoed_tool(tool: &FunctionTool) -> Value {
    let parameters: Value = serde_json::from_str(&tool.parameters).unwrap_or_default();
    let description = (!tool.description.is_empty()).then_some(&tool.description);
    let strict = tool.strict.unwrap_or(true);
    json!({"type": "function", "name": tool.name, "description": description, "parameters": parameters, "strict": strict})
}

fn tools(tools: &mut Option<Vec<Object<WireTool>>>) -> Result<Vec<FunctionTool>, ApiError> {
    let mut checked: Vec<FunctionTool> = Vec::new();
    for (index, Object(tool)) in tools.take().into_iter().flatten().enumerate() {
        let invalid =
            |field: &str, reason: &str| Err(ApiError::invalid_value(format!("tools[{index}].{field}"), reason));
        if index == MAX_TOOLS {
            return Err(ApiError::invalid_value("tools", &format!("at most {MAX_TOOLS} tools may be offered")));
        }
        if tool.r#type != "function" {
            return invalid("type", "only function tools are supported");
        }
        let name = tool.name.unwrap_or_default();
        if !is_name(&name) {
            return invalid("name", INVALID_NAME);
        }
        if checked.iter().any(|other| other.name == name) {
            return invalid("name", &format!("another tool is called `{name}` too"));
        }
        if tool.parameters.as_ref().is_some_and(|parameters| !is_object(parameters)) {
            return invalid("parameters", "must be an object");
        }
        checked.push(FunctionTool {
            name,
            description: tool.description.unwrap_or_default(),
            parameters: tool.parameters.map(|parameters| parameters.get().to_owned()).unwrap_or_default(),
            strict: tool.strict,
        });
    }
    Ok(checked)
}

impl WireToolChoice {
    fn check(self, tools: &[FunctionTool]) -> Result<ToolChoice, ApiError> {
        let invalid = |reason: &str| Err(ApiError::invalid_value("tool_choice", reason));
        let of = |mode: Mode| Ok(ToolChoice { mode: mode.into(), name: String::new() });
        match self {
            Self::Mode(mode) => match mode.as_str() {
                "none" => of(Mode::None),
                "auto" => of(Mode::Auto),
                "required" if tools.is_empty() => invalid("`required`, but there are no tools"),
                "required" => of(Mode::Required),
                _ => invalid(&format!("`{mode}` is none of none, auto, required")),
            },
            Self::Function(Object(choice)) if choice.r#type != "function" => {
                invalid("only a function of `tools` can be chosen")
            }
            Self::Function(Object(choice)) => match choice.name {
                Some(name) if tools.iter().any(|tool| tool.name == name) => {
                    Ok(ToolChoice { mode: Mode::Function.into(), name })
                }
                Some(name) => invalid(&format!("there is no tool `{name}`")),
                None => Err(ApiError::invalid_value("tool_choice.name", "is missing")),
            },
        }
    }
}

impl WireFormat {
    /// Plain text is no format at all.
    fn check(&self) -> Result<Option<ResponseFormat>, ApiError> {
        let kind = match self.r#type.as_str() {
            "text" => return Ok(None),
            "json_object" => Format::JsonObject(JsonObject {}),
            "json_schema" => {
                let name = self.name.clone().unwrap_or_default();
                if !is_name(&name) {
                    return Err(ApiError::invalid_value("text.format.name", INVALID_NAME));
                }
                if self.schema.as_ref().is_none_or(|schema| !schema.is_object()) {
                    return Err(ApiError::invalid_value("text.format.schema", "must be an object"));
                }
                Format::JsonSchema(Schema {
                    name,
                    description: self.description.clone().unwrap_or_default(),
                    schema: self.schema.as_ref().map(Value::to_string).unwrap_or_default(),
                    strict: self.strict,
                })
            }
            other => {
                let reason = format!("`{other}` is none of text, json_object, json_schema");
                return Err(ApiError::invalid_value("text.format.type", &reason));
            }
        };
        Ok(Some(ResponseFormat { kind: Some(kind) }))
    }
}
