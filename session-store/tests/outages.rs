//! What a PostgreSQL server that goes away and comes back does to the store, which is never restarted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{path::Path, process::Command};

use proto::session::v1::{
    BeginTurnRequest, BeginTurnResponse, CommitTurnRequest, GetSessionRequest, Message, Part, Role, Session,
    part::Kind, session_store_client::SessionStoreClient,
};
use session_store::{Config, Service, SessionConfig};
use shared::transport::{self, Transport};
use tempfile::TempDir;
use tonic::{Code, Status};

/// A server of the test's own, stopped when this is dropped.
struct Cluster {
    folder: TempDir,
    url: String,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = control("start", folder.path(), &[]);
        Self { folder, url }
    }

    fn stop(&self) {
        control("stop", self.folder.path(), &[]);
    }

    fn restart(&self) {
        control("restart", self.folder.path(), &[]);
    }

    /// The server forgets what it had not written.
    fn crash(&self) {
        control("restart", self.folder.path(), &["immediate"]);
    }

    async fn open(&self) -> Store {
        let config = Config::new(self.url.parse().unwrap(), SessionConfig::default());
        let service = config.build().await.unwrap();
        Store { client: SessionStoreClient::new(transport::local(service.server())), service }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn control(command: &str, folder: &Path, more: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres-cluster");
    let output = Command::new(script).arg(command).arg(folder).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[derive(Clone)]
struct Store {
    client: SessionStoreClient<Transport>,
    service: Service,
}

impl Store {
    async fn begin(&self, run_id: &str) -> Result<BeginTurnResponse, Status> {
        let request = BeginTurnRequest {
            session_key: "key".to_owned(),
            run_id: run_id.to_owned(),
            wait_ms: 30_000,
            lease_ms: 60_000,
            ..BeginTurnRequest::default()
        };
        Ok(self.client.clone().begin_turn(request).await?.into_inner())
    }

    async fn commit(&self, turn: &BeginTurnResponse, run_id: &str) -> Result<u64, Status> {
        let part = Part { kind: Some(Kind::Text(run_id.to_owned())) };
        let request = CommitTurnRequest {
            lease: turn.lease.clone(),
            run_id: run_id.to_owned(),
            messages: vec![Message { role: Role::User.into(), parts: vec![part], ..Message::default() }],
            ..CommitTurnRequest::default()
        };
        Ok(self.client.clone().commit_turn(request).await?.into_inner().last_seq)
    }

    async fn get(&self) -> Result<Session, Status> {
        let request = GetSessionRequest { session_key: "key".to_owned() };
        Ok(self.client.clone().get_session(request).await?.into_inner().session.unwrap())
    }

    /// Returns the first answer that is not that the database is out of reach.
    async fn get_once_reached(&self) -> Result<Session, Status> {
        loop {
            match self.get().await {
                Err(status) if status.code() == Code::Unavailable => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_used_once_it_is_up() {
    let cluster = Cluster::start();
    cluster.stop();
    let store = cluster.open().await;
    assert_eq!(store.get().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(store.begin("run-1").await.unwrap_err().code(), Code::Unavailable);

    cluster.restart();
    assert_eq!(store.get_once_reached().await.unwrap_err().code(), Code::NotFound);
    let turn = store.begin("run-1").await.unwrap();
    assert_eq!(store.commit(&turn, "run-1").await.unwrap(), 1);
    store.service.shutdown().await;
}

#[tokio::test]
async fn a_committed_turn_survives_a_crash_and_its_lease_is_never_given_again() {
    let cluster = Cluster::start();
    let store = cluster.open().await;
    let mut last = store.begin("run-0").await.unwrap();
    for number in 0..3 {
        store.commit(&last, &format!("run-{number}")).await.unwrap();
        cluster.crash();
        assert_eq!(store.get_once_reached().await.unwrap().message_count, number + 1);
        // This may be forgotten by the next crash, and the next token is higher all the same.
        let forgotten = store.begin("forgotten").await.unwrap();
        cluster.crash();
        store.get_once_reached().await.unwrap();
        let again = store.begin("forgotten").await.unwrap();
        let token = |turn: &BeginTurnResponse| turn.lease.as_ref().unwrap().token;
        assert!(token(&again) > token(&forgotten) && token(&forgotten) > token(&last));
        assert_eq!(store.commit(&forgotten, "forgotten").await.unwrap_err().code(), Code::FailedPrecondition);
        let lease = again.lease.clone();
        store.client.clone().abandon_turn(proto::session::v1::AbandonTurnRequest { lease }).await.unwrap();
        last = store.begin(&format!("run-{}", number + 1)).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_waits_while_the_server_crashes_still_has_the_turn() {
    let cluster = Cluster::start();
    let (one, another) = (cluster.open().await, cluster.open().await);
    let holder = one.begin("holder").await.unwrap();
    let waiting = tokio::spawn(async move { another.begin("waiting").await });
    let (client, connection) = tokio_postgres::connect(&cluster.url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    while client.query_one("SELECT count(*) FROM clawdbot.waiters", &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    // The lease has to outlive the crash, so it waits for the disk.
    client.execute("CHECKPOINT", &[]).await.unwrap();
    cluster.crash();
    connection.await.unwrap().unwrap_err();
    let committed = loop {
        match one.commit(&holder, "holder").await {
            Err(status) if status.code() == Code::Unavailable => tokio::task::yield_now().await,
            answer => break answer,
        }
    };
    assert_eq!(committed.unwrap(), 1);
    assert_eq!(waiting.await.unwrap().unwrap().message_count, 1);
}
