//! What the runner counts and measures: every metric's name, labels and meaning in one place.
//!
//! Labels never hold what a client or a model made up, so that there are as many series as the configuration asks for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use proto::{agent::v1::FailureCode, session::v1::Usage};
use shared::{AgentId, Counted};
use tokio::time::Instant;

use crate::{
    failover::Candidate,
    failure::Failure,
    model::{Class, Event},
};

const MODEL_CALLS: &str = "clawdbot_model_calls_total";
const MODEL_CALL_DURATION: &str = "clawdbot_model_call_duration_seconds";
const TIME_TO_FIRST_TOKEN: &str = "clawdbot_time_to_first_token_seconds";
const TOKENS: &str = "clawdbot_tokens_total";
const FAILOVERS: &str = "clawdbot_failovers_total";
const COOLDOWNS: &str = "clawdbot_cooldowns_total";
const COOLDOWN_UNTIL: &str = "clawdbot_cooldown_until_seconds";
const TOOL_CALLS: &str = "clawdbot_tool_calls_total";
const TOOL_CALL_DURATION: &str = "clawdbot_tool_call_duration_seconds";
const RUNS: &str = "clawdbot_runs_total";
const RUNS_IN_FLIGHT: &str = "clawdbot_runs_in_flight";
const RUNS_WAITING: &str = "clawdbot_runs_waiting";

/// In place of the index of one key.
pub(crate) const ALL_KEYS: &str = "all";
/// In place of a model that only a request names.
const OTHER_MODEL: &str = "other";
/// In place of a tool that there is not.
const UNKNOWN_TOOL: &str = "unknown";
/// How the names of MCP servers' tools begin: `mcp__<server>__<tool>`.
const MCP: &str = "mcp__";

const OK: &str = "ok";
const ERROR: &str = "error";
/// Of what nobody waited for any more.
const CANCELLED: &str = "cancelled";

/// Says what each metric is, to whatever records them by now.
pub(crate) fn describe() {
    describe_counter!(MODEL_CALLS, Unit::Count, "Questions to models, by how they ended.");
    describe_histogram!(
        MODEL_CALL_DURATION,
        Unit::Seconds,
        "Time from a question to the end of its answer or failure."
    );
    describe_histogram!(TIME_TO_FIRST_TOKEN, Unit::Seconds, "Time from a question to the first piece of its answer.");
    describe_counter!(TOKENS, Unit::Count, "Tokens of answered questions, as providers say.");
    describe_counter!(FAILOVERS, Unit::Count, "Times that the next model was asked because one failed.");
    describe_counter!(COOLDOWNS, Unit::Count, "Times that a key or a whole provider began to be left alone.");
    describe_gauge!(COOLDOWN_UNTIL, Unit::Seconds, "Unix time until which a key or provider is left alone.");
    describe_counter!(TOOL_CALLS, Unit::Count, "Calls of the agents' own tools, by how they ended.");
    describe_histogram!(TOOL_CALL_DURATION, Unit::Seconds, "Time for one call of a tool.");
    describe_counter!(RUNS, Unit::Count, "Runs, by how they ended.");
    describe_gauge!(RUNS_IN_FLIGHT, Unit::Count, "Runs that go on.");
    describe_gauge!(RUNS_WAITING, Unit::Count, "Runs that wait for their session or for another run to end.");
    for name in [RUNS_IN_FLIGHT, RUNS_WAITING] {
        gauge!(name).set(0.0);
    }
}

/// A question to a model under way. One that is dropped before it has ended was cancelled.
pub(crate) struct ModelCall<'a> {
    candidate: &'a Candidate,
    began: Instant,
    has_spoken: bool,
    outcome: &'static str,
}

impl<'a> ModelCall<'a> {
    pub(crate) fn begin(candidate: &'a Candidate) -> Self {
        Self { candidate, began: Instant::now(), has_spoken: false, outcome: CANCELLED }
    }

    /// Takes note of a piece of the answer; says how long it took if it is the first.
    pub(crate) fn heard(&mut self, event: &Event) -> Option<Duration> {
        if self.has_spoken {
            return None;
        }
        self.has_spoken = match event {
            Event::Text(_) | Event::Refusal(_) | Event::Reasoning(_) | Event::ToolCall(_) => true,
            Event::Logprobs(_)
            | Event::Thought { .. }
            | Event::CallSignature { .. }
            | Event::Usage(_)
            | Event::Finished(_) => return None,
        };
        let Candidate { name, .. } = self.candidate;
        let model = model_label(self.candidate);
        let took = self.began.elapsed();
        histogram!(TIME_TO_FIRST_TOKEN, "provider" => name.provider.clone(), "model" => model).record(took);
        Some(took)
    }

    /// The answer is whole.
    pub(crate) fn answered(mut self, agent_id: &AgentId, usage: &Usage) {
        self.outcome = OK;
        for (kind, count) in [
            ("prompt", usage.prompt_tokens),
            ("completion", usage.completion_tokens),
            ("cached", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ] {
            let model = model_label(self.candidate);
            counter!(TOKENS, "agent" => agent_id.to_string(), "model" => model, "kind" => kind).increment(count);
        }
    }

    pub(crate) fn failed(mut self, class: Class) {
        self.outcome = class.name();
    }
}

impl Drop for ModelCall<'_> {
    fn drop(&mut self) {
        let provider = self.candidate.name.provider.clone();
        let model = model_label(self.candidate);
        counter!(MODEL_CALLS, "provider" => provider.clone(), "model" => model.clone(), "outcome" => self.outcome)
            .increment(1);
        if self.outcome != CANCELLED {
            histogram!(MODEL_CALL_DURATION, "provider" => provider, "model" => model).record(self.began.elapsed());
        }
    }
}

fn model_label(candidate: &Candidate) -> String {
    if candidate.is_configured { candidate.name.model.clone() } else { OTHER_MODEL.to_owned() }
}

/// The next model is asked, since one of this provider failed.
pub(crate) fn failed_over(from_provider: &str, class: Class) {
    counter!(FAILOVERS, "from_provider" => from_provider.to_owned(), "class" => class.name()).increment(1);
}

/// A `key` or the whole `provider` is left alone from now on.
pub(crate) fn cooled_down(provider: &str, what: &'static str, class: Class) {
    counter!(COOLDOWNS, "provider" => provider.to_owned(), "what" => what, "class" => class.name()).increment(1);
}

/// Where it is shown until when a key, by its index or [`ALL_KEYS`], is left alone; 0 once it works again.
pub(crate) fn cooldown_until(provider: &str, key: String) -> Gauge {
    let gauge = gauge!(COOLDOWN_UNTIL, "provider" => provider.to_owned(), "key" => key);
    gauge.set(0.0);
    gauge
}

/// The Unix time after this duration.
pub(crate) fn unix_seconds_in(duration: Duration) -> f64 {
    (SystemTime::now() + duration).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A call of a tool under way. One that is dropped before it has ended was cancelled.
pub(crate) struct ToolCall<'a> {
    tool: &'a str,
    began: Instant,
    outcome: &'static str,
}

impl<'a> ToolCall<'a> {
    /// `exists` says whether there is a tool with this name.
    pub(crate) fn begin(name: &'a str, exists: bool) -> Self {
        let tool = if exists { tool_label(name) } else { UNKNOWN_TOOL };
        Self { tool, began: Instant::now(), outcome: CANCELLED }
    }

    pub(crate) fn ended(mut self, is_ok: bool) {
        self.outcome = if is_ok { OK } else { ERROR };
    }
}

impl Drop for ToolCall<'_> {
    fn drop(&mut self) {
        let tool = self.tool.to_owned();
        counter!(TOOL_CALLS, "tool" => tool.clone(), "outcome" => self.outcome).increment(1);
        if self.outcome != CANCELLED {
            histogram!(TOOL_CALL_DURATION, "tool" => tool).record(self.began.elapsed());
        }
    }
}

/// A tool's name; of an MCP server's tool, which the server may name as it likes, only the server's part.
fn tool_label(name: &str) -> &str {
    let server = name.strip_prefix(MCP).and_then(|rest| rest.split("__").next());
    server.map_or(name, |server| &name[..MCP.len() + server.len()])
}

/// A run is over, perhaps with a failure.
pub(crate) fn run_ended(agent_id: &AgentId, failure: Option<&Failure>) {
    let outcome = failure.map_or_else(|| OK.to_owned(), |failure| code_label(failure.code()));
    counter!(RUNS, "agent" => agent_id.to_string(), "outcome" => outcome).increment(1);
}

/// A run was not taken in, since as many wait as may.
pub(crate) fn run_refused(agent_id: &AgentId) {
    let outcome = code_label(FailureCode::Overloaded);
    counter!(RUNS, "agent" => agent_id.to_string(), "outcome" => outcome).increment(1);
}

/// `FAILURE_CODE_SESSION_BUSY` as `session_busy`.
pub(crate) fn code_label(code: FailureCode) -> String {
    code.as_str_name().trim_start_matches("FAILURE_CODE_").to_ascii_lowercase()
}

/// A run that goes on.
pub(crate) fn run() -> Counted {
    Counted::of(gauge!(RUNS_IN_FLIGHT))
}

/// A run that was taken in and does not go on yet.
pub(crate) fn waiting_run() -> Counted {
    Counted::of(gauge!(RUNS_WAITING))
}

#[cfg(test)]
mod tests;
