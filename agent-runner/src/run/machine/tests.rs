//! The loop as data: what has happened on the left, what is to be done next on the right, and what the turn has added
//! to the transcript in the end.

use proto::session::v1::{Part, Reasoning, Usage};

use super::*;
use crate::model;

const LIMITS: Limits = Limits { model_calls: 4, tool_calls: 3 };
const ROOM: Room = Room { context: 10_000, reserve: 1_000, keep: 1_000 };

/// A run that begins with one message of the user's.
fn machine(limits: Limits, room: Room) -> Machine {
    let mut conversation = Conversation::new(Vec::new(), 0);
    conversation.push(user("hi"));
    Machine::new(conversation, limits, room)
}

fn user(text: &str) -> Message {
    Message { role: Role::User.into(), parts: vec![prompt::text(text.to_owned())], ..Message::default() }
}

fn answered(text: &str, calls: &str, reason: FinishReason) -> Input {
    let parts = if text.is_empty() { Vec::new() } else { vec![prompt::text(text.to_owned())] };
    let owner = |call: &str| if call.starts_with('!') { Owner::Client } else { Owner::Agent };
    let tool_call = |call: &str| ToolCall { id: call.to_owned(), name: "f".to_owned(), ..ToolCall::default() };
    let calls: Vec<&str> = calls.split_whitespace().collect();
    let message = Message {
        role: Role::Assistant.into(),
        parts,
        tool_calls: calls.iter().map(|call| tool_call(call)).collect(),
        ..Message::default()
    };
    let owners = calls.into_iter().map(owner).collect();
    Input::Answered(Answered { message, owners, reason, usage: Usage::default() })
}

fn says(text: &str) -> Input {
    answered(text, "", FinishReason::Stop)
}

/// Calls with these ids; those that begin with `!` are for the client's tools.
fn calls(ids: &str) -> Input {
    answered("", ids, FinishReason::ToolCalls)
}

fn returns(place: usize, text: &str) -> Input {
    Input::Returned { place, result: Ok(text.to_owned()) }
}

fn breaks(place: usize, text: &str) -> Input {
    Input::Returned { place, result: Err(text.to_owned()) }
}

fn overflows() -> Input {
    Input::Overflowed(model::Error::ContextLengthExceeded("too long".to_owned()).into())
}

/// An action in a few words.
fn told(action: &Action) -> String {
    match action {
        Action::Ask(Offer::AsAsked) => "ask".to_owned(),
        Action::Ask(Offer::Any) => "ask again".to_owned(),
        Action::Ask(Offer::None) => "ask without tools".to_owned(),
        Action::Call(pending) => {
            let ids: Vec<_> = pending.iter().map(|pending| format!("{}@{}", pending.call.id, pending.place)).collect();
            format!("call {}", ids.join(" "))
        }
        Action::Wait => "wait".to_owned(),
        Action::SumUp { .. } => "sum up".to_owned(),
        Action::Finish(reason) => format!("finish {reason:?}"),
        Action::Fail(failure) => format!("fail: {failure}"),
    }
}

/// A message as `role: text`, and what it calls or answers.
fn shown(message: &Message) -> String {
    let text: Vec<_> = message.parts.iter().map(|part| format!("{part:?}")).collect();
    let text = text.join("");
    let text = text.split('"').nth(1).unwrap_or_default();
    let calls: Vec<_> = message.tool_calls.iter().map(|call| call.id.as_str()).collect();
    match message.role() {
        Role::Assistant if calls.is_empty() => format!("assistant: {text}"),
        Role::Assistant => format!("assistant: {text} ({})", calls.join(" ")),
        Role::Tool => format!("tool {}: {text}", message.tool_call_id),
        Role::User if message.compaction.is_some() => "summary".to_owned(),
        Role::User | Role::System | Role::Developer | Role::Unspecified => format!("user: {text}"),
    }
}

/// Plays a run from its beginning.
fn check(inputs: Vec<Input>, actions: &[&str], turn: &[&str]) {
    check_with(machine(LIMITS, ROOM), inputs, actions, turn);
}

fn check_with(mut machine: Machine, inputs: Vec<Input>, actions: &[&str], turn: &[&str]) {
    let mut found = vec![told(&machine.begin())];
    found.extend(inputs.into_iter().map(|input| told(&machine.step(input))));
    assert_eq!(found, actions);
    assert_eq!(machine.conversation().turn().iter().map(shown).collect::<Vec<_>>(), turn);
}

#[test]
fn a_text_ends_the_run() {
    check(vec![says("hello")], &["ask", "finish Stop"], &["user: hi", "assistant: hello"]);
}

#[test]
fn an_empty_answer_and_a_refusal_end_it_too() {
    check(vec![says("")], &["ask", "finish Stop"], &["user: hi", "assistant: "]);
    let refusal = || answered("I cannot", "", FinishReason::ContentFilter);
    check(vec![refusal()], &["ask", "finish ContentFilter"], &["user: hi", "assistant: I cannot"]);
}

#[test]
fn a_tools_result_goes_back_to_the_model() {
    check(
        vec![calls("a"), returns(0, "7"), says("it is 7")],
        &["ask", "call a@0", "ask again", "finish Stop"],
        &["user: hi", "assistant:  (a)", "tool a: 7", "assistant: it is 7"],
    );
}

#[test]
fn several_calls_come_back_in_any_order_and_are_told_in_theirs() {
    check(
        vec![calls("a b c"), returns(2, "3"), returns(0, "1"), returns(1, "2"), says("done")],
        &["ask", "call a@0 b@1 c@2", "wait", "wait", "ask again", "finish Stop"],
        &["user: hi", "assistant:  (a b c)", "tool a: 1", "tool b: 2", "tool c: 3", "assistant: done"],
    );
}

#[test]
fn a_tool_that_fails_or_says_nothing_is_told_to_the_model() {
    check(
        vec![calls("a b"), breaks(0, "it took longer than 60 s and was stopped"), returns(1, ""), says("sorry")],
        &["ask", "call a@0 b@1", "wait", "ask again", "finish Stop"],
        &[
            "user: hi",
            "assistant:  (a b)",
            "tool a: Error: it took longer than 60 s and was stopped",
            "tool b: (nothing)",
            "assistant: sorry",
        ],
    );
}

#[test]
fn a_call_of_the_clients_tool_ends_the_turn() {
    check(vec![calls("!a")], &["ask", "finish ToolCalls"], &["user: hi", "assistant:  (!a)"]);
    // The agent's own are called first, so that only the client's are open.
    check(
        vec![calls("a !b c"), returns(2, "3"), returns(0, "1")],
        &["ask", "call a@0 c@2", "wait", "finish ToolCalls"],
        &["user: hi", "assistant:  (a !b c)", "tool a: 1", "tool c: 3"],
    );
}

#[test]
fn calls_of_an_answer_that_was_cut_off_are_not_made() {
    check(
        vec![answered("let me", "a !b", FinishReason::Length)],
        &["ask", "finish Length"],
        &["user: hi", "assistant: let me (!b)"],
    );
    // A thought is nothing without the calls that came of it.
    let Input::Answered(mut thought) = answered("", "a", FinishReason::Length) else { unreachable!("made above") };
    thought.message.parts.push(Part { kind: Some(part::Kind::Reasoning(Reasoning::default())) });
    let mut machine = machine(LIMITS, ROOM);
    machine.begin();
    assert_eq!(told(&machine.step(Input::Answered(thought))), "finish Length");
    assert_eq!(machine.conversation().turn().last().map(|message| message.parts.len()), Some(0));
}

#[test]
fn the_last_question_offers_no_tools_and_its_calls_are_not_made() {
    let rounds = || vec![calls("a"), returns(0, "1"), calls("b"), returns(0, "2"), calls("c"), returns(0, "3")];
    let actions = ["ask", "call a@0", "ask again", "call b@0", "ask again", "call c@0", "ask without tools"];
    let turn =
        ["user: hi", "assistant:  (a)", "tool a: 1", "assistant:  (b)", "tool b: 2", "assistant:  (c)", "tool c: 3"];
    let mut inputs = rounds();
    inputs.push(says("enough"));
    check(inputs, &[&actions[..], &["finish Stop"]].concat(), &[&turn[..], &["assistant: enough"]].concat());
    let mut inputs = rounds();
    inputs.push(calls("d"));
    check(inputs, &[&actions[..], &["finish Length"]].concat(), &[&turn[..], &["assistant: "]].concat());
}

#[test]
fn calls_beyond_the_limit_are_refused_and_the_model_is_told() {
    let refused = "not called: this turn has made its 3 tool calls; answer without";
    let refused = |id: &str| format!("tool {id}: Error: {refused}");
    check(
        vec![calls("a b c d"), returns(0, "1"), returns(1, "2"), returns(2, "3"), calls("e"), says("done")],
        &["ask", "call a@0 b@1 c@2", "wait", "wait", "ask again", "ask again", "finish Stop"],
        &[
            "user: hi",
            "assistant:  (a b c d)",
            "tool a: 1",
            "tool b: 2",
            "tool c: 3",
            &refused("d"),
            "assistant:  (e)",
            &refused("e"),
            "assistant: done",
        ],
    );
}

#[test]
fn a_run_can_be_stopped_in_every_state() {
    let stop = || Input::Stopped(Failure::Cancelled);
    let cancelled = "fail: the run was cancelled";
    check(vec![stop()], &["ask", cancelled], &["user: hi"]);
    check(vec![calls("a b"), stop()], &["ask", "call a@0 b@1", cancelled], &["user: hi", "assistant:  (a b)"]);
    check(
        vec![calls("a b"), returns(0, "1"), stop()],
        &["ask", "call a@0 b@1", "wait", cancelled],
        &["user: hi", "assistant:  (a b)"],
    );
    check(
        vec![calls("a"), returns(0, "1"), stop()],
        &["ask", "call a@0", "ask again", cancelled],
        &["user: hi", "assistant:  (a)", "tool a: 1"],
    );
    check_with(full(), vec![stop()], &["sum up", cancelled], &["user: hi"]);
}

#[test]
fn a_model_that_fails_ends_the_run_at_every_point() {
    let fails = || Input::Stopped(model::Error::Unauthorized.into());
    let failed = "fail: the model provider refused the gateway's credentials";
    check(vec![fails()], &["ask", failed], &["user: hi"]);
    check(
        vec![calls("a"), returns(0, "1"), fails()],
        &["ask", "call a@0", "ask again", failed],
        &["user: hi", "assistant:  (a)", "tool a: 1"],
    );
    check_with(full(), vec![fails()], &["sum up", failed], &["user: hi"]);
}

/// A run whose transcript leaves no room.
fn full() -> Machine {
    let long = "x".repeat(20_000);
    let mut conversation = Conversation::new(vec![user(&long), user(&long)], 0);
    conversation.push(user("hi"));
    Machine::new(conversation, LIMITS, ROOM)
}

#[test]
fn a_full_conversation_is_summed_up_before_the_model_is_asked() {
    check_with(
        full(),
        vec![Input::SummedUp("short".to_owned()), says("hello")],
        &["sum up", "ask", "finish Stop"],
        &["user: hi", "summary", "assistant: hello"],
    );
    // Between two questions too: a tool may have said much.
    let long = "x".repeat(40_000);
    check(
        vec![calls("a"), returns(0, &long), says("ok")],
        // There is nothing much before it that could go.
        &["ask", "call a@0", "ask again", "finish Stop"],
        &["user: hi", "assistant:  (a)", &format!("tool a: {long}"), "assistant: ok"],
    );
    let twice = vec![calls("a"), returns(0, &long), calls("b"), returns(0, "1"), Input::SummedUp("short".to_owned())];
    check(
        twice,
        &["ask", "call a@0", "ask again", "call b@0", "sum up", "ask again"],
        &["user: hi", "assistant:  (a)", &format!("tool a: {long}"), "assistant:  (b)", "tool b: 1", "summary"],
    );
}

#[test]
fn without_a_summary_the_model_is_asked_all_the_same() {
    let fails = || Input::NotSummedUp;
    check_with(
        full(),
        vec![fails(), calls("a"), returns(0, "1"), says("hello")],
        &["sum up", "ask", "call a@0", "ask again", "finish Stop"],
        &["user: hi", "assistant:  (a)", "tool a: 1", "assistant: hello"],
    );
}

#[test]
fn calls_that_are_announced_and_not_made_end_it_as_a_text_does() {
    check(
        vec![answered("hello", "", FinishReason::ToolCalls)],
        &["ask", "finish Stop"],
        &["user: hi", "assistant: hello"],
    );
}

#[test]
fn a_conversation_that_is_too_long_is_shortened_once() {
    let half = || {
        let text = "x".repeat(8_000);
        let mut conversation = Conversation::new(vec![user(&text), user(&text)], 0);
        conversation.push(user("hi"));
        Machine::new(conversation, LIMITS, ROOM)
    };
    let too_long = "fail: the conversation is longer than the model can take: too long";
    check_with(
        half(),
        vec![overflows(), Input::SummedUp("short".to_owned()), says("hello")],
        &["ask", "sum up", "ask", "finish Stop"],
        &["user: hi", "summary", "assistant: hello"],
    );
    check_with(
        half(),
        vec![overflows(), Input::SummedUp("short".to_owned()), overflows()],
        &["ask", "sum up", "ask", too_long],
        &["user: hi", "summary"],
    );
    check_with(half(), vec![overflows(), Input::NotSummedUp], &["ask", "sum up", too_long], &["user: hi"]);
    // One message cannot be made shorter.
    check(vec![overflows()], &["ask", too_long], &["user: hi"]);
}

#[test]
fn what_does_not_fit_the_state_ends_the_run() {
    let fault = "fail: the agent runner met a fault of its own";
    check(vec![returns(0, "1")], &["ask", fault], &["user: hi"]);
    check(vec![calls("a"), returns(1, "1")], &["ask", "call a@0", fault], &["user: hi", "assistant:  (a)"]);
    check(
        vec![calls("a b"), returns(0, "1"), returns(0, "1")],
        &["ask", "call a@0 b@1", "wait", fault],
        &["user: hi", "assistant:  (a b)"],
    );
    check(vec![says("x"), says("y")], &["ask", "finish Stop", fault], &["user: hi", "assistant: x"]);
}
