//! Calls the agent's own tools, several at a time.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use proto::agent::v1::{ToolFinished, ToolStarted, run_event::Kind};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    Run,
    machine::{Action, Input, Machine, Pending},
    spans,
    toolbox::Toolbox,
};
use crate::{
    failure::Failure,
    metrics,
    tool::{Call, RunFacts},
};

/// What tools may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToolLimits {
    /// How long one call may take.
    pub(crate) timeout: Duration,
    /// How many calls of one answer go on at a time.
    pub(crate) parallel: usize,
    /// How many characters of a result reach the model.
    pub(crate) output_chars: usize,
}

/// Fewer characters to a token than most texts have.
const CHARS_PER_TOKEN: u64 = 3;
/// What a result may have in any case, if the setting allows it.
const LEAST_OUTPUT_CHARS: usize = 1_000;

/// A call that is over.
struct Done {
    place: usize,
    finished: ToolFinished,
    result: Result<String, String>,
}

impl Run {
    /// Makes the calls, and returns what the machine wants when the last is over. Dropping this stops them all.
    pub(super) async fn call(
        &mut self,
        machine: &mut Machine,
        pending: Vec<Pending>,
        toolbox: &Toolbox,
        facts: &RunFacts,
    ) -> Result<Action, Failure> {
        let limits = self.shared.settings.tools;
        // However much they may say, together they have to fit the model.
        let share = machine.free_tokens() * CHARS_PER_TOKEN / (pending.len() as u64).max(1);
        let output_chars =
            usize::try_from(share).unwrap_or(usize::MAX).max(LEAST_OUTPUT_CHARS).min(limits.output_chars);
        let limits = ToolLimits { output_chars, ..limits };
        let is_exclusive = |call: &Pending| toolbox.own(&call.call.name).is_some_and(|tool| tool.is_exclusive());
        let mut waiting = pending.iter().peekable();
        let mut going_on = FuturesUnordered::new();
        let mut is_alone = false;
        let mut action = Action::Wait;
        loop {
            while let Some(next) = waiting.next_if(|call| {
                going_on.is_empty() || (!is_alone && !is_exclusive(call) && going_on.len() < limits.parallel)
            }) {
                is_alone = is_exclusive(next);
                let (tool_call_id, name) = (next.call.id.clone(), next.call.name.clone());
                let arguments = next.call.arguments.clone();
                self.events.send(Kind::ToolStarted(ToolStarted { tool_call_id, name, arguments })).await?;
                going_on.push(one(next, toolbox, facts, limits));
            }
            let Some(Done { place, finished, result }) = going_on.next().await else { return Ok(action) };
            self.events.send(Kind::ToolFinished(finished)).await?;
            action = machine.step(Input::Returned { place, result });
        }
    }
}

/// One call to its end, whatever that is. It is a span of its own.
fn one<'a>(
    pending: &'a Pending,
    toolbox: &'a Toolbox,
    facts: &'a RunFacts,
    limits: ToolLimits,
) -> impl Future<Output = Done> + Send + 'a {
    let Pending { place, call } = pending;
    let tool = toolbox.own(&call.name);
    // A name that the model has made up may say anything.
    let shown = if tool.is_some() { &call.name } else { "unknown" };
    let span = spans::tool(shown, &call.id, &call.arguments);
    let of_span = span.clone();
    let calling = async move {
        let began = Instant::now();
        let measured = metrics::ToolCall::begin(&call.name, tool.is_some());
        let result = match tool {
            None => Err(format!("there is no tool called `{}`", call.name)),
            Some(tool) => {
                let calling = tool.call(Call { arguments: &call.arguments, run: facts });
                match tokio::time::timeout(limits.timeout, calling).await {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("it took longer than {} s and was stopped", limits.timeout.as_secs())),
                }
            }
        };
        measured.ended(result.is_ok());
        spans::returned(&of_span, result.as_ref());
        let shorten = |text: String| shorten(text, limits.output_chars);
        let finished = ToolFinished {
            tool_call_id: call.id.clone(),
            name: call.name.clone(),
            is_error: result.is_err(),
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        Done { place: *place, finished, result: result.map(shorten).map_err(shorten) }
    };
    calling.instrument(span)
}

/// Leaves out the middle of what is too long, and says how much.
fn shorten(text: String, most: usize) -> String {
    // No text has more characters than bytes.
    if text.len() <= most {
        return text;
    }
    let count = text.chars().count();
    if count <= most {
        return text;
    }
    let head = most / 2;
    let tail = most - head;
    let place = |nth: usize| text.char_indices().nth(nth).map_or(text.len(), |(place, _)| place);
    let left_out = count - most;
    format!("{}\n[… {left_out} characters left out …]\n{}", &text[..place(head)], &text[place(count - tail)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_its_middle_and_says_how_much() {
        let check = |text: &str, most: usize, expected: &str| {
            assert_eq!(shorten(text.to_owned(), most), expected, "{text}, {most}");
        };
        check("", 0, "");
        check("abc", 3, "abc");
        check("äöü", 3, "äöü");
        check("abcdefgh", 5, "ab\n[… 3 characters left out …]\nfgh");
        check("🦀🦀🦀🦀", 2, "🦀\n[… 2 characters left out …]\n🦀");
        check("abc", 0, "\n[… 3 characters left out …]\n");
    }
}
