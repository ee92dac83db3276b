//! What a run does next, by what has happened so far: the agent loop without its I/O.

use proto::{
    agent::v1::FinishReason,
    session::v1::{Message, Role, ToolCall, part},
};

use super::{
    answer::Answered,
    toolbox::{Offer, Owner},
};
use crate::{
    conversation::{Conversation, Room},
    failure::Failure,
    prompt,
};

/// How much one run may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How often it asks a model for its answer.
    pub(crate) model_calls: u32,
    /// How many of the agent's tools it calls.
    pub(crate) tool_calls: u32,
}

/// The state of one run.
///
/// ```text
///           ┌──────────── every call is answered ───────────┐
///           ▼                                               │
/// begin ► Asking ── answered, calls the agent's tools ──► Calling
///         ▲    │                                            │
///         │    ├─ answered ─────────────────────────────► Over ◄── calls the client's tools too
///         │    └─ no room left ──► SummingUp                ▲
///         └───────────────────────────┘        stopped ─────┘ (from everywhere)
/// ```
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    conversation: Conversation,
    limits: Limits,
    room: Room,
    model_calls: u32,
    tool_calls: u32,
    /// Whether the model has refused the conversation's length before.
    has_overflowed: bool,
    /// Whether a summary was wanted and not to be had.
    has_tried_summing_up: bool,
}

#[derive(Debug)]
enum State {
    Asking,
    Calling {
        /// One place for each call of the answer, in its order.
        results: Vec<Slot>,
        /// Whether the client has calls of its own to answer.
        hands_over: bool,
    },
    SummingUp {
        /// About how many of the newest tokens stay.
        keep: u64,
        /// Why it must be: the model has refused the conversation as it is.
        refused: Option<Failure>,
    },
    Over,
}

/// What is known of the result of a call.
#[derive(Debug)]
enum Slot {
    /// The client's to answer.
    Client,
    Open(ToolCall),
    Closed(Message),
}

/// What the shell is to do next.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask the model, and say what came of it with [`Input::Answered`], [`Input::Overflowed`] or [`Input::Stopped`].
    Ask(Offer),
    /// Call these tools, and tell each result with [`Input::Returned`].
    Call(Vec<Pending>),
    /// Wait for the results of the calls that are still going on.
    Wait,
    /// Have this much of the newest kept and the rest summed up; the answer is [`Input::SummedUp`].
    SumUp {
        /// About how many tokens stay.
        keep: u64,
    },
    /// The run has its answer.
    Finish(FinishReason),
    /// The run failed.
    Fail(Failure),
}

/// A call of one of the agent's tools.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    /// What its result is told by.
    pub(crate) place: usize,
    pub(crate) call: ToolCall,
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The model answered.
    Answered(Answered),
    /// No model takes a conversation of this length.
    Overflowed(Failure),
    /// A tool came back, or failed; the model is told either way.
    Returned { place: usize, result: Result<String, String> },
    /// The oldest messages have a summary.
    SummedUp(String),
    /// They have none.
    NotSummedUp,
    /// The run cannot go on: it was cancelled, is out of time, or something that it needs has failed.
    Stopped(Failure),
}

impl Machine {
    pub(crate) fn new(conversation: Conversation, limits: Limits, room: Room) -> Self {
        Self {
            state: State::Over,
            conversation,
            limits,
            room,
            model_calls: 0,
            tool_calls: 0,
            has_overflowed: false,
            has_tried_summing_up: false,
        }
    }

    pub(crate) fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// How many tokens are free for what tools say.
    pub(crate) fn free_tokens(&self) -> u64 {
        self.room.context.saturating_sub(self.room.reserve + self.conversation.tokens())
    }

    pub(crate) fn into_conversation(self) -> Conversation {
        self.conversation
    }

    /// Whether the conversation can be made shorter for a model that finds it too long.
    pub(crate) fn can_shrink(&self) -> bool {
        !self.has_overflowed && self.conversation.to_sum_up(self.keep_after_overflow()).is_some()
    }

    /// The first thing to do.
    pub(crate) fn begin(&mut self) -> Action {
        self.ask_if_there_is_room()
    }

    /// What to do after this. An input that does not fit the state is a fault of the shell's, and ends the run.
    pub(crate) fn step(&mut self, input: Input) -> Action {
        match (std::mem::replace(&mut self.state, State::Over), input) {
            (_, Input::Stopped(failure)) => Action::Fail(failure),
            (State::Asking, Input::Answered(answered)) => self.answered(answered),
            (State::Asking, Input::Overflowed(failure)) => self.overflowed(failure),
            (State::Calling { results, hands_over }, Input::Returned { place, result }) => {
                self.returned(results, hands_over, place, result)
            }
            (State::SummingUp { keep, .. }, Input::SummedUp(summary)) => {
                self.conversation.sum_up(&summary, keep);
                // Once is enough: a summary that is itself too long would be summed up for ever.
                self.ask()
            }
            (State::SummingUp { refused: Some(refusal), .. }, Input::NotSummedUp) => Action::Fail(refusal),
            (State::SummingUp { refused: None, .. }, Input::NotSummedUp) => {
                // What was estimated may be wrong; the model says so itself if it is not.
                self.has_tried_summing_up = true;
                self.ask()
            }
            (
                State::Asking | State::Calling { .. } | State::SummingUp { .. } | State::Over,
                Input::Answered(_)
                | Input::Overflowed(_)
                | Input::Returned { .. }
                | Input::SummedUp(_)
                | Input::NotSummedUp,
            ) => out_of_place(),
        }
    }

    fn ask_if_there_is_room(&mut self) -> Action {
        let keep = self.room.keep;
        // A summary costs a question; one that frees little would cost it again and again.
        let is_worth_it = || self.conversation.tokens_to_sum_up(keep) >= self.room.reserve;
        if !self.has_tried_summing_up && self.conversation.is_full(self.room) && is_worth_it() {
            return self.sum_up(keep, None);
        }
        self.ask()
    }

    fn ask(&mut self) -> Action {
        self.state = State::Asking;
        self.model_calls += 1;
        Action::Ask(match self.model_calls {
            last if last >= self.limits.model_calls => Offer::None,
            1 => Offer::AsAsked,
            _ => Offer::Any,
        })
    }

    fn sum_up(&mut self, keep: u64, refused: Option<Failure>) -> Action {
        self.state = State::SummingUp { keep, refused };
        Action::SumUp { keep }
    }

    fn overflowed(&mut self, failure: Failure) -> Action {
        let keep = self.keep_after_overflow();
        if !self.can_shrink() {
            return Action::Fail(failure);
        }
        self.has_overflowed = true;
        // The question that was refused does not count.
        self.model_calls -= 1;
        self.sum_up(keep, Some(failure))
    }

    /// At least half of the conversation goes, whatever was estimated.
    fn keep_after_overflow(&self) -> u64 {
        self.room.keep.min(self.conversation.tokens() / 2)
    }

    fn answered(&mut self, answered: Answered) -> Action {
        let Answered { mut message, mut owners, reason, usage: _ } = answered;
        let is_last = self.model_calls >= self.limits.model_calls;
        let has_calls = !message.tool_calls.is_empty();
        if reason != FinishReason::ToolCalls || is_last {
            // What a cut-off answer calls is cut off too, and what is called after the last question has no answer.
            let mut keep = owners.iter().map(|owner| *owner == Owner::Client);
            message.tool_calls.retain(|_| keep.next().unwrap_or(true));
            owners.retain(|owner| *owner == Owner::Client);
            if message.tool_calls.is_empty() {
                // A thought goes back with the calls that came of it; alone it is no message that a provider takes.
                message.parts.retain(|part| !matches!(part.kind, Some(part::Kind::Reasoning(_))));
            }
        }
        let calls = message.tool_calls.clone();
        self.conversation.push(message);
        if owners.iter().all(|owner| *owner == Owner::Client) {
            let calls_nothing = reason == FinishReason::ToolCalls && owners.is_empty();
            return Action::Finish(match (calls_nothing, has_calls) {
                // The last question's calls were not made.
                (true, true) => FinishReason::Length,
                // Some providers say that tools are called where none are.
                (true, false) => FinishReason::Stop,
                (false, _) => reason,
            });
        }
        let mut pending = Vec::new();
        let mut results = Vec::with_capacity(calls.len());
        for (place, (call, owner)) in calls.into_iter().zip(&owners).enumerate() {
            results.push(match owner {
                Owner::Client => Slot::Client,
                Owner::Agent if self.tool_calls >= self.limits.tool_calls => {
                    let limit = self.limits.tool_calls;
                    let refusal = format!("not called: this turn has made its {limit} tool calls; answer without");
                    Slot::Closed(result_message(&call.id, Err(refusal)))
                }
                Owner::Agent => {
                    self.tool_calls += 1;
                    pending.push(Pending { place, call: call.clone() });
                    Slot::Open(call)
                }
            });
        }
        let hands_over = owners.contains(&Owner::Client);
        if pending.is_empty() {
            return self.go_on(results, hands_over);
        }
        self.state = State::Calling { results, hands_over };
        Action::Call(pending)
    }

    fn returned(
        &mut self,
        mut results: Vec<Slot>,
        hands_over: bool,
        place: usize,
        result: Result<String, String>,
    ) -> Action {
        let Some(slot) = results.get_mut(place) else { return out_of_place() };
        let Slot::Open(call) = &*slot else { return out_of_place() };
        *slot = Slot::Closed(result_message(&call.id, result));
        if results.iter().any(|slot| matches!(slot, Slot::Open(_))) {
            self.state = State::Calling { results, hands_over };
            return Action::Wait;
        }
        self.go_on(results, hands_over)
    }

    /// Tells the model what its calls came to, in the calls' order.
    fn go_on(&mut self, results: Vec<Slot>, hands_over: bool) -> Action {
        for slot in results {
            if let Slot::Closed(message) = slot {
                self.conversation.push(message);
            }
        }
        if hands_over { Action::Finish(FinishReason::ToolCalls) } else { self.ask_if_there_is_room() }
    }
}

/// A fault of the shell's.
fn out_of_place() -> Action {
    Action::Fail(Failure::Internal("the agent loop lost its way"))
}

fn result_message(tool_call_id: &str, result: Result<String, String>) -> Message {
    let text = match result {
        Ok(text) if text.is_empty() => "(nothing)".to_owned(),
        Ok(text) => text,
        Err(text) => format!("Error: {text}"),
    };
    let parts = vec![prompt::text(text)];
    Message { role: Role::Tool.into(), parts, tool_call_id: tool_call_id.to_owned(), ..Message::default() }
}

#[cfg(test)]
mod tests;
