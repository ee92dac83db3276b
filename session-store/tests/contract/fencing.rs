//! Leases that are lost: whoever had them can write no more.

use proto::session::v1::{BeginTurnRequest, Usage};
use tonic::Code;

use crate::database::{Database, LONG_MS, asks, asks_now, lease, refused};

pub(crate) async fn the_same_run_takes_its_lease_over_and_the_old_one_is_refused(database: Database) {
    let store = database.open().await;
    let old = store.begin(asks("key", "run-1")).await.unwrap();
    let new = store.begin(asks_now("key", "run-1")).await.unwrap();
    assert!(lease(&new).token > lease(&old).token);

    refused(store.commit(&old, "run-1", &["old"]).await, Code::FailedPrecondition);
    refused(store.renew(&old, LONG_MS).await, Code::FailedPrecondition);
    store.commit(&new, "run-1", &["new"]).await.unwrap();
    refused(store.commit(&old, "run-1", &["old"]).await, Code::FailedPrecondition);
    assert_eq!(store.transcript("key").await, ["new"]);
}

pub(crate) async fn an_expired_lease_goes_to_who_waits_and_is_refused_from_then_on(database: Database) {
    let store = database.open().await;
    let old = store.begin(BeginTurnRequest { lease_ms: 50, ..asks("key", "run-1") }).await.unwrap();
    let new = store.begin(asks("key", "run-2")).await.unwrap();
    assert!(lease(&new).token > lease(&old).token);

    refused(store.renew(&old, LONG_MS).await, Code::FailedPrecondition);
    refused(store.commit(&old, "run-1", &["old"]).await, Code::FailedPrecondition);
    store.commit(&new, "run-2", &["new"]).await.unwrap();
    refused(store.commit(&old, "run-1", &["old"]).await, Code::FailedPrecondition);
    assert_eq!(store.transcript("key").await, ["new"]);
}

pub(crate) async fn an_expired_lease_that_nobody_took_still_commits(database: Database) {
    let store = database.open().await;
    let expired = store.begin(BeginTurnRequest { lease_ms: 1, ..asks("key", "run-1") }).await.unwrap();
    // Waiting for a lease of the same length that was taken later outlasts the first.
    store.begin(BeginTurnRequest { lease_ms: 1, ..asks("clock", "run-2") }).await.unwrap();
    store.begin(asks("clock", "run-3")).await.unwrap();
    assert_eq!(store.commit(&expired, "run-1", &["late"]).await.unwrap(), 1);
}

pub(crate) async fn a_renewed_lease_lasts_longer(database: Database) {
    let store = database.open().await;
    let begun = store.begin(BeginTurnRequest { lease_ms: 50, ..asks("key", "run-1") }).await.unwrap();
    assert_eq!(store.renew(&begun, LONG_MS).await.unwrap(), LONG_MS);
    let other = store.begin(BeginTurnRequest { wait_ms: 100, ..asks("key", "run-2") }).await;
    refused(other, Code::ResourceExhausted);
    assert_eq!(store.renew(&begun, 0).await.unwrap(), 30_000);
    store.commit(&begun, "run-1", &["one"]).await.unwrap();
    refused(store.renew(&begun, LONG_MS).await, Code::FailedPrecondition);
}

pub(crate) async fn a_lease_that_was_given_back_is_refused(database: Database) {
    let store = database.open().await;
    let begun = store.begin(asks("key", "run-1")).await.unwrap();
    store.abandon(&begun).await.unwrap();
    refused(store.commit(&begun, "run-1", &["late"]).await, Code::FailedPrecondition);
    refused(store.renew(&begun, LONG_MS).await, Code::FailedPrecondition);
    let again = store.begin(asks_now("key", "run-1")).await.unwrap();
    store.commit(&again, "run-1", &["again"]).await.unwrap();
    assert_eq!(store.transcript("key").await, ["again"]);
}

pub(crate) async fn a_lost_lease_gives_back_nothing_of_the_next(database: Database) {
    let store = database.open().await;
    let old = store.begin(asks("key", "run-1")).await.unwrap();
    let new = store.begin(asks("key", "run-1")).await.unwrap();
    store.abandon(&old).await.unwrap();
    refused(store.begin(asks_now("key", "run-2")).await, Code::ResourceExhausted);
    store.commit(&new, "run-1", &["one"]).await.unwrap();
    store.abandon(&new).await.unwrap();
}

pub(crate) async fn a_reset_refuses_the_turn_in_flight_and_forgets_the_transcript(database: Database) {
    let store = database.open().await;
    store.turn("key", "run-1", &["one"]).await;
    let old = store.begin(asks("key", "run-2")).await.unwrap();
    let session = store.reset("key").await.unwrap();
    assert_ne!(session.session_id, lease(&old).session_id);
    assert_eq!(session.agent_id, "main");
    assert_eq!((session.message_count, session.usage), (0, Some(Usage::default())));

    refused(store.commit(&old, "run-2", &["two"]).await, Code::FailedPrecondition);
    refused(store.renew(&old, LONG_MS).await, Code::FailedPrecondition);
    store.abandon(&old).await.unwrap();
    assert_eq!(store.get("key").await.unwrap(), session);
    assert!(store.transcript("key").await.is_empty());

    let new = store.begin(asks_now("key", "run-2")).await.unwrap();
    assert_eq!((&lease(&new).session_id, new.messages.len()), (&session.session_id, 0));
    store.commit(&new, "run-2", &["two"]).await.unwrap();
    assert_eq!(store.transcript("key").await, ["two"]);
}

pub(crate) async fn a_deletion_refuses_the_turn_in_flight(database: Database) {
    let store = database.open().await;
    store.turn("key", "run-1", &["one"]).await;
    let old = store.begin(asks("key", "run-2")).await.unwrap();
    store.delete("key").await.unwrap();
    refused(store.get("key").await, Code::NotFound);
    refused(store.commit(&old, "run-2", &["two"]).await, Code::FailedPrecondition);
    store.abandon(&old).await.unwrap();

    let new = store.turn("key", "run-1", &["one, again"]).await;
    assert_ne!(lease(&new).session_id, lease(&old).session_id);
    refused(store.commit(&old, "run-2", &["two"]).await, Code::FailedPrecondition);
    assert_eq!(store.transcript("key").await, ["one, again"]);
}

pub(crate) async fn a_commit_for_another_run_is_refused(database: Database) {
    let store = database.open().await;
    let begun = store.begin(asks("key", "run-1")).await.unwrap();
    refused(store.commit(&begun, "run-2", &["two"]).await, Code::FailedPrecondition);
    store.commit(&begun, "run-1", &["one"]).await.unwrap();
    refused(store.commit(&begun, "run-2", &["two"]).await, Code::FailedPrecondition);
    assert_eq!(store.transcript("key").await, ["one"]);
}
