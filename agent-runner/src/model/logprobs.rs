//! How likely a provider found the tokens of its answer, in the shape that OpenAI's protocols share.

use proto::agent::v1::TokenLogprob;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Event;

/// A token as it is written.
#[derive(Deserialize)]
struct WireToken {
    token: String,
    logprob: Option<f64>,
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Option<Vec<WireToken>>,
}

/// What Chat Completions says of a choice's tokens.
#[derive(Deserialize)]
struct WireLogprobs {
    #[serde(default)]
    content: Option<Vec<WireToken>>,
    #[serde(default)]
    refusal: Option<Vec<WireToken>>,
}

/// The tokens of one chunk of Chat Completions. What a server writes in another way is no reason to give its answer up.
pub(super) fn of_choice(raw: Option<&RawValue>) -> Option<Event> {
    let WireLogprobs { content, refusal } = serde_json::from_str(raw?.get()).ok()?;
    event(content.into_iter().chain(refusal).flatten())
}

/// The tokens of one delta of Responses, likewise.
pub(super) fn of_delta(raw: Option<&RawValue>) -> Option<Event> {
    let tokens: Vec<WireToken> = serde_json::from_str(raw?.get()).ok()?;
    event(tokens.into_iter())
}

fn event(tokens: impl Iterator<Item = WireToken>) -> Option<Event> {
    let tokens: Vec<_> = tokens.filter_map(WireToken::told).collect();
    (!tokens.is_empty()).then_some(Event::Logprobs(tokens))
}

impl WireToken {
    /// `None` where the server does not say how likely the token was.
    fn told(self) -> Option<TokenLogprob> {
        Some(TokenLogprob {
            token: self.token,
            logprob: self.logprob?,
            bytes: self.bytes.unwrap_or_default().into(),
            top: self.top_logprobs.into_iter().flatten().filter_map(Self::told).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_far_as_they_are_understood() {
        let check = |raw: &str, expected: &[&str]| {
            let raw: Box<RawValue> = serde_json::from_str(raw).expect("valid JSON");
            let told = match of_choice(Some(&raw)) {
                Some(Event::Logprobs(tokens)) => tokens.into_iter().map(|token| token.token).collect(),
                _ => Vec::new(),
            };
            assert_eq!(told, expected, "{raw}");
        };
        check("null", &[]);
        check(r#"{"content":null,"refusal":null}"#, &[]);
        check(r#"{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]}],"refusal":null}"#, &["a"]);
        check(r#"{"content":[{"token":"a","logprob":-1},{"token":"b","logprob":null}]}"#, &["a"]);
        check(r#"{"refusal":[{"token":"no","logprob":0}]}"#, &["no"]);
        check(r#"{"tokens":["a"],"token_logprobs":[-0.5]}"#, &[]);
        check(r#"[{"token":"a"}]"#, &[]);
    }
}
