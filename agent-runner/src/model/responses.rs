//! Providers that speak OpenAI's Responses API.

mod request;
mod response;

pub(super) use request::body;
pub(super) use response::Answer;

#[cfg(test)]
mod tests;
