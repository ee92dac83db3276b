//! The request's JSON, checked field by field.

use std::collections::HashMap;

use proto::agent::v1::{FunctionTool, GenerationOptions, ToolChoice};
use schemars::JsonSchema;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::error::Category;

use super::{
    generation::{EFFORTS, VERBOSITIES, WireFormat, WireStop, logit_bias, positive, top_logprobs, within, word},
    messages::{Messages, WireMessage},
    metadata::{Metadata, WireMetadata},
    object::{Few, Object},
    tools::{self, WireTool, WireToolChoice},
};
use crate::error::ApiError;

/// The model's name when the client gives none.
const DEFAULT_MODEL: &str = "clawdbot";
/// The most characters of a model's name, which is in every chunk of a stream.
const MAX_MODEL_CHARS: usize = 256;
/// The most messages of a request.
const MAX_MESSAGES: usize = 10_000;
/// The most characters of a name for the provider's safety checks.
const MAX_SAFETY_IDENTIFIER_CHARS: usize = 64;

/// A request that can be run.
#[derive(Debug)]
pub(super) struct ChatRequest {
    /// As sent, for the echo.
    pub(super) model: String,
    pub(super) messages: Messages,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) user: Option<String>,
    pub(super) metadata: Metadata,
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
    #[schemars(length(max = 256))]
    model: Option<String>,
    #[schemars(required, length(min = 1, max = 10_000))]
    messages: Option<Few<Object<WireMessage>, MAX_MESSAGES>>,
    stream: Option<bool>,
    stream_options: Option<Object<StreamOptions>>,
    user: Option<String>,
    safety_identifier: Option<String>,
    prompt_cache_key: Option<String>,
    metadata: Option<WireMetadata>,
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
    #[schemars(extend("enum" = ["none", "minimal", "low", "medium", "high", "xhigh", "max", null]))]
    reasoning_effort: Option<String>,
    #[schemars(extend("enum" = ["low", "medium", "high", null]))]
    verbosity: Option<String>,
    logprobs: Option<bool>,
    #[schemars(range(max = 20))]
    top_logprobs: Option<u32>,
    logit_bias: Option<Object<HashMap<String, f64>>>,
    parallel_tool_calls: Option<bool>,
    tools: Option<Vec<Object<WireTool>>>,
    tool_choice: Option<WireToolChoice>,
    modalities: Option<Vec<String>>,
    #[schemars(with = "Option<()>")]
    audio: Option<IgnoredAny>,
    #[schemars(with = "Option<()>")]
    functions: Option<IgnoredAny>,
    #[schemars(with = "Option<()>")]
    function_call: Option<IgnoredAny>,
    #[schemars(with = "Option<()>")]
    moderation: Option<IgnoredAny>,
    #[schemars(with = "Option<()>")]
    web_search_options: Option<IgnoredAny>,
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
        wire.refuse_what_cannot_be_had()?;
        let options = wire.options()?;
        let Few(messages) = wire.messages.ok_or_else(|| ApiError::invalid_value("messages", "is missing"))?;
        let messages = messages.into_iter().map(|Object(message)| message);
        let tools = wire.tools.into_iter().flatten().map(|Object(tool)| tool);
        let (tools, tool_choice) = tools::check(tools, wire.tool_choice)?;
        Ok(Self {
            model: model_name(wire.model)?.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            messages: Messages::sort(messages)?,
            stream: wire.stream.unwrap_or(false),
            include_usage: wire.stream_options.and_then(|Object(options)| options.include_usage).unwrap_or(false),
            user: wire.user,
            metadata: wire.metadata.map(Metadata::check).transpose()?.unwrap_or_default(),
            options,
            tools,
            tool_choice,
        })
    }
}

impl Wire {
    /// An answer without what these fields ask for would pass for one with it.
    fn refuse_what_cannot_be_had(&self) -> Result<(), ApiError> {
        let invalid = |field: &str, reason: &str| Err(ApiError::invalid_value(field, reason));
        if self.n.is_some_and(|n| n != 1) {
            return invalid("n", "only 1 answer can be had");
        }
        if let Some(other) = self.modalities.iter().flatten().find(|modality| *modality != "text") {
            return invalid("modalities", &format!("`{other}` is not to be had, only text"));
        }
        let refused = [
            ("audio", &self.audio, "answers are text only"),
            ("functions", &self.functions, "is not supported any more; use `tools`"),
            ("function_call", &self.function_call, "is not supported any more; use `tool_choice`"),
            ("moderation", &self.moderation, "nothing is moderated here"),
            ("web_search_options", &self.web_search_options, "the agent's own tools say what it can look up"),
        ];
        match refused.into_iter().find(|(_, value, _)| value.is_some()) {
            Some((field, _, reason)) => invalid(field, reason),
            None => Ok(()),
        }
    }

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
            reasoning_effort: word("reasoning_effort", self.reasoning_effort.take(), EFFORTS)?,
            parallel_tool_calls: self.parallel_tool_calls,
            logprobs: self.logprobs,
            top_logprobs: top_logprobs(self.top_logprobs, self.logprobs)?,
            logit_bias: self
                .logit_bias
                .take()
                .map_or_else(|| Ok(HashMap::new()), |Object(biases)| logit_bias(biases))?,
            verbosity: word("verbosity", self.verbosity.take(), VERBOSITIES)?,
            safety_identifier: safety_identifier(self.safety_identifier.take())?,
            prompt_cache_key: self.prompt_cache_key.take().unwrap_or_default(),
        })
    }
}

/// The name of a model, which answers repeat.
pub(crate) fn model_name(model: Option<String>) -> Result<Option<String>, ApiError> {
    match model {
        Some(model) if model.chars().count() > MAX_MODEL_CHARS => {
            Err(ApiError::invalid_value("model", &format!("longer than {MAX_MODEL_CHARS} characters")))
        }
        Some(_) | None => Ok(model),
    }
}

/// The identifier of an end user, which providers take up to a length.
pub(crate) fn safety_identifier(identifier: Option<String>) -> Result<String, ApiError> {
    let identifier = identifier.unwrap_or_default();
    if identifier.chars().count() > MAX_SAFETY_IDENTIFIER_CHARS {
        let reason = format!("longer than {MAX_SAFETY_IDENTIFIER_CHARS} characters");
        return Err(ApiError::invalid_value("safety_identifier", &reason));
    }
    Ok(identifier)
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
