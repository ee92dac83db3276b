//! What is known of a model before it is asked.

use reqwest::header::HeaderMap;

use super::Api;

/// What is known of a model, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The protocol to ask it through, where that is not its provider's.
    pub api: Option<Api>,
    /// The most tokens of prompt and answer together.
    pub context_window: u64,
    /// The most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// Whether it can think before it answers.
    pub reasoning: bool,
    /// Whether it can be shown pictures.
    pub takes_images: bool,
    /// Where its server deviates from the protocol.
    pub compat: Compat,
    /// Headers of each request for it, beside its provider's.
    pub headers: HeaderMap,
}

/// Where a server deviates from Chat Completions; what is not said follows from its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// What it calls the most tokens that an answer may have.
    pub max_tokens_field: Option<MaxTokensField>,
    /// Whether a thinking model is instructed as `developer`, not as `system`.
    pub supports_developer_role: Option<bool>,
    /// Whether it may be told not to store the answer.
    pub supports_store: Option<bool>,
    /// Whether it may be told how much to think.
    pub supports_reasoning_effort: Option<bool>,
}

/// What a provider calls the most tokens that an answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    /// `max_tokens`, which most servers know.
    MaxTokens,
    /// `max_completion_tokens`; OpenAI's own newer models refuse the other.
    MaxCompletionTokens,
}

impl Default for Profile {
    /// What upstream assumes of a model that it knows nothing of; pictures are the provider's to refuse.
    fn default() -> Self {
        Self {
            api: None,
            context_window: 200_000,
            max_tokens: None,
            reasoning: false,
            takes_images: true,
            compat: Compat::default(),
            headers: HeaderMap::new(),
        }
    }
}

impl Profile {
    /// The most tokens that an answer may have: what is asked for, as far as the model goes.
    pub(super) fn cap(&self, asked_for: Option<u32>) -> Option<u32> {
        match (asked_for, self.max_tokens) {
            (Some(asked_for), Some(most)) => Some(asked_for.min(most)),
            (Some(asked_for), None) => Some(asked_for),
            (None, _) => None,
        }
    }
}
