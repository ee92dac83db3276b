//! Providers that speak OpenAI's Responses API.

mod request;
mod response;

pub(super) use request::body;
pub(super) use response::Answer;

/// The protocol's name in thoughts.
const API: &str = "openai-responses";

#[cfg(test)]
mod tests;
