//! A response as the API has it.

use proto::{
    agent::v1::{FinishReason, Finished, run_event::Kind},
    session::v1::Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::output::{Change, Item, Output};
use crate::{error::ApiError, kept::Annotation};

/// What is noted with a kept run, so that every gateway tells of it alike.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ResponseAnnotation {
    /// In seconds since 1970.
    pub(super) created_at: u64,
    pub(super) background: bool,
    /// The fields of the answer that come from the request, in the API's shape.
    pub(super) echo: Map<String, Value>,
}

/// How a response stands.
pub(super) struct Progress {
    pub(super) id: String,
    pub(super) annotation: ResponseAnnotation,
    pub(super) output: Output,
    state: State,
}

/// Where a response is on its way.
enum State {
    Queued,
    InProgress,
    Finished(Finished),
    Failed(ApiError),
}

/// A response as it is written.
#[derive(Serialize)]
pub(super) struct ResponseObject<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: Option<Failure<'a>>,
    incomplete_details: Option<Incomplete>,
    output: &'a [Item],
    usage: Option<WireUsage>,
    #[serde(flatten)]
    echo: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct Incomplete {
    reason: &'static str,
}

/// Tokens spent, under this API's names.
#[derive(Serialize)]
struct WireUsage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl Progress {
    pub(super) fn new(id: &str, annotation: ResponseAnnotation) -> Self {
        Self { id: id.to_owned(), annotation, output: Output::new(id), state: State::Queued }
    }

    /// Takes an event in, and tells what it changes of the output.
    pub(super) fn take(&mut self, event: Kind, tell: &mut impl FnMut(Change<'_>)) {
        match event {
            // What was noted when the run was begun goes before what is asked for now.
            Kind::Accepted(accepted) => {
                if let Some(Annotation::Response(annotation)) = Annotation::read(&accepted.annotation) {
                    self.annotation = annotation;
                }
            }
            Kind::Started(_) => self.state = State::InProgress,
            Kind::Finished(finished) => {
                self.output.end(incomplete(&finished).is_none(), tell);
                self.state = State::Finished(finished);
            }
            Kind::Failed(failed) => {
                self.output.end(false, tell);
                self.state = State::Failed(failed.into());
            }
            Kind::TextDelta(_)
            | Kind::RefusalDelta(_)
            | Kind::ToolCallDelta(_)
            | Kind::ToolStarted(_)
            | Kind::ReasoningDelta(_)
            | Kind::LogprobsDelta(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_) => self.output.take(event, tell),
        }
    }

    /// The run came to this error.
    pub(super) fn fail(&mut self, error: ApiError, tell: &mut impl FnMut(Change<'_>)) {
        self.output.end(false, tell);
        self.state = State::Failed(error);
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Finished(_) | State::Failed(_))
    }

    /// Whether its turn is kept.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Finished(_))
    }

    pub(super) fn status(&self) -> &'static str {
        match &self.state {
            State::Queued if self.annotation.background => "queued",
            State::Queued | State::InProgress => "in_progress",
            State::Finished(finished) if incomplete(finished).is_some() => "incomplete",
            State::Finished(_) => "completed",
            State::Failed(error) if error.is_cancellation() => "cancelled",
            State::Failed(_) => "failed",
        }
    }

    pub(super) fn object(&self) -> ResponseObject<'_> {
        let (finished, failed) = match &self.state {
            State::Finished(finished) => (Some(finished), None),
            State::Failed(error) => (None, Some(error)),
            State::Queued | State::InProgress => (None, None),
        };
        let failed = failed.filter(|error| !error.is_cancellation());
        ResponseObject {
            id: &self.id,
            object: "response",
            created_at: self.annotation.created_at,
            status: self.status(),
            error: failed.map(|error| Failure { code: failure_code(error), message: error.message() }),
            incomplete_details: finished.and_then(incomplete).map(|reason| Incomplete { reason }),
            output: self.output.items(),
            usage: finished.map(|finished| finished.usage.unwrap_or_default().into()),
            echo: &self.annotation.echo,
        }
    }
}

/// Why an answer is not whole, in the API's words.
fn incomplete(finished: &Finished) -> Option<&'static str> {
    match finished.reason() {
        FinishReason::Length => Some("max_output_tokens"),
        FinishReason::ContentFilter => Some("content_filter"),
        FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Unspecified => None,
    }
}

/// The API has few codes for what went wrong; the message says the rest.
fn failure_code(error: &ApiError) -> &'static str {
    match error.status().as_u16() {
        // That its session is busy says nothing of a rate.
        429 if error.code() != "session_busy" => "rate_limit_exceeded",
        400 => "invalid_prompt",
        _ => "server_error",
    }
}

impl From<Usage> for WireUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails { cached_tokens: usage.cached_tokens },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning_tokens },
            total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
        }
    }
}
