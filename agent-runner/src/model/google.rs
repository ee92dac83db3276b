//! Providers that speak Google's Gemini API.

mod request;
mod response;

pub(super) use request::body;
pub(super) use response::{Answer, unique_prefix};

#[cfg(test)]
mod tests;
