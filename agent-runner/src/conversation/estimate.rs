//! How long a message is for a model, roughly: no provider's tokeniser is here.

use proto::session::v1::{Message, Part, part::Kind};

/// Bytes of text to a token, as English has them; other scripts have more bytes and more tokens alike.
const BYTES_PER_TOKEN: usize = 4;
/// What a message's frame costs.
const PER_MESSAGE: u64 = 4;
/// What providers count for an image at most, roughly.
const PER_IMAGE: u64 = 1_500;
/// A recording or a document of a few pages.
const PER_ATTACHMENT: u64 = 3_000;

/// About how many tokens a message has.
pub(super) fn tokens(message: &Message) -> u64 {
    let calls = message.tool_calls.iter().map(|call| text(&call.name) + text(&call.arguments));
    PER_MESSAGE + message.parts.iter().map(part).sum::<u64>() + calls.sum::<u64>()
}

/// About how many tokens a text has.
pub(super) fn text(text: &str) -> u64 {
    u64::try_from(text.len().div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

fn part(part: &Part) -> u64 {
    match &part.kind {
        Some(Kind::Text(said) | Kind::Refusal(said)) => text(said),
        Some(Kind::Reasoning(thought)) => text(&thought.text) + text(&thought.signature),
        Some(Kind::Image(_)) => PER_IMAGE,
        Some(Kind::Audio(_) | Kind::File(_)) => PER_ATTACHMENT,
        None => 0,
    }
}
