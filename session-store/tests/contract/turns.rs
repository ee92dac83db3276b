//! Turns that follow each other.

use proto::session::v1::{BeginTurnRequest, ListMessagesRequest, Role, Usage};
use shared::transport::MAX_MESSAGE_BYTES;
use tonic::Code;

use crate::database::{Database, asks, lease, message, refused, texts, tool_call, tool_result, user};

pub(crate) async fn a_turn_begins_with_what_the_turns_before_it_committed(database: Database) {
    let store = database.open().await;
    let first = store.begin(asks("key", "run-1")).await.unwrap();
    assert_eq!((first.messages.len(), first.message_count, first.lease_ms), (0, 0, 60_000));
    assert_eq!(store.commit(&first, "run-1", &["hi", "hello"]).await.unwrap(), 2);

    let second = store.turn("key", "run-2", &["how are you"]).await;
    assert_eq!(second.messages, [user("hi"), user("hello")]);
    assert_eq!(second.message_count, 2);
    assert_eq!(lease(&second).session_id, lease(&first).session_id);
    assert!(lease(&second).token > lease(&first).token);
    assert_eq!(store.transcript("key").await, ["hi", "hello", "how are you"]);

    let elsewhere = store.begin(asks("another key", "run-3")).await.unwrap();
    assert_eq!(elsewhere.message_count, 0);
    assert_ne!(lease(&elsewhere).session_id, lease(&first).session_id);
}

pub(crate) async fn an_abandoned_turn_leaves_nothing(database: Database) {
    let store = database.open().await;
    let first = store.begin(asks("key", "run-1")).await.unwrap();
    store.abandon(&first).await.unwrap();
    let second = store.begin(asks("key", "run-2")).await.unwrap();
    assert_eq!(second.message_count, 0);
    let session = store.get("key").await.unwrap();
    assert_eq!((session.message_count, session.updated_at_ms), (0, session.created_at_ms));
}

pub(crate) async fn a_repeated_commit_changes_nothing_and_answers_the_same(database: Database) {
    let store = database.open().await;
    let begun = store.begin(asks("key", "run-1")).await.unwrap();
    assert_eq!(store.commit(&begun, "run-1", &["one", "two"]).await.unwrap(), 2);
    assert_eq!(store.commit(&begun, "run-1", &["one", "two"]).await.unwrap(), 2);
    store.turn("key", "run-2", &["three"]).await;
    assert_eq!(store.commit(&begun, "run-1", &["one", "two"]).await.unwrap(), 2);

    assert_eq!(store.transcript("key").await, ["one", "two", "three"]);
    assert_eq!(store.get("key").await.unwrap().usage.unwrap().prompt_tokens, 20);
}

pub(crate) async fn a_run_that_has_committed_cannot_begin_again(database: Database) {
    let store = database.open().await;
    store.turn("key", "run-1", &["one"]).await;
    refused(store.begin(asks("key", "run-1")).await, Code::AlreadyExists);
    let holder = store.begin(asks("key", "run-2")).await.unwrap();
    refused(store.begin(asks("key", "run-1")).await, Code::AlreadyExists);
    store.commit(&holder, "run-2", &["two"]).await.unwrap();
    assert_eq!(store.transcript("key").await, ["one", "two"]);
}

pub(crate) async fn the_window_ends_with_the_newest_message_and_never_starts_with_a_tool_message(database: Database) {
    let store = database.open().await;
    let transcript = [
        user("question"),
        tool_call("1"),
        tool_result("1"),
        tool_result("2"),
        message(Role::Assistant, "answer"),
        user("thanks"),
    ];
    let begun = store.begin(asks("key", "run-0")).await.unwrap();
    store.commit_messages(&begun, "run-0", transcript.to_vec()).await.unwrap();

    for (limit, start) in [(1, 5), (2, 4), (3, 4), (4, 4), (5, 1), (6, 0), (7, 0), (0, 0)] {
        let request = BeginTurnRequest { window_messages: limit, ..asks("key", "run-1") };
        let begun = store.begin(request).await.unwrap();
        assert_eq!(begun.messages, transcript[start..], "window of {limit}");
        assert_eq!(begun.message_count, 6);
    }
}

pub(crate) async fn large_messages_come_back_and_bound_the_window(database: Database) {
    let store = database.open().await;
    let large = user(&"x".repeat(MAX_MESSAGE_BYTES / 2 - 100));
    for run_id in ["run-1", "run-2"] {
        let begun = store.begin(asks("key", run_id)).await.unwrap();
        store.commit_messages(&begun, run_id, vec![large.clone()]).await.unwrap();
    }
    let begun = store.begin(asks("key", "run-3")).await.unwrap();
    assert!(begun.messages == [large], "{} messages", begun.messages.len());
    assert_eq!(begun.message_count, 2);

    let larger = user(&"x".repeat(MAX_MESSAGE_BYTES / 2 + 100));
    refused(store.commit_messages(&begun, "run-3", vec![larger]).await, Code::InvalidArgument);

    let request = ListMessagesRequest { session_key: "key".to_owned(), ..ListMessagesRequest::default() };
    let page = store.client.clone().list_messages(request).await.unwrap().into_inner();
    assert_eq!((page.messages.len(), page.has_more), (1, true));
}

pub(crate) async fn usage_adds_up(database: Database) {
    let store = database.open().await;
    store.turn("key", "run-1", &["one"]).await;
    store.turn("key", "run-2", &["two"]).await;
    let expected = Usage { prompt_tokens: 20, completion_tokens: 10, cached_tokens: 6, reasoning_tokens: 2 };
    assert_eq!(store.get("key").await.unwrap().usage, Some(expected));
}

pub(crate) async fn committed_turns_survive_a_restart(database: Database) {
    let store = database.open().await;
    let first = store.turn("key", "run-1", &["one"]).await;
    let before = store.get("key").await.unwrap();
    store.service.shutdown().await;
    drop(store);

    let store = database.open().await;
    assert_eq!(store.get("key").await.unwrap(), before);
    assert_eq!(store.commit(&first, "run-1", &["one"]).await.unwrap(), 1);
    let second = store.begin(asks("key", "run-2")).await.unwrap();
    assert_eq!(texts(&second.messages), ["one"]);
    assert!(lease(&second).token > lease(&first).token);
}
