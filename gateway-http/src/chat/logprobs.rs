//! How likely the tokens of an answer were, as the API writes it.

use proto::agent::v1::{LogprobsDelta, TokenLogprob};
use schemars::JsonSchema;
use serde::Serialize;

/// The tokens of a chunk, or of a whole answer.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "ChatLogprobs")]
pub(super) struct Logprobs {
    content: Option<Vec<WireToken>>,
    refusal: Option<Vec<WireToken>>,
    /// Those whose text is still to come.
    #[serde(skip)]
    pending: Vec<TokenLogprob>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChatTokenLogprob")]
struct WireToken {
    #[serde(flatten)]
    token: WireCandidate,
    top_logprobs: Vec<WireCandidate>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChatTopLogprob")]
struct WireCandidate {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
}

impl Logprobs {
    /// Takes the tokens of what is said next.
    pub(super) fn announce(&mut self, delta: LogprobsDelta) {
        self.pending.extend(delta.tokens);
    }

    /// What is said next is more of the answer.
    pub(super) fn say(&mut self) {
        Self::settle(&mut self.pending, &mut self.content);
    }

    /// What is said next is more of a refusal.
    pub(super) fn refuse(&mut self) {
        Self::settle(&mut self.pending, &mut self.refusal);
    }

    fn settle(pending: &mut Vec<TokenLogprob>, place: &mut Option<Vec<WireToken>>) {
        if !pending.is_empty() {
            place.get_or_insert_default().extend(pending.drain(..).map(WireToken::from));
        }
    }

    /// Hands out what is known; `None` when nothing is.
    pub(super) fn take(&mut self) -> Option<Self> {
        let is_empty = self.content.is_none() && self.refusal.is_none();
        (!is_empty).then(|| std::mem::take(self))
    }
}

impl From<TokenLogprob> for WireToken {
    fn from(mut token: TokenLogprob) -> Self {
        let top_logprobs = std::mem::take(&mut token.top).into_iter().map(WireCandidate::from).collect();
        Self { token: token.into(), top_logprobs }
    }
}

impl From<TokenLogprob> for WireCandidate {
    fn from(token: TokenLogprob) -> Self {
        let bytes = (!token.bytes.is_empty()).then(|| token.bytes.to_vec());
        Self { token: token.token, logprob: token.logprob, bytes }
    }
}
