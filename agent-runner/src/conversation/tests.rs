//! What a model still sees after a summary, and what not.

use proto::session::v1::ToolCall;

use super::*;

/// A message of about a hundred tokens.
fn message(role: Role, name: &str) -> Message {
    let parts = vec![prompt::text(format!("{name} {}", ".".repeat(380)))];
    Message { role: role.into(), parts, name: name.to_owned(), ..Message::default() }
}

fn conversation(script: &str) -> Conversation {
    Conversation::new(script.split_whitespace().map(parse).collect(), 0)
}

/// `u1` is a user's message, `a1` an assistant's, `c1` one that calls a tool, `t1` a tool's result.
fn parse(name: &str) -> Message {
    match name.as_bytes()[0] {
        b'u' => message(Role::User, name),
        b'a' => message(Role::Assistant, name),
        b'c' => Message { tool_calls: vec![ToolCall::default()], ..message(Role::Assistant, name) },
        b't' => message(Role::Tool, name),
        _ => unreachable!("no such message: {name}"),
    }
}

fn names(messages: &[&Message]) -> String {
    let name = |message: &&Message| if message.compaction.is_some() { "S" } else { &*message.name }.to_owned();
    messages.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn visible(conversation: &Conversation) -> String {
    names(&conversation.visible())
}

#[test]
fn the_oldest_is_summed_up_and_the_newest_kept() {
    let check = |script: &str, keep: u64, summed_up: Option<&str>, left: &str| {
        let mut conversation = conversation(script);
        let found = conversation.to_sum_up(keep).map(|messages| names(&messages));
        assert_eq!(found.as_deref(), summed_up, "{script}, keeping {keep}");
        if found.is_some() {
            conversation.sum_up("summary", keep);
        }
        assert_eq!(visible(&conversation), left, "{script}, keeping {keep}");
    };
    check("u1 a1 u2 a2 u3", 250, Some("u1 a1 u2"), "S a2 u3");
    check("u1 a1 u2", 10_000, None, "u1 a1 u2");
    check("", 250, None, "");
    check("u1", 0, None, "u1");
    // The newest message stays, however long it is.
    check("u1 a1 u2", 0, Some("u1 a1"), "S u2");
    // A result stays with its call, also one of several.
    check("u1 a1 u2 c2 t1 t2", 250, Some("u1 a1 u2"), "S c2 t1 t2");
    check("u1 c1 t1 u2 c2 t2", 250, Some("u1 c1 t1 u2"), "S c2 t2");
}

#[test]
fn a_second_summary_stands_for_the_first_and_what_followed() {
    let mut conversation = conversation("u1 a1 u2 a2");
    conversation.sum_up("first", 250);
    for name in ["u3", "a3", "u4"] {
        conversation.push(parse(name));
    }
    assert_eq!(visible(&conversation), "S u2 a2 u3 a3 u4");
    let to_sum_up = conversation.to_sum_up(450).map(|messages| names(&messages));
    assert_eq!(to_sum_up.as_deref(), Some("S u2"));
    conversation.sum_up("second", 450);
    assert_eq!(visible(&conversation), "S a2 u3 a3 u4");
    conversation.push(parse("a4"));
    assert_eq!(visible(&conversation), "S a2 u3 a3 u4 a4");
    // The first summary, what follows it, and the second; the transcript's four are kept already.
    assert_eq!(names(&conversation.turn().iter().collect::<Vec<_>>()), "S u3 a3 u4 S a4");
}

#[test]
fn what_was_kept_is_seen_again_in_the_next_turn() {
    let mut first = conversation("u1 a1 u2 a2");
    first.push(parse("u3"));
    first.sum_up("summary", 250);
    first.push(parse("a3"));
    let seen = visible(&first);
    assert_eq!(seen, "S a2 u3 a3");
    let next = Conversation::new(first.messages, 0);
    assert_eq!(visible(&next), seen);
    // A window that begins later than what was kept has lost it; the summary is still there.
    let cut = Conversation::new(next.messages[4..].to_vec(), 0);
    assert_eq!(visible(&cut), "S u3 a3");
}

#[test]
fn a_summary_is_repeated_before_it_leaves_the_window() {
    let mut first = conversation("u1 a1 u2");
    first.sum_up("summary", 150);
    for name in ["a2", "u3", "a3"] {
        first.push(parse(name));
    }
    let seen = visible(&first);
    assert_eq!(seen, "S u2 a2 u3 a3");
    let turn = |window: usize| Conversation { messages: first.messages.clone(), ..conversation("") }.into_turn(window);
    // The summary is the fourth from the end: it has left no window of eight.
    assert_eq!(names(&turn(8).iter().collect::<Vec<_>>()), "u1 a1 u2 S a2 u3 a3");
    let repeated = turn(7);
    assert_eq!(names(&repeated.iter().collect::<Vec<_>>()), "u1 a1 u2 S a2 u3 a3 S");
    let next = Conversation::new(repeated, 0);
    assert_eq!(visible(&next), seen);
}

#[test]
fn tokens_are_the_providers_count_and_an_estimate_of_the_rest() {
    let mut conversation = Conversation::new(vec![message(Role::User, "u1")], 1_000);
    let estimate = conversation.tokens();
    assert!((1_090..1_120).contains(&estimate), "{estimate}");
    conversation.push(Message { context_tokens: 5_000, ..message(Role::Assistant, "a1") });
    assert_eq!(conversation.tokens(), 5_000);
    conversation.push(message(Role::User, "u2"));
    let grown = conversation.tokens();
    assert!((5_090..5_120).contains(&grown), "{grown}");
    // After a summary the old count says nothing any more.
    conversation.sum_up("summary", 0);
    let shrunk = conversation.tokens();
    assert!((1_100..1_300).contains(&shrunk), "{shrunk}");
    let room = |context: u64| Room { context, reserve: 100, keep: 0 };
    assert!(conversation.is_full(room(shrunk + 99)));
    assert!(!conversation.is_full(room(shrunk + 100)));
}
