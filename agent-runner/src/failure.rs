//! Why a run ends without an answer, and how the caller is told: the one place where errors become [`Failed`] events
//! and [`Status`]es.

use std::{collections::HashMap, time::Duration};

use proto::agent::v1::{Failed, FailureCode};
use shared::transport::is_overload;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{embeddings::NotConfigured, images, model, resumable::Full};

/// Everything that can end a run early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The request asks for what cannot be.
    #[error("{reason}")]
    Invalid {
        /// The field as the client wrote it.
        param: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A picture of the request cannot be shown.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// A fault of ours.
    #[error("the agent runner met a fault of its own")]
    Internal(&'static str),
    /// None of several models answered.
    #[error("no model answered: {reasons}")]
    AllModels {
        /// The reason that counts: the first that may pass, else the first.
        decisive: model::Error,
        /// Why each did not.
        reasons: String,
    },
    /// The model did not answer.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Other runs held the session for too long, or too many wait for it.
    #[error("{0}")]
    SessionBusy(String),
    /// The session was taken over, reset or deleted while the run went on.
    #[error("the session was reset, deleted or taken over while the answer was being written")]
    LeaseLost,
    /// The turn that the request follows is not the session's newest.
    #[error("the conversation has gone on since the turn that the request follows")]
    SessionMoved,
    /// The run has been asked for again, after its turn was committed.
    #[error("the run has already committed its turn")]
    AlreadyCommitted,
    /// The session store has as much to do as it may.
    #[error("the session store has as much to do as it may; try again later")]
    StoreOverloaded,
    /// The session store did not do its part.
    #[error("the session store is not available")]
    Store(#[source] Status),
    /// The run took longer than it may.
    #[error("the run took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Somebody cancelled the run, or hung up.
    #[error("the run was cancelled")]
    Cancelled,
    /// The runner shuts down.
    #[error("the agent runner is shutting down")]
    ShuttingDown,
}

impl Failure {
    pub(crate) fn code(&self) -> FailureCode {
        match self {
            Self::Internal(_) => FailureCode::Internal,
            Self::Invalid { .. } | Self::Image(_) | Self::AlreadyCommitted => FailureCode::InvalidRequest,
            Self::SessionBusy(_) | Self::LeaseLost => FailureCode::SessionBusy,
            Self::SessionMoved => FailureCode::SessionMoved,
            Self::Store(_) | Self::ShuttingDown => FailureCode::Unavailable,
            Self::TimedOut(_) => FailureCode::Timeout,
            Self::Cancelled => FailureCode::Cancelled,
            Self::StoreOverloaded => FailureCode::Overloaded,
            Self::Model(error) | Self::AllModels { decisive: error, .. } => code(error),
        }
    }

    /// Whether a shorter conversation may do.
    pub(crate) fn is_context_overflow(&self) -> bool {
        matches!(self.of_model(), Some(model::Error::ContextLengthExceeded(_)))
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::SessionBusy(_)
            | Self::LeaseLost
            | Self::StoreOverloaded
            | Self::Store(_)
            | Self::TimedOut(_)
            | Self::ShuttingDown => true,
            Self::Internal(_)
            | Self::Invalid { .. }
            | Self::Image(_)
            | Self::SessionMoved
            | Self::AlreadyCommitted
            | Self::Cancelled => false,
            Self::Model(error) | Self::AllModels { decisive: error, .. } => is_retryable(error),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.of_model()?.retry_after()
    }

    /// The field at fault, as the client wrote it; empty when there is none.
    fn param(&self) -> &str {
        match self {
            Self::Invalid { param, .. } => param,
            Self::Image(error) => &error.place,
            Self::Internal(_)
            | Self::Model(_)
            | Self::AllModels { .. }
            | Self::SessionMoved
            | Self::SessionBusy(_)
            | Self::LeaseLost
            | Self::AlreadyCommitted
            | Self::StoreOverloaded
            | Self::Store(_)
            | Self::TimedOut(_)
            | Self::Cancelled
            | Self::ShuttingDown => "",
        }
    }

    /// What the model said, if it is a model that failed.
    fn of_model(&self) -> Option<&model::Error> {
        match self {
            Self::Model(error) | Self::AllModels { decisive: error, .. } => Some(error),
            Self::Internal(_)
            | Self::Invalid { .. }
            | Self::Image(_)
            | Self::SessionBusy(_)
            | Self::LeaseLost
            | Self::SessionMoved
            | Self::AlreadyCommitted
            | Self::StoreOverloaded
            | Self::Store(_)
            | Self::TimedOut(_)
            | Self::Cancelled
            | Self::ShuttingDown => None,
        }
    }
}

fn code(error: &model::Error) -> FailureCode {
    match error {
        model::Error::Idle(_) | model::Error::TimedOut => FailureCode::Timeout,
        model::Error::RateLimited { .. } => FailureCode::UpstreamRateLimit,
        model::Error::Unauthorized => FailureCode::UpstreamAuth,
        model::Error::QuotaExceeded => FailureCode::InsufficientQuota,
        model::Error::InvalidRequest(_) => FailureCode::UpstreamInvalidRequest,
        model::Error::ContextLengthExceeded(_) => FailureCode::ContextLengthExceeded,
        model::Error::Failed(_) | model::Error::ProviderOverloaded { .. } | model::Error::Slipped(_) => {
            FailureCode::UpstreamError
        }
        model::Error::Overloaded => FailureCode::Overloaded,
    }
}

pub(crate) fn is_retryable(error: &model::Error) -> bool {
    match error {
        model::Error::RateLimited { .. }
        | model::Error::Failed(_)
        | model::Error::ProviderOverloaded { .. }
        | model::Error::Idle(_)
        | model::Error::TimedOut
        | model::Error::Overloaded
        | model::Error::Slipped(_) => true,
        model::Error::Unauthorized
        | model::Error::QuotaExceeded
        | model::Error::InvalidRequest(_)
        | model::Error::ContextLengthExceeded(_) => false,
    }
}

impl From<&Failure> for Failed {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code().into(),
            message: failure.to_string(),
            retryable: failure.is_retryable(),
            retry_after_ms: failure
                .retry_after()
                .map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            param: failure.param().to_owned(),
        }
    }
}

impl From<Full> for Failure {
    fn from(Full: Full) -> Self {
        let reason = "the answer is too long to be kept; ask for one that ends with its request".to_owned();
        Self::Invalid { param: "", reason }
    }
}

/// What the store's answer means for a run.
impl From<Status> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, the store did not do its part")]
    fn from(status: Status) -> Self {
        match status.code() {
            Code::FailedPrecondition => Self::LeaseLost,
            Code::ResourceExhausted if is_overload(&status) => Self::StoreOverloaded,
            _ => Self::Store(status),
        }
    }
}

/// What the failure of a call means that is no run. Its reason is the failure's code.
impl From<&Failure> for Status {
    fn from(failure: &Failure) -> Self {
        let code = match failure.code() {
            FailureCode::InvalidRequest | FailureCode::UpstreamInvalidRequest | FailureCode::ContextLengthExceeded => {
                Code::InvalidArgument
            }
            FailureCode::SessionBusy
            | FailureCode::SessionMoved
            | FailureCode::Overloaded
            | FailureCode::UpstreamRateLimit => Code::ResourceExhausted,
            FailureCode::Timeout => Code::DeadlineExceeded,
            FailureCode::Unavailable | FailureCode::Cancelled => Code::Unavailable,
            FailureCode::UpstreamAuth | FailureCode::InsufficientQuota | FailureCode::UpstreamError => Code::Aborted,
            FailureCode::Internal | FailureCode::Unspecified => Code::Internal,
        };
        let mut details = reason(failure.code());
        if let Some(after) = failure.retry_after() {
            details.set_retry_info(Some(after));
        }
        Self::with_error_details(code, failure.to_string(), details)
    }
}

/// Refuses a call for which something must be configured first.
pub(crate) fn not_configured(error: &NotConfigured) -> Status {
    let details = reason(FailureCode::InvalidRequest);
    Status::with_error_details(Code::FailedPrecondition, error.to_string(), details)
}

fn reason(code: FailureCode) -> ErrorDetails {
    ErrorDetails::with_error_info(code.as_str_name(), "clawdbot", HashMap::new())
}

/// Refuses a call whose `param` is wrong, before there is a run.
pub(crate) fn invalid_argument(param: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(param, reason);
    Status::with_error_details(Code::InvalidArgument, format!("{param}: {reason}"), details)
}
