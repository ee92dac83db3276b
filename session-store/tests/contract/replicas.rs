//! Stores that share a database behave as one, whichever of them dies.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Code;

use crate::database::{Database, asks, asks_now, lease, refused};

pub(crate) async fn turns_come_in_the_order_of_arrival_whichever_replica_they_wait_at(database: Database) {
    let replicas = [database.open().await, database.open().await, database.open().await];
    let holder = replicas[0].begin(asks("key", "holder")).await.unwrap();
    let mut runs = JoinSet::new();
    let run_ids: Vec<_> = (0..12).map(|number| format!("run-{number}")).collect();
    for (number, run_id) in run_ids.iter().cloned().enumerate() {
        let replica = replicas[number % replicas.len()].clone();
        let waiting = replica.begin_and_wait(asks("key", &run_id)).await;
        runs.spawn(async move {
            let begun = waiting.await.unwrap();
            replica.commit(&begun, &run_id, &[&run_id]).await.unwrap();
        });
    }
    refused(replicas[1].begin(asks_now("key", "pushy")).await, Code::ResourceExhausted);
    replicas[0].commit(&holder, "holder", &["holder"]).await.unwrap();
    runs.join_all().await;
    assert_eq!(replicas[2].transcript("key").await[1..], run_ids);
}

pub(crate) async fn a_replica_that_dies_first_in_line_blocks_nobody(database: Database) {
    let living = database.open().await;
    let holder = living.begin(asks("key", "holder")).await.unwrap();

    // The replica is gone with its runtime, and leaves its place in line behind.
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let replica = {
        let _its_own = dying.enter();
        database.open().await
    };
    let waiting = replica.begin_and_wait(asks("key", "dying")).await;
    dying.shutdown_background();
    drop((waiting, replica));
    let second = living.begin_and_wait(asks("key", "second")).await;
    assert_eq!(database.shell.number("SELECT count(*) FROM waiters").await, 2);

    living.commit(&holder, "holder", &["holder"]).await.unwrap();
    refused(living.begin(asks_now("key", "pushy")).await, Code::ResourceExhausted);
    database
        .shell
        .execute("UPDATE waiters SET expires_at_ms = 1 WHERE ticket = (SELECT min(ticket) FROM waiters)")
        .await;
    assert_eq!(second.await.unwrap().message_count, 1);
}

pub(crate) async fn a_replica_that_dies_with_the_lease_blocks_until_it_expires(database: Database) {
    let (one, another) = (database.open().await, database.open().await);
    let lost = one.begin(asks("key", "lost")).await.unwrap();
    drop(one);
    let waiting = another.begin_and_wait(asks("key", "waiting")).await;
    database.shell.execute("UPDATE sessions SET lease_expires_at_ms = 1").await;
    let begun = waiting.await.unwrap();
    assert!(lease(&begun).token > lease(&lost).token);
    refused(another.commit(&lost, "lost", &["late"]).await, Code::FailedPrecondition);
}

pub(crate) async fn replicas_that_start_at_once_make_one_layout(database: Database) {
    database.shell.execute("DROP SCHEMA clawdbot CASCADE").await;
    let (one, two, three) = tokio::join!(database.open(), database.open(), database.open());
    for (run_id, store) in [("run-1", one), ("run-2", two), ("run-3", three)] {
        store.turn("key", run_id, &[run_id]).await;
    }
    assert_eq!(database.shell.number("SELECT count(*) FROM layout").await, 1);
}

pub(crate) async fn a_newer_layout_is_refused(database: Database) {
    database.shell.execute("UPDATE layout SET version = 1000").await;
    let opening = tokio::time::timeout(Duration::from_secs(60), database.try_open()).await.unwrap();
    let error = opening.err().expect("the layout is not known");
    assert!(error.to_string().starts_with("the database has layout 1000, "), "{error}");
}
