//! Providers that speak OpenAI's Chat Completions: OpenAI, vLLM, Ollama, LM Studio, llama.cpp, OpenRouter and others.

mod request;
mod response;

pub(super) use request::body;
pub(super) use response::Answer;

/// In place of the signature of a thought: the field that it came in and goes back in. `DeepSeek`, Kimi and others
/// refuse a call whose thought is missing.
const REASONING_CONTENT: &str = "reasoning_content";

#[cfg(test)]
mod tests;
