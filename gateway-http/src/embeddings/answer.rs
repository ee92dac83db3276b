//! Vectors in the API's shape.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proto::agent::v1::{EmbedResponse, Embedding};
use schemars::JsonSchema;
use serde::Serialize;

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As JSON numbers.
    #[default]
    Float,
    /// As the base64 of 32-bit numbers, the lowest byte first.
    Base64,
}

/// The whole answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EmbeddingList")]
pub(crate) struct Answer {
    object: &'static str,
    data: Vec<Vector>,
    model: String,
    usage: Usage,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Embedding")]
struct Vector {
    object: &'static str,
    index: usize,
    embedding: Values,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Values {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EmbeddingUsage")]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl Answer {
    /// `model` is the name that the client gave.
    pub(super) fn new(embedded: EmbedResponse, model: String, encoding: Encoding) -> Self {
        let prompt_tokens = embedded.usage.unwrap_or_default().prompt_tokens;
        let vector = |(index, Embedding { values }): (usize, Embedding)| {
            let embedding = match encoding {
                Encoding::Float => Values::Float(values),
                Encoding::Base64 => {
                    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
                    Values::Base64(STANDARD.encode(bytes))
                }
            };
            Vector { object: "embedding", index, embedding }
        };
        Self {
            object: "list",
            data: embedded.embeddings.into_iter().enumerate().map(vector).collect(),
            model,
            usage: Usage { prompt_tokens, total_tokens: prompt_tokens },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vectors_are_numbers_or_their_bytes() {
        let check = |encoding: Encoding, first: serde_json::Value, second: serde_json::Value| {
            let embeddings = vec![Embedding { values: vec![0.1, -2.5] }, Embedding { values: vec![1.0, 0.0] }];
            let usage = Some(proto::session::v1::Usage { prompt_tokens: 5, ..Default::default() });
            let embedded = EmbedResponse { embeddings, usage, model: "openai/m".to_owned() };
            let answer = serde_json::to_value(Answer::new(embedded, "clawdbot".to_owned(), encoding));
            let expected = json!({
                "object": "list",
                "data": [
                    {"object": "embedding", "index": 0, "embedding": first},
                    {"object": "embedding", "index": 1, "embedding": second},
                ],
                "model": "clawdbot",
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            });
            assert_eq!(answer.expect("is JSON"), expected);
        };
        check(Encoding::Float, json!([0.1_f32, -2.5]), json!([1.0, 0.0]));
        check(Encoding::Base64, json!("zczMPQAAIMA="), json!("AACAPwAAAAA="));
    }
}
