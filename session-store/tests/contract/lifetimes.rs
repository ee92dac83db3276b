//! What time does to sessions: resets by themselves, deletions, and transcripts that lose their oldest messages.

use proto::session::v1::{BeginTurnRequest, BeginTurnResponse, ListMessagesRequest, Order, TranscriptMessage};
use session_store::SessionConfig;
use shared::config::{Document, Environment, Sources};
use tonic::Code;

use crate::database::{Database, Store, asks, asks_now, lease, refused, texts, user};

/// The section `session`, as it is written.
fn session(text: &str) -> SessionConfig {
    let sources = Sources { environment: Environment::from_iter([("HOME", "/")]), ..Sources::default() };
    let text = format!("{{session: {text}}}");
    Document::from_text(&text, "clawdbot.json".as_ref(), &sources).unwrap().section("session").unwrap()
}

async fn messages(store: &Store) -> Vec<TranscriptMessage> {
    let order = Order::Ascending.into();
    let request = ListMessagesRequest { session_key: "key".to_owned(), limit: 1000, order, after_seq: 0 };
    store.client.clone().list_messages(request).await.unwrap().into_inner().messages
}

/// Begins a turn a while after the last one, and says whether the session is another.
async fn is_new_after(database: &Database, store: &Store, minutes: u64) -> bool {
    let before = store.get("key").await.unwrap().session_id;
    let sql = format!("UPDATE sessions SET updated_at_ms = updated_at_ms - {}", minutes * 60_000);
    database.shell.execute(&sql).await;
    let run_id = format!("after-{minutes}");
    let begun = store.begin(asks("key", &run_id)).await.unwrap();
    let is_new = lease(&begun).session_id != before;
    assert_eq!((begun.messages.is_empty(), begun.message_count == 0), (is_new, is_new));
    store.commit(&begun, &run_id, &[&run_id]).await.unwrap();
    is_new
}

pub(crate) async fn a_session_that_idles_too_long_begins_anew(database: Database) {
    let store = database.open_with(session("{reset: {mode: 'idle', idleMinutes: 30}}")).await;
    let first = store.turn("key", "run-1", &["one"]).await;
    assert!(!is_new_after(&database, &store, 29).await);
    assert!(is_new_after(&database, &store, 31).await);
    refused(store.commit(&first, "run-1", &["one"]).await, Code::FailedPrecondition);
    assert_eq!(store.transcript("key").await, ["after-31"]);
}

pub(crate) async fn a_session_of_yesterday_begins_anew(database: Database) {
    let store = database.open_with(session("{reset: {mode: 'daily', atHour: 4}}")).await;
    store.turn("key", "run-1", &["one"]).await;
    assert!(is_new_after(&database, &store, 24 * 60 + 1).await);
}

pub(crate) async fn a_run_that_takes_its_own_lease_over_finds_its_session(database: Database) {
    let store = database.open_with(session("{reset: {mode: 'idle', idleMinutes: 30}}")).await;
    store.turn("key", "run-1", &["one"]).await;
    let held = store.begin(asks("key", "run-2")).await.unwrap();
    database.shell.execute("UPDATE sessions SET updated_at_ms = 1").await;
    let again = store.begin(asks_now("key", "run-2")).await.unwrap();
    assert_eq!((&lease(&again).session_id, texts(&again.messages)), (&lease(&held).session_id, vec!["one".to_owned()]));
}

pub(crate) async fn a_long_transcript_loses_its_oldest_messages(database: Database) {
    let store = database.open_with(SessionConfig { max_messages: 3, ..SessionConfig::default() }).await;
    let first = store.turn("key", "run-1", &["1", "2"]).await;
    store.turn("key", "run-2", &["3", "4"]).await;
    let numbered =
        |messages: Vec<TranscriptMessage>| messages.into_iter().map(|message| message.seq).collect::<Vec<_>>();
    assert_eq!(numbered(messages(&store).await), [2, 3, 4]);
    assert_eq!(store.get("key").await.unwrap().message_count, 3);
    // A turn that is not there in full is not known any more.
    refused(store.commit(&first, "run-1", &["1", "2"]).await, Code::FailedPrecondition);

    let third = store.begin(asks("key", "run-3")).await.unwrap();
    assert_eq!((texts(&third.messages), third.message_count), (vec!["2".into(), "3".into(), "4".into()], 3));
    assert_eq!(store.commit(&third, "run-3", &["5", "6", "7", "8"]).await.unwrap(), 8);
    assert_eq!(numbered(messages(&store).await), [6, 7, 8]);
    // What a turn says of itself outlasts its first message.
    assert_eq!(store.commit(&third, "run-3", &["5", "6", "7", "8"]).await.unwrap(), 8);
}

pub(crate) async fn an_unused_session_is_deleted_but_not_under_a_turn(database: Database) {
    let ttl = SessionConfig { ttl: "1h".parse().unwrap(), prune_interval_ms: 50, ..SessionConfig::default() };
    let store = database.open_with(ttl).await;
    store.turn("held", "run-1", &["one"]).await;
    store.begin(asks("held", "run-2")).await.unwrap();
    store.turn("unused", "run-1", &["one"]).await;
    database.shell.execute("UPDATE sessions SET updated_at_ms = updated_at_ms - 3600001").await;
    while store.get("unused").await.is_ok() {
        tokio::task::yield_now().await;
    }
    refused(store.get("unused").await, Code::NotFound);
    assert_eq!(store.transcript("held").await, ["one"]);
    assert_eq!(database.shell.number("SELECT count(*) FROM messages").await, 1);
}

pub(crate) async fn another_configuration_holds_without_a_restart(database: Database) {
    let forever = SessionConfig { ttl: "never".parse().unwrap(), prune_interval_ms: 50, ..SessionConfig::default() };
    let store = database.open_with(forever).await;
    store.turn("unused", "run-1", &["one", "two"]).await;
    database.shell.execute("UPDATE sessions SET updated_at_ms = updated_at_ms - 3600001").await;
    let changed = SessionConfig {
        ttl: "1h".parse().unwrap(),
        max_messages: 1,
        prune_interval_ms: 50,
        ..SessionConfig::default()
    };
    store.service.reload(database.config(changed));
    while store.get("unused").await.is_ok() {
        tokio::task::yield_now().await;
    }
    store.turn("key", "run-1", &["one", "two"]).await;
    assert_eq!(store.transcript("key").await, ["two"]);
}

async fn fill(store: &Store, count: usize) -> BeginTurnResponse {
    let begun = store.begin(asks("key", "filling")).await.unwrap();
    store.commit_messages(&begun, "filling", vec![user("x"); count]).await.unwrap();
    begun
}

pub(crate) async fn a_huge_transcript_is_deleted_in_steps_and_reaches_no_other_session(database: Database) {
    // Nothing is deleted but at the start, and then on demand.
    let rare = || SessionConfig { prune_interval_ms: 3_600_000, ..SessionConfig::default() };
    let store = database.open_with(rare()).await;
    fill(&store, 3000).await;
    store.delete("key").await.unwrap();
    assert_eq!(database.shell.number("SELECT count(*) FROM messages").await, 2000);

    for session in ["key", "another key"] {
        let begun = store.begin(asks(session, "run-1")).await.unwrap();
        assert_eq!((begun.messages.len(), begun.message_count), (0, 0));
        store.commit(&begun, "run-1", &["new"]).await.unwrap();
        assert_eq!(store.transcript(session).await, ["new"]);
    }
    let store = database.open_with(rare()).await;
    while database.shell.number("SELECT count(*) FROM messages").await > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.transcript("key").await, ["new"]);
    while database.shell.number("SELECT count(*) FROM doomed").await > 0 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn tokens_grow_over_takeovers_resets_and_expiries(database: Database) {
    let store = database.open().await;
    let mut last = 0;
    let mut check = |begun: &BeginTurnResponse| {
        assert!(lease(begun).token > last, "{} after {last}", lease(begun).token);
        last = lease(begun).token;
    };
    check(&store.turn("key", "run-1", &["one"]).await);
    check(&store.begin(asks("key", "run-2")).await.unwrap());
    check(&store.begin(asks("key", "run-2")).await.unwrap());
    store.reset("key").await.unwrap();
    check(&store.begin(asks("key", "run-3")).await.unwrap());
    database.shell.execute("UPDATE sessions SET lease_expires_at_ms = 1").await;
    check(&store.begin(BeginTurnRequest { wait_ms: 0, ..asks("key", "run-4") }).await.unwrap());
}
