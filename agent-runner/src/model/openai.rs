//! Providers that speak OpenAI's Chat Completions: OpenAI, vLLM, Ollama, LM Studio, llama.cpp, OpenRouter and others.

mod request;
mod response;

pub(super) use request::body;
pub(super) use response::Answer;

#[cfg(test)]
mod tests;
