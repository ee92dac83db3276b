//! Providers that speak Google's Gemini API.

mod request;
mod response;

pub(super) use request::body;
pub(super) use response::{Answer, unique_prefix};

/// The protocol's name in thoughts.
const API: &str = "google-generative-ai";

#[cfg(test)]
mod tests;
