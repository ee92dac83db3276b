//! How the model is to answer: sampling and format.

use std::{collections::HashMap, ops::RangeInclusive};

use proto::agent::v1::{JsonObject, JsonSchema, ResponseFormat, response_format::Kind as Format};
use serde::Deserialize;
use serde_json::Value;

use super::{
    object::Object,
    tools::{INVALID_NAME, is_name},
};
use crate::error::ApiError;

/// The most texts that may end an answer.
const MAX_STOPS: usize = 4;
/// The most other tokens that can be told at each place of an answer.
const MAX_TOP_LOGPROBS: u32 = 20;
/// How much may be added to a token's logit, or taken from it.
const MAX_BIAS: f64 = 100.0;
/// How much a model may be asked to think.
pub(crate) const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/// How long-winded it may be asked to be.
pub(crate) const VERBOSITIES: &[&str] = &["low", "medium", "high"];

/// What ends the answer, as it is written.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
#[schemars(rename = "ChatStop")]
pub(super) enum WireStop {
    One(#[schemars(length(min = 1))] String),
    Several(#[schemars(length(max = 4), inner(length(min = 1)))] Vec<String>),
}

/// The form of the answer, as it is written.
#[derive(Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChatFormat")]
pub(super) struct WireFormat {
    #[schemars(extend("enum" = ["text", "json_object", "json_schema"]))]
    r#type: String,
    json_schema: Option<Object<WireSchema>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChatSchema")]
struct WireSchema {
    name: String,
    description: Option<String>,
    schema: Option<Value>,
    strict: Option<bool>,
}

/// Refuses a number outside its range.
pub(crate) fn within(field: &str, value: Option<f64>, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
    match value {
        Some(number) if !range.contains(&number) => {
            let reason = format!("must be from {} to {}", range.start(), range.end());
            Err(ApiError::invalid_value(field, &reason))
        }
        Some(_) | None => Ok(value),
    }
}

/// Refuses zero.
pub(crate) fn positive(field: &str, value: Option<u32>) -> Result<Option<u32>, ApiError> {
    if value == Some(0) { Err(ApiError::invalid_value(field, "must be at least 1")) } else { Ok(value) }
}

/// Refuses a word that is none of `known`; empty when none is given.
pub(crate) fn word(field: &str, value: Option<String>, known: &[&str]) -> Result<String, ApiError> {
    match value {
        Some(word) if !known.contains(&word.as_str()) => {
            Err(ApiError::invalid_value(field, &format!("`{word}` is none of {}", known.join(", "))))
        }
        Some(word) => Ok(word),
        None => Ok(String::new()),
    }
}

/// Refuses to tell of other tokens when nothing is told of the answer's own.
pub(super) fn top_logprobs(count: Option<u32>, logprobs: Option<bool>) -> Result<Option<u32>, ApiError> {
    match count {
        Some(_) if logprobs != Some(true) => {
            Err(ApiError::invalid_value("top_logprobs", "needs `logprobs` to be true"))
        }
        Some(count) if count > MAX_TOP_LOGPROBS => {
            Err(ApiError::invalid_value("top_logprobs", &format!("must be from 0 to {MAX_TOP_LOGPROBS}")))
        }
        Some(_) | None => Ok(count),
    }
}

/// Refuses what is no token's number, and a bias that is out of range.
pub(super) fn logit_bias(biases: HashMap<String, f64>) -> Result<HashMap<String, f64>, ApiError> {
    for (token, bias) in &biases {
        if token.parse::<u64>().is_err() {
            return Err(ApiError::invalid_value("logit_bias", &format!("`{token}` is no token id")));
        }
        if !(-MAX_BIAS..=MAX_BIAS).contains(bias) {
            let reason = format!("must be from -{MAX_BIAS} to {MAX_BIAS}");
            return Err(ApiError::invalid_value(format!("logit_bias.{token}"), &reason));
        }
    }
    Ok(biases)
}

impl WireStop {
    pub(super) fn check(self) -> Result<Vec<String>, ApiError> {
        let stops = match self {
            Self::One(stop) => vec![stop],
            Self::Several(stops) => stops,
        };
        if stops.len() > MAX_STOPS {
            return Err(ApiError::invalid_value("stop", "at most 4 texts may be given"));
        }
        if stops.iter().any(String::is_empty) {
            return Err(ApiError::invalid_value("stop", "a text is empty"));
        }
        Ok(stops)
    }
}

impl WireFormat {
    /// Plain text is no format at all.
    pub(super) fn check(self) -> Result<Option<ResponseFormat>, ApiError> {
        let kind = match self.r#type.as_str() {
            "text" => return Ok(None),
            "json_object" => Format::JsonObject(JsonObject {}),
            "json_schema" => {
                let Object(schema) = self
                    .json_schema
                    .ok_or_else(|| ApiError::invalid_value("response_format.json_schema", "is missing"))?;
                if !is_name(&schema.name) {
                    return Err(ApiError::invalid_value("response_format.json_schema.name", INVALID_NAME));
                }
                if schema.schema.as_ref().is_some_and(|schema| !schema.is_object()) {
                    return Err(ApiError::invalid_value("response_format.json_schema.schema", "must be an object"));
                }
                Format::JsonSchema(JsonSchema {
                    name: schema.name,
                    description: schema.description.unwrap_or_default(),
                    schema: schema.schema.map(|schema| schema.to_string()).unwrap_or_default(),
                    strict: schema.strict,
                })
            }
            other => {
                let reason = format!("`{other}` is none of text, json_object, json_schema");
                return Err(ApiError::invalid_value("response_format.type", &reason));
            }
        };
        Ok(Some(ResponseFormat { kind: Some(kind) }))
    }
}
