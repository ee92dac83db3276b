//! How the model is to answer: sampling and format.

use std::ops::RangeInclusive;

use proto::agent::v1::{JsonObject, JsonSchema, ResponseFormat, response_format::Kind as Format};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;

/// The most texts that may end an answer.
const MAX_STOPS: usize = 4;

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
    json_schema: Option<WireSchema>,
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
pub(super) fn within(field: &str, value: Option<f64>, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
    match value {
        Some(number) if !range.contains(&number) => {
            let reason = format!("must be from {} to {}", range.start(), range.end());
            Err(ApiError::invalid_value(field, &reason))
        }
        Some(_) | None => Ok(value),
    }
}

/// Refuses zero.
pub(super) fn positive(field: &str, value: Option<u32>) -> Result<Option<u32>, ApiError> {
    if value == Some(0) { Err(ApiError::invalid_value(field, "must be at least 1")) } else { Ok(value) }
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
                let schema = self
                    .json_schema
                    .ok_or_else(|| ApiError::invalid_value("response_format.json_schema", "is missing"))?;
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
