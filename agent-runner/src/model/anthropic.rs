//! Providers that speak Anthropic's Messages API.

mod request;
mod response;
mod thinking;

pub(super) use request::body;
pub(super) use response::Answer;

/// What the signature of a thought begins with that is sent as `redacted_thinking`. One that is merely untold has no text
/// either, but goes back as a thought.
const REDACTED: &str = "redacted:";

#[cfg(test)]
mod tests;
