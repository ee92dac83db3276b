//! Texts as vectors: what the protocols that can do it are asked, and what their answers hold.

use std::sync::Arc;

use proto::session::v1::Usage;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Error, Profile,
    provider_error::{self, Details},
};

/// Texts that are to become vectors.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// The model's name at its provider, without the provider's id.
    pub model: String,
    /// The texts themselves.
    pub texts: Vec<String>,
    /// How many dimensions the vectors should have, if not as many as the model gives.
    pub dimensions: Option<u32>,
    /// What is known of the model.
    pub profile: Arc<Profile>,
}

/// The vectors of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedded {
    /// One for each text, in their order; none of them is empty.
    pub vectors: Vec<Vec<f32>>,
    /// What they cost, as far as the provider tells.
    pub usage: Usage,
}

/// The protocols with which vectors can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Openai,
    Google,
}

#[derive(Deserialize)]
struct OpenaiAnswer {
    data: Vec<OpenaiVector>,
    #[serde(default)]
    usage: OpenaiUsage,
}

#[derive(Deserialize)]
struct OpenaiVector {
    /// Servers that leave it out keep the order.
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OpenaiUsage {
    prompt_tokens: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleAnswer {
    embeddings: Vec<GoogleVector>,
    #[serde(default)]
    usage_metadata: GoogleUsage,
}

#[derive(Deserialize)]
struct GoogleVector {
    values: Vec<f32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GoogleUsage {
    prompt_token_count: u64,
}

impl Embedded {
    /// Adds what follows.
    pub(super) fn add(&mut self, more: Self) {
        self.vectors.extend(more.vectors);
        self.usage.prompt_tokens += more.usage.prompt_tokens;
    }

    fn is_sound(&self, count: usize) -> bool {
        let is_alike = |vector: &Vec<f32>| vector.len() == self.vectors[0].len();
        let is_finite = |vector: &Vec<f32>| !vector.is_empty() && vector.iter().all(|value| value.is_finite());
        self.vectors.len() == count && self.vectors.iter().all(|vector| is_alike(vector) && is_finite(vector))
    }
}

impl Protocol {
    pub(super) fn of(api: Api) -> Option<Self> {
        match api {
            Api::OpenaiCompletions | Api::OpenaiResponses => Some(Self::Openai),
            Api::GoogleGenerativeAi => Some(Self::Google),
            Api::AnthropicMessages => None,
        }
    }

    /// How many texts one request may have.
    pub(super) fn most_texts(self) -> usize {
        match self {
            Self::Openai => 2048,
            Self::Google => 100,
        }
    }

    pub(super) fn url(self, base_url: &Url, model: &str) -> Url {
        let mut url = base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            match self {
                Self::Openai => path.push("embeddings"),
                Self::Google => path.extend(["models", &format!("{model}:batchEmbedContents")]),
            };
        }
        url
    }

    /// Asks for the vectors of `some` of the texts.
    pub(super) fn body(self, texts: &Texts, some: &[String]) -> Vec<u8> {
        let Texts { model, dimensions, .. } = texts;
        let mut body = match self {
            Self::Openai => json!({"model": model, "input": some}),
            Self::Google => {
                let request = |text: &String| {
                    let mut request =
                        json!({"model": format!("models/{model}"), "content": {"parts": [{"text": text}]}});
                    if let Some(dimensions) = dimensions {
                        request["outputDimensionality"] = (*dimensions).into();
                    }
                    request
                };
                json!({"requests": some.iter().map(request).collect::<Vec<Value>>()})
            }
        };
        if let (Self::Openai, Some(dimensions)) = (self, dimensions) {
            body["dimensions"] = (*dimensions).into();
        }
        body.to_string().into_bytes()
    }

    /// The vectors of an answer, which must be `count`.
    pub(super) fn read(self, answer: &[u8], count: usize) -> Result<Embedded, Error> {
        let embedded = match self {
            Self::Openai => serde_json::from_slice(answer).map(OpenaiAnswer::into_embedded),
            Self::Google => serde_json::from_slice(answer).map(|answer| Some(GoogleAnswer::into_embedded(answer))),
        };
        let Ok(embedded) = embedded else { return Err(provider_error::from_whole(&Details::read(answer))) };
        embedded.filter(|embedded| embedded.is_sound(count)).ok_or_else(|| {
            tracing::warn!(vectors.expected = count, "a model provider's answer is not one vector for each text");
            Error::Failed("it did not send one vector for each text".to_owned())
        })
    }
}

impl OpenaiAnswer {
    /// Nothing when a place is taken twice, or is none.
    fn into_embedded(self) -> Option<Embedded> {
        let mut vectors = vec![Vec::new(); self.data.len()];
        for (place, OpenaiVector { index, embedding }) in self.data.into_iter().enumerate() {
            let vector = vectors.get_mut(index.unwrap_or(place)).filter(|vector| vector.is_empty())?;
            *vector = embedding;
        }
        let usage = Usage { prompt_tokens: self.usage.prompt_tokens, ..Usage::default() };
        Some(Embedded { vectors, usage })
    }
}

impl GoogleAnswer {
    fn into_embedded(self) -> Embedded {
        let usage = Usage { prompt_tokens: self.usage_metadata.prompt_token_count, ..Usage::default() };
        Embedded { vectors: self.embeddings.into_iter().map(|vector| vector.values).collect(), usage }
    }
}

#[cfg(test)]
mod tests;
