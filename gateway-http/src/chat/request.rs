//! The request's JSON, checked field by field.

use proto::agent::v1::{FunctionTool, GenerationOptions, ToolChoice};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::{
    generation::{WireFormat, WireStop, positive, within},
    messages::{Messages, WireMessage},
    object::Object,
    tools::{WireTool, WireToolChoice},
};
use crate::error::ApiError;

/// The model's name when the client gives none.
const DEFAULT_MODEL: &str = "clawdbot";

/// A request that can be run.
#[derive(Debug)]
pub(super) struct ChatRequest {
    /// As sent, for the echo.
    pub(super) model: String,
    pub(super) messages: Messages,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) user: Option<String>,
    pub(super) options: GenerationOptions,
    pub(super) tools: Vec<FunctionTool>,
    pub(super) tool_choice: Option<ToolChoice>,
}

/// The request as it is written. Fields that are not named here are accepted and have no effect.
#[derive(Deserialize, JsonSchema)]
#[schemars(
    rename = "ChatCompletionRequest",
    extend("examples" = [{"model": "clawdbot", "messages": [{"role": "user", "content": "hi"}]}])
)]
pub(crate) struct Wire {
    model: Option<String>,
    #[schemars(required, length(min = 1))]
    messages: Option<Vec<Object<WireMessage>>>,
    stream: Option<bool>,
    stream_options: Option<Object<StreamOptions>>,
    user: Option<String>,
    #[schemars(range(min = 1, max = 1))]
    n: Option<u64>,
    #[schemars(range(min = 0.0, max = 2.0))]
    temperature: Option<f64>,
    #[schemars(range(min = 0.0, max = 1.0))]
    top_p: Option<f64>,
    #[schemars(range(min = 1))]
    max_tokens: Option<u32>,
    #[schemars(range(min = 1))]
    max_completion_tokens: Option<u32>,
    stop: Option<WireStop>,
    seed: Option<i64>,
    #[schemars(range(min = -2.0, max = 2.0))]
    frequency_penalty: Option<f64>,
    #[schemars(range(min = -2.0, max = 2.0))]
    presence_penalty: Option<f64>,
    response_format: Option<Object<WireFormat>>,
    reasoning_effort: Option<String>,
    parallel_tool_calls: Option<bool>,
    tools: Option<Vec<Object<WireTool>>>,
    tool_choice: Option<WireToolChoice>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatStreamOptions")]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl ChatRequest {
    /// Fails with a 400 that names the field at fault.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut wire: Wire = read(body)?;
        if wire.n.is_some_and(|n| n != 1) {
            return Err(ApiError::invalid_value("n", "only 1 answer can be had"));
        }
        let options = wire.options()?;
        let messages = wire.messages.ok_or_else(|| ApiError::invalid_value("messages", "is missing"))?;
        let messages = messages.into_iter().map(|Object(message)| message);
        let tools: Vec<WireTool> = wire.tools.into_iter().flatten().map(|Object(tool)| tool).collect();
        Ok(Self {
            model: wire.model.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            messages: Messages::sort(messages)?,
            stream: wire.stream.unwrap_or(false),
            include_usage: wire.stream_options.and_then(|Object(options)| options.include_usage).unwrap_or(false),
            user: wire.user,
            options,
            tool_choice: wire.tool_choice.map(|choice| choice.check(&tools)).transpose()?.flatten(),
            tools: (0..).zip(tools).map(|(index, tool)| tool.check(index)).collect::<Result<_, _>>()?,
        })
    }
}

impl Wire {
    /// Takes out how the model is to answer.
    fn options(&mut self) -> Result<GenerationOptions, ApiError> {
        Ok(GenerationOptions {
            temperature: within("temperature", self.temperature, 0.0..=2.0)?,
            top_p: within("top_p", self.top_p, 0.0..=1.0)?,
            max_tokens: positive("max_completion_tokens", self.max_completion_tokens)?
                .or(positive("max_tokens", self.max_tokens)?),
            stop: self.stop.take().map(WireStop::check).transpose()?.unwrap_or_default(),
            seed: self.seed,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, -2.0..=2.0)?,
            response_format: self.response_format.take().map(|Object(format)| format.check()).transpose()?.flatten(),
            reasoning_effort: self.reasoning_effort.take().unwrap_or_default(),
            parallel_tool_calls: self.parallel_tool_calls,
            ..GenerationOptions::default()
        })
    }
}

/// Reads a body that is one object. Fails with a 400 that names the field at fault.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(read) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let param = error.path().to_string();
        let reason = error.inner().to_string();
        match error.inner().classify() {
            Category::Data if param == "." => ApiError::invalid_json(&reason),
            Category::Data => ApiError::invalid_value(param, &reason),
            Category::Syntax | Category::Eof | Category::Io => ApiError::invalid_json(&reason),
        }
    })?;
    json.end().map_err(|error| ApiError::invalid_json(&error.to_string()))?;
    Ok(read)
}

#[cfg(test)]
mod tests;
