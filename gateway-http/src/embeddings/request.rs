//! The request's JSON, checked field by field.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::json;

use super::{Limits, answer::Encoding};
use crate::{chat, error::ApiError};

/// A request that can be asked.
#[derive(Debug, PartialEq)]
pub(super) struct EmbeddingsRequest {
    /// As sent, for the echo.
    pub(super) model: String,
    pub(super) input: Vec<String>,
    pub(super) encoding: Encoding,
    pub(super) dimensions: Option<u32>,
}

/// The request as it is written. Fields that are not named here are accepted and have no effect.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EmbeddingRequest")]
pub(crate) struct Wire {
    #[schemars(required, length(max = 256), extend("pattern" = r"\S"))]
    model: Option<String>,
    #[schemars(required)]
    input: Option<WireInput>,
    #[schemars(extend("enum" = ["float", "base64", null]))]
    encoding_format: Option<String>,
    #[schemars(range(min = 1))]
    dimensions: Option<u32>,
    /// Nothing is kept of the request, so that it does not matter whose it is.
    #[serde(rename = "user")]
    _user: Option<String>,
}

enum WireInput {
    One(String),
    Several(Vec<Text>),
}

/// A text, and no token ids.
struct Text(String);

impl JsonSchema for WireInput {
    fn schema_name() -> Cow<'static, str> {
        "EmbeddingInput".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json!({"type": "string", "minLength": 1});
        json_schema!({"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]})
    }
}

impl EmbeddingsRequest {
    /// Fails with a 400 that names the field at fault.
    pub(super) fn parse(body: &[u8], limits: &Limits) -> Result<Self, ApiError> {
        let wire: Wire = chat::read(body)?;
        let model = chat::model_name(wire.model)?.filter(|model| !model.trim().is_empty());
        let model = model.ok_or_else(|| ApiError::invalid_value("model", "is missing"))?;
        let encoding = match wire.encoding_format.as_deref() {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(other) => {
                return Err(ApiError::invalid_value("encoding_format", &format!("`{other}` is none of float, base64")));
            }
        };
        if wire.dimensions == Some(0) {
            return Err(ApiError::invalid_value("dimensions", "must be at least 1"));
        }
        let input = wire.input.ok_or_else(|| ApiError::invalid_value("input", "is missing"))?;
        Ok(Self { model, input: input.check(limits)?, encoding, dimensions: wire.dimensions })
    }
}

impl WireInput {
    fn check(self, limits: &Limits) -> Result<Vec<String>, ApiError> {
        let texts = match self {
            Self::One(text) => {
                check_text("input", &text, limits)?;
                vec![text]
            }
            Self::Several(texts) => texts.into_iter().map(|Text(text)| text).collect(),
        };
        let refused = |reason: String| Err(ApiError::invalid_value("input", &reason));
        if texts.is_empty() {
            return refused("there is no text".to_owned());
        }
        if texts.len() > limits.inputs {
            return refused(format!("at most {} texts are taken at a time", limits.inputs));
        }
        for (index, text) in texts.iter().enumerate() {
            check_text(&format!("input[{index}]"), text, limits)?;
        }
        if texts.iter().map(|text| text.chars().count()).sum::<usize>() > limits.total_chars {
            return refused(format!("the texts have more than {} characters together", limits.total_chars));
        }
        Ok(texts)
    }
}

fn check_text(place: &str, text: &str, limits: &Limits) -> Result<(), ApiError> {
    if text.is_empty() {
        return Err(ApiError::invalid_value(place, "is empty"));
    }
    if text.chars().count() > limits.input_chars {
        return Err(ApiError::invalid_value(place, &format!("has more than {} characters", limits.input_chars)));
    }
    Ok(())
}

/// By hand, since an untagged enum would not say which text is at fault.
impl<'de> Deserialize<'de> for WireInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = WireInput;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<WireInput, E> {
                Ok(WireInput::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<WireInput, A::Error> {
                let mut list = Vec::new();
                while let Some(text) = texts.next_element()? {
                    list.push(text);
                }
                Ok(WireInput::Several(list))
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        fn token_ids<E: de::Error>() -> E {
            E::custom("token ids are not taken, only texts")
        }

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Text, E> {
                Err(token_ids())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Text, A::Error> {
                Err(token_ids())
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LIMITS: Limits = Limits { inputs: 3, input_chars: 4, total_chars: 6 };

    #[test]
    fn what_is_asked_for_is_read() {
        let check = |body: Value, input: &[&str], encoding: Encoding, dimensions: Option<u32>| {
            let expected = EmbeddingsRequest {
                model: "clawdbot".to_owned(),
                input: input.iter().map(|&text| text.to_owned()).collect(),
                encoding,
                dimensions,
            };
            assert_eq!(EmbeddingsRequest::parse(body.to_string().as_bytes(), &LIMITS), Ok(expected), "{body}");
        };
        check(json!({"model": "clawdbot", "input": "a"}), &["a"], Encoding::Float, None);
        let whole = json!({
            "model": "clawdbot", "input": ["äöüß", "b"], "encoding_format": "base64", "dimensions": 3, "user": "alice",
            "made_up": {},
        });
        check(whole, &["äöüß", "b"], Encoding::Base64, Some(3));
        let none = json!({
            "model": "clawdbot", "input": ["a"], "encoding_format": null, "dimensions": null, "user": null,
        });
        check(none, &["a"], Encoding::Float, None);
    }

    #[test]
    fn what_cannot_be_asked_for_is_named() {
        let check = |fields: Value, param: &str, reason: &str| {
            let mut body = json!({"model": "m", "input": "a"});
            body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
            let refused = EmbeddingsRequest::parse(body.to_string().as_bytes(), &LIMITS);
            assert_eq!(refused, Err(ApiError::invalid_value(param, reason)), "{body}");
        };
        check(json!({"model": null}), "model", "is missing");
        check(json!({"model": " "}), "model", "is missing");
        check(json!({"input": null}), "input", "is missing");
        check(json!({"input": []}), "input", "there is no text");
        check(json!({"input": ""}), "input", "is empty");
        check(json!({"input": ["a", ""]}), "input[1]", "is empty");
        check(json!({"input": ["a", "b", "c", "d"]}), "input", "at most 3 texts are taken at a time");
        check(json!({"input": "äöüßa"}), "input", "has more than 4 characters");
        check(json!({"input": ["a", "äöüßa"]}), "input[1]", "has more than 4 characters");
        check(json!({"input": ["aaaa", "bbb"]}), "input", "the texts have more than 6 characters together");
        check(json!({"encoding_format": "hex"}), "encoding_format", "`hex` is none of float, base64");
        check(json!({"dimensions": 0}), "dimensions", "must be at least 1");
        let error = |body: &str| {
            let refused = EmbeddingsRequest::parse(body.as_bytes(), &LIMITS).expect_err(body).to_json();
            serde_json::from_str::<Value>(&refused).expect("is JSON")["error"].clone()
        };
        for (body, param) in [(r#"{"model":"m","input":[1,2]}"#, "input[0]"), (r#"{"input":[[1],[2]]}"#, "input[0]")] {
            let error = error(body);
            assert_eq!(error["param"], param, "{body}");
            assert!(error["message"].as_str().is_some_and(|message| message.contains("token ids are not taken")));
        }
        for (body, param) in [
            (r#"{"model":7}"#, "model"),
            (r#"{"input":7}"#, "input"),
            (r#"{"input":[null]}"#, "input[0]"),
            (r#"{"dimensions":-1}"#, "dimensions"),
            (r#"{"dimensions":"3"}"#, "dimensions"),
            (r#"{"user":7}"#, "user"),
        ] {
            assert_eq!(error(body)["param"], param, "{body}");
        }
        assert_eq!(error("[]")["code"], "invalid_json");
    }
}
