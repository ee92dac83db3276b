//! Runs that want a turn while another has it.

use std::task::Poll;

use proto::session::v1::BeginTurnRequest;
use session_store::SessionConfig;
use tokio::task::JoinSet;
use tonic::Code;

use crate::database::{Database, arrive, asks, asks_now, refused};

/// As many as one line holds.
const LINE: usize = 32;

pub(crate) async fn whoever_will_not_wait_is_told_at_once(database: Database) {
    let store = database.open().await;
    store.begin(asks("key", "run-1")).await.unwrap();
    let message = refused(store.begin(asks_now("key", "run-2")).await, Code::ResourceExhausted);
    assert!(message.starts_with("session busy: waited "), "{message}");
    store.begin(asks_now("another key", "run-2")).await.unwrap();
}

pub(crate) async fn nobody_waits_longer_than_asked_or_configured(database: Database) {
    let store = database.open_with(SessionConfig { wait_ms: 50, ..SessionConfig::default() }).await;
    store.begin(asks("key", "run-1")).await.unwrap();
    refused(store.begin(asks("key", "run-2")).await, Code::ResourceExhausted);
    refused(store.begin(BeginTurnRequest { wait_ms: 1, ..asks("key", "run-2") }).await, Code::ResourceExhausted);
}

pub(crate) async fn turns_come_in_the_order_of_arrival(database: Database) {
    let store = database.open().await;
    let holder = store.begin(asks("key", "holder")).await.unwrap();
    let mut runs = JoinSet::new();
    let run_ids: Vec<_> = (1..LINE).map(|number| format!("run-{number}")).collect();
    for run_id in run_ids.clone() {
        let waiting = store.begin_and_wait(asks("key", &run_id)).await;
        let store = store.clone();
        runs.spawn(async move {
            let begun = waiting.await.unwrap();
            store.commit(&begun, &run_id, &[&run_id]).await.unwrap();
        });
    }
    store.commit(&holder, "holder", &["holder"]).await.unwrap();
    runs.join_all().await;
    assert_eq!(store.transcript("key").await[1..], run_ids);
}

pub(crate) async fn a_free_lease_is_left_to_who_came_first(database: Database) {
    let store = database.open().await;
    let holder = store.begin(asks("key", "holder")).await.unwrap();
    let first = store.begin_and_wait(asks("key", "first")).await;
    store.commit(&holder, "holder", &["holder"]).await.unwrap();
    refused(store.begin(asks_now("key", "pushy")).await, Code::ResourceExhausted);
    first.await.unwrap();
}

pub(crate) async fn whoever_hangs_up_leaves_the_line(database: Database) {
    let store = database.open().await;
    let holder = store.begin(asks("key", "holder")).await.unwrap();
    let first = store.begin_and_wait(asks("key", "first")).await;
    let second = store.begin_and_wait(asks("key", "second")).await;
    let third = store.begin_and_wait(asks("key", "third")).await;
    drop(second);
    drop(first);
    store.commit(&holder, "holder", &["holder"]).await.unwrap();
    third.await.unwrap();
}

pub(crate) async fn a_lease_that_nobody_is_there_to_take_is_given_back(database: Database) {
    let store = database.open().await;
    for number in 0..20 {
        let mut gone = store.begin(asks("key", &format!("gone-{number}")));
        let _ = arrive(&mut gone).await;
        let next = tokio::spawn(store.begin(asks("key", "next")));
        drop(gone);
        let next = next.await.unwrap().unwrap();
        store.abandon(&next).await.unwrap();
    }
}

pub(crate) async fn a_full_line_takes_nobody(database: Database) {
    let store = database.open().await;
    store.begin(asks("key", "holder")).await.unwrap();
    let mut line = Vec::new();
    for number in 0..LINE {
        line.push(store.begin_and_wait(asks("key", &format!("run-{number}"))).await);
    }
    let message = refused(store.begin(asks("key", "late")).await, Code::ResourceExhausted);
    assert!(message.contains("too many"), "{message}");
    store.begin(asks_now("key", "holder")).await.unwrap();
    drop(line.pop());
    store.line_has("key", 31).await;
    line.push(store.begin_and_wait(asks("key", "late")).await);
}

pub(crate) async fn the_run_that_holds_the_lease_passes_the_line(database: Database) {
    let store = database.open().await;
    store.begin(asks("key", "holder")).await.unwrap();
    let waiting = store.begin_and_wait(asks("key", "waiting")).await;
    let holder = store.begin(asks("key", "holder")).await.unwrap();
    store.commit(&holder, "holder", &["holder"]).await.unwrap();
    assert_eq!(waiting.await.unwrap().message_count, 1);
}

pub(crate) async fn abandon_reset_and_deletion_call_the_next(database: Database) {
    let store = database.open().await;
    let first = store.begin(asks("key", "run-1")).await.unwrap();
    let second = store.begin_and_wait(asks("key", "run-2")).await;
    let third = store.begin_and_wait(asks("key", "run-3")).await;
    let fourth = store.begin_and_wait(asks("key", "run-4")).await;
    store.abandon(&first).await.unwrap();
    second.await.unwrap();
    store.reset("key").await.unwrap();
    third.await.unwrap();
    store.delete("key").await.unwrap();
    fourth.await.unwrap();
}

pub(crate) async fn a_commit_through_one_store_lets_a_run_wait_at_another(database: Database) {
    let (one, another) = (database.open().await, database.open().await);
    let holder = one.begin(asks("key", "holder")).await.unwrap();
    refused(another.begin(asks_now("key", "waiting")).await, Code::ResourceExhausted);
    let waiting = another.begin_and_wait(asks("key", "waiting")).await;
    one.commit(&holder, "holder", &["holder"]).await.unwrap();
    assert_eq!(waiting.await.unwrap().message_count, 1);
    refused(one.begin(asks_now("key", "late")).await, Code::ResourceExhausted);
}

pub(crate) async fn draining_sends_those_who_wait_away(database: Database) {
    let store = database.open().await;
    let holder = store.begin(asks("key", "holder")).await.unwrap();
    let waiting = store.begin_and_wait(asks("key", "waiting")).await;
    store.service.drain();
    refused(waiting.await, Code::Unavailable);
    refused(store.begin(asks("key", "late")).await, Code::Unavailable);
    store.commit(&holder, "holder", &["holder"]).await.unwrap();
}

pub(crate) async fn shutdown_finishes_what_was_taken(database: Database) {
    let store = database.open().await;
    let holder = store.begin(asks("key", "holder")).await.unwrap();
    let mut commit = Box::pin(store.commit(&holder, "holder", &["kept"]));
    let arrived = arrive(&mut commit).await;
    store.service.shutdown().await;
    let committed = match arrived {
        Poll::Ready(committed) => committed,
        Poll::Pending => commit.await,
    };
    assert_eq!(committed.unwrap(), 1);
    refused(store.begin(asks("key", "late")).await, Code::Unavailable);
    refused(store.get("key").await, Code::Unavailable);
    store.service.shutdown().await;

    assert_eq!(database.open().await.transcript("key").await, ["kept"]);
}
