//! Runs whose turn is committed already.

use proto::{
    agent::v1::{FinishReason, Finished, run_event::Kind},
    session::v1::{Message, Role, TurnEnd, Usage},
};

use super::{
    fakes::{Begins, Call, FakeStore, Script, runner},
    message, request, run,
};

#[tokio::test]
async fn a_run_that_moves_after_its_turn_was_committed_is_told_from_the_session() {
    let usage = Usage { prompt_tokens: 7, completion_tokens: 3, ..Usage::default() };
    let end = TurnEnd { reason: FinishReason::Length.into(), usage: Some(usage) };
    let transcript = vec![
        message(Role::User, "hi"),
        message(Role::Assistant, "let me see"),
        Message { turn_end: Some(end), ..message(Role::Assistant, "it is 7") },
    ];
    let store = FakeStore { begins: Begins::Committed, newest_run: "r1", transcript, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, Script::of([]));
    let events = run(&mut client, request("r1")).await;
    let told: Vec<_> = events.into_iter().filter(|kind| !matches!(kind, Kind::Started(_))).collect();
    let finished = Finished { reason: FinishReason::Length.into(), usage: Some(usage) };
    assert_eq!(told, [Kind::TextDelta("let me see\n\nit is 7".to_owned()), Kind::Finished(finished)]);
    assert_eq!(store.calls(), [Call::Begin]);
    let (mut client, _service) = runner(&FakeStore { newest_run: "r2", ..store }, Script::of([]));
    let events = run(&mut client, request("r1")).await;
    assert!(matches!(events.last(), Some(Kind::Failed(_))), "of another turn nothing is told: {events:?}");
}
