//! The seam behind which the model providers live.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use proto::{
    agent::v1::{FinishReason, FunctionTool, GenerationOptions, TokenLogprob, ToolCallDelta, ToolChoice},
    session::v1::{Message, Usage},
};

mod anthropic;
mod embeddings;
mod google;
mod http;
mod input;
#[cfg(feature = "local-model")]
pub mod local;
mod logprobs;
mod openai;
mod profile;
mod provider_error;
mod remote;
mod responses;
pub mod sse;
mod stream;
mod thoughts;

pub use embeddings::{Embedded, Texts};
pub use http::Connections;
pub use profile::{Compat, MaxTokensField, Profile};
pub use remote::{Api, ApiKey, Remote, base_url, headers};

/// One question to a model.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The model's name at its provider, without the provider's id.
    pub model: String,
    /// The whole prompt, in order: instructions, transcript, what is new.
    pub messages: Vec<Message>,
    /// How to answer.
    pub options: GenerationOptions,
    /// The tools that the model may call.
    pub tools: Arc<[FunctionTool]>,
    /// Which tool it may or must call.
    pub tool_choice: Option<ToolChoice>,
    /// What is known of the model.
    pub profile: Arc<Profile>,
}

/// A piece of a model's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// More text, never empty.
    Text(String),
    /// More of a refusal to answer, never empty.
    Refusal(String),
    /// How likely the tokens of the next text or refusal were, never empty.
    Logprobs(Vec<TokenLogprob>),
    /// More reasoning, never empty.
    Reasoning(String),
    /// The thought that the reasoning since the last such event made is whole. With its next request the provider wants
    /// the signature back; a thought without text is one that it keeps to itself.
    Thought {
        /// As the provider sent it; empty when it sent none.
        signature: String,
        /// Who wants it back, as [`proto::session::v1::Reasoning::origin`] has it. [`Remote`] knows; a protocol alone
        /// leaves it empty.
        origin: Arc<str>,
    },
    /// What the provider wants back with a tool call, by the call's index.
    CallSignature {
        /// The call's index.
        index: u32,
        /// As the provider sent it.
        signature: String,
        /// Who wants it back, as of a thought.
        origin: Arc<str>,
    },
    /// More of a tool call. Indexes count from 0 without gaps; a call's first delta names it, and only that.
    ToolCall(ToolCallDelta),
    /// What the call cost; the last one counts.
    Usage(Usage),
    /// Why the answer ended. Only [`Event::Usage`] may follow.
    Finished(FinishReason),
}

/// Why a model did not answer, by what the caller can do about it.
///
/// The texts are for the client: they hold no secret and no internal address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider limits our rate.
    #[error("the model provider limits the rate of requests; try again later")]
    RateLimited {
        /// When to try again, if the provider says so.
        retry_after: Option<Duration>,
    },
    /// The provider does not take our key.
    #[error("the model provider refused the gateway's credentials")]
    Unauthorized,
    /// The provider wants to be paid.
    #[error("the quota at the model provider is used up")]
    QuotaExceeded,
    /// The request is at fault.
    #[error("the model provider refused the request: {0}")]
    InvalidRequest(String),
    /// The conversation is too long for the model.
    #[error("the conversation is longer than the model can take: {0}")]
    ContextLengthExceeded(String),
    /// The provider is down, or broke off, or made no sense.
    #[error("the model provider failed: {0}")]
    Failed(String),
    /// The provider has more to do than it can.
    #[error("the model provider is overloaded; try again later")]
    ProviderOverloaded {
        /// When to try again, if the provider says so.
        retry_after: Option<Duration>,
    },
    /// The provider was silent for too long.
    #[error("the model provider sent nothing for {} s", .0.as_secs())]
    Idle(Duration),
    /// The provider says that it ran out of time.
    #[error("the model provider took too long")]
    TimedOut,
    /// The embedded model has as much to do as it may.
    #[error("the embedded model is busy")]
    Overloaded,
    /// The model answered with what cannot be used, while its provider is well.
    #[error("the model made a mistake: {0}")]
    Slipped(String),
}

/// What kind of failure an [`Error`] is, by which it is decided who is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too many requests with this key.
    RateLimit,
    /// The key is no good.
    Auth,
    /// Nobody has paid.
    Billing,
    /// The provider has more to do than it can.
    Overloaded,
    /// It took too long.
    Timeout,
    /// The conversation is too long for the model.
    ContextOverflow,
    /// The request is at fault, whoever is asked with it.
    BadRequest,
    /// The provider is down, or broke off, or made no sense.
    Network,
    /// It may go well at once, and is no reason to leave a provider alone: a slip of the model, or our own queue.
    Transient,
}

impl Class {
    /// For logs, traces and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Auth => "auth",
            Self::Billing => "billing",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::ContextOverflow => "context_overflow",
            Self::BadRequest => "bad_request",
            Self::Network => "network",
            Self::Transient => "transient",
        }
    }
}

impl Error {
    /// The model makes no vectors.
    fn cannot_embed() -> Self {
        let reason = "it makes no embeddings; `memorySearch.provider` of the agent, or of `agents.defaults`, names one that does";
        Self::InvalidRequest(reason.to_owned())
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            Self::RateLimited { .. } => Class::RateLimit,
            Self::Unauthorized => Class::Auth,
            Self::QuotaExceeded => Class::Billing,
            Self::InvalidRequest(_) => Class::BadRequest,
            Self::ContextLengthExceeded(_) => Class::ContextOverflow,
            Self::Failed(_) => Class::Network,
            Self::ProviderOverloaded { .. } => Class::Overloaded,
            Self::Overloaded | Self::Slipped(_) => Class::Transient,
            Self::Idle(_) | Self::TimedOut => Class::Timeout,
        }
    }

    /// When the provider says that it may be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::ProviderOverloaded { retry_after } => *retry_after,
            Self::Unauthorized
            | Self::QuotaExceeded
            | Self::InvalidRequest(_)
            | Self::ContextLengthExceeded(_)
            | Self::Failed(_)
            | Self::Idle(_)
            | Self::TimedOut
            | Self::Overloaded
            | Self::Slipped(_) => None,
        }
    }
}

/// An answer as it comes. It ends after [`Event::Finished`], or with an error.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event, Error>> + Send>>;

/// The vectors of texts on their way.
pub type Embedding = Pin<Box<dyn Future<Output = Result<Embedded, Error>> + Send>>;

/// Something that answers a prompt.
pub trait Model: Send + Sync {
    /// Asks the model. Nothing happens before the stream is polled, and dropping it stops the work behind it.
    fn stream(&self, request: &Request) -> EventStream;

    /// Turns texts into vectors. Nothing happens before the future is polled, and dropping it stops the work behind it.
    fn embed(&self, texts: &Texts) -> Embedding {
        let _ = texts;
        Box::pin(std::future::ready(Err(Error::cannot_embed())))
    }
}

#[cfg(test)]
mod tests;
