//! A database in trouble: what callers are told, what the log says, and that it works again once the trouble is gone.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use proto::session::v1::{
    BeginTurnRequest, BeginTurnResponse, CommitTurnRequest, ListMessagesRequest, Message, Order, Part, Role,
    part::Kind, session_store_client::SessionStoreClient,
};
use rusqlite::Connection;
use shared::transport::{self, Transport};
use tempfile::TempDir;
use tonic::{Code, Status};

use super::{super::Sqlite, log};
use crate::{Error, Service, SessionConfig, store::Store as _};

const PAGE: usize = 4096;

/// A store whose database gets into trouble.
struct Store {
    client: SessionStoreClient<Transport>,
    service: Service,
    path: PathBuf,
}

impl Store {
    async fn open(path: &Path) -> Self {
        log::keep();
        let sqlite = Sqlite::open_with(path.to_owned(), 100, Duration::from_millis(50)).await.unwrap();
        let service = Service::new(std::sync::Arc::new(sqlite), SessionConfig::default(), 100);
        let client = SessionStoreClient::new(transport::local(service.server()));
        Self { client, service, path: path.to_owned() }
    }

    async fn begin(&self, key: &str, run_id: &str) -> Result<BeginTurnResponse, Status> {
        let request = BeginTurnRequest {
            session_key: key.to_owned(),
            agent_id: "main".to_owned(),
            run_id: run_id.to_owned(),
            ..BeginTurnRequest::default()
        };
        Ok(self.client.clone().begin_turn(request).await?.into_inner())
    }

    async fn commit(&self, begun: BeginTurnResponse, run_id: &str, texts: &[String]) -> Result<(), Status> {
        let message = |text: &String| {
            let part = Part { kind: Some(Kind::Text(text.clone())) };
            Message { role: Role::User.into(), parts: vec![part], ..Message::default() }
        };
        let request = CommitTurnRequest {
            lease: begun.lease,
            run_id: run_id.to_owned(),
            messages: texts.iter().map(message).collect(),
            ..CommitTurnRequest::default()
        };
        self.client.clone().commit_turn(request).await.map(drop)
    }

    /// Takes a turn whose only message is the name of its run.
    async fn turn(&self, key: &str, run_id: &str) -> Result<(), Status> {
        let begun = self.begin(key, run_id).await?;
        self.commit(begun, run_id, &[run_id.to_owned()]).await
    }

    async fn transcript(&self, key: &str) -> Result<Vec<String>, Status> {
        let request = ListMessagesRequest {
            session_key: key.to_owned(),
            limit: 1000,
            order: Order::Ascending.into(),
            after_seq: 0,
        };
        let page = self.client.clone().list_messages(request).await?.into_inner();
        let text = |message: Message| match message.parts.into_iter().next().unwrap().kind {
            Some(Kind::Text(text)) => text,
            other => panic!("{other:?}"),
        };
        Ok(page.messages.into_iter().map(|message| text(message.message.unwrap())).collect())
    }

    /// The session's transcript, once the database works again.
    async fn mended(&self, key: &str) -> Result<Vec<String>, Status> {
        let mended = async {
            loop {
                match self.transcript(key).await {
                    Err(status) if status.code() == Code::Unavailable => {}
                    outcome => return outcome,
                }
                // Nobody says when the next try is due.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), mended).await.expect("a mended database works again")
    }

    /// How often the log has given this advice.
    fn advised(&self, advice: &str) -> usize {
        let lines = log::about(&self.path);
        lines.iter().filter(|line| line.contains("ERROR") && line.contains(advice)).count()
    }
}

#[track_caller]
fn unavailable<T>(outcome: Result<T, Status>) {
    let status = outcome.err().expect("the database is in trouble");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the session database is unavailable"));
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    (folder, path)
}

/// Makes a file with two sessions, the turn of one of which is long; says what that is.
async fn make(path: &Path) -> Vec<String> {
    let store = Store::open(path).await;
    store.turn("short", "first").await.unwrap();
    let texts: Vec<_> = (0..200).map(|number| format!("message {number} {}", "-".repeat(300))).collect();
    let begun = store.begin("long", "run").await.unwrap();
    store.commit(begun, "run", &texts).await.unwrap();
    store.service.shutdown().await;
    texts
}

fn backup(path: &Path) -> PathBuf {
    let backup = path.with_extension("backup");
    Connection::open(path).unwrap().execute("VACUUM INTO ?", [backup.to_str()]).unwrap();
    backup
}

fn spoil(path: &Path, offset: usize) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xff; PAGE], offset as u64).unwrap();
}

#[tokio::test]
async fn a_full_disk_keeps_nothing_of_a_turn_until_there_is_space() {
    let (_folder, path) = folder();
    log::keep();
    let sqlite = Sqlite::open_with(path.clone(), 100, Duration::from_millis(50)).await.unwrap();
    let allow_pages = |pages: i64| {
        sqlite
            .writer
            .write("test", move |write| Ok(write.transaction().pragma_update(None, "max_page_count", pages)?))
    };
    // SQLite raises this to what the file has already.
    allow_pages(1).await.unwrap();
    let long_key = "k".repeat(100_000);
    for _ in 0..3 {
        unavailable(super::begin(&sqlite, &long_key).await.map_err(Status::from));
    }
    assert!(matches!(sqlite.get_session(long_key.clone()).await, Err(Error::NotFound)));
    assert_eq!(log::about(&path).iter().filter(|line| line.contains("free space on the disk")).count(), 1);

    allow_pages(1000).await.unwrap();
    assert!(super::begin(&sqlite, &long_key).await.is_ok());
    sqlite.get_session(long_key).await.unwrap();
}

#[tokio::test]
async fn a_locked_file_can_be_read_and_is_written_once_it_is_free() {
    let (_folder, path) = folder();
    let store = Store::open(&path).await;
    store.turn("key", "first").await.unwrap();
    let begun = store.begin("key", "second").await.unwrap();

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for _ in 0..3 {
        unavailable(store.commit(begun.clone(), "second", &["second".to_owned()]).await);
    }
    assert_eq!(store.transcript("key").await.unwrap(), ["first"]);
    assert_eq!(store.advised("another program keeps the file locked"), 1);

    other.execute_batch("ROLLBACK").unwrap();
    store.commit(begun, "second", &["second".to_owned()]).await.unwrap();
    assert_eq!(store.transcript("key").await.unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn a_locked_file_can_be_opened_later() {
    let (_folder, path) = folder();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let store = Store::open(&path).await;
    unavailable(store.turn("key", "first").await);
    unavailable(store.transcript("key").await);
    assert_eq!(store.advised("another program keeps the file locked"), 1);

    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.mended("key").await.unwrap_err().code(), Code::NotFound);
    store.turn("key", "first").await.unwrap();
    assert_eq!(store.transcript("key").await.unwrap(), ["first"]);
}

#[tokio::test]
async fn a_corrupt_page_costs_only_what_is_on_it_until_a_backup_is_in_its_place() {
    let (_folder, path) = folder();
    let texts = make(&path).await;
    let backup = backup(&path);
    let bytes = fs::read(&path).unwrap();
    let place = bytes.windows(12).position(|window| window == b"message 150 ").unwrap();
    spoil(&path, place / PAGE * PAGE);

    let store = Store::open(&path).await;
    for number in 0..3 {
        unavailable(store.transcript("long").await);
        unavailable(store.begin("long", "another").await);
        store.turn("short", &format!("turn {number}")).await.unwrap();
    }
    assert_eq!(store.transcript("short").await.unwrap(), ["first", "turn 0", "turn 1", "turn 2"]);
    // Once for what was read, and once for what was to be written.
    assert_eq!(store.advised("rename a backup"), 2);

    fs::rename(backup, &path).unwrap();
    assert_eq!(store.mended("long").await.unwrap(), texts);
    store.turn("short", "second").await.unwrap();
    assert_eq!(store.transcript("short").await.unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn a_corrupt_file_is_opened_once_a_backup_is_in_its_place() {
    let (_folder, path) = folder();
    let texts = make(&path).await;
    let backup = backup(&path);
    spoil(&path, 0);

    let store = Store::open(&path).await;
    unavailable(store.turn("short", "second").await);
    unavailable(store.transcript("long").await);
    assert_eq!(store.advised("rename a backup"), 1);

    fs::rename(backup, &path).unwrap();
    assert_eq!(store.mended("long").await.unwrap(), texts);
    store.turn("short", "second").await.unwrap();
    assert_eq!(store.transcript("short").await.unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn a_backup_that_replaces_the_file_is_what_counts_from_then_on() {
    let (_folder, path) = folder();
    let store = Store::open(&path).await;
    store.turn("key", "first").await.unwrap();
    let backup = backup(&path);
    store.turn("key", "lost").await.unwrap();
    let late = store.begin("key", "late").await.unwrap();

    let old = path.with_extension("old");
    fs::rename(&path, &old).unwrap();
    fs::rename(backup, &path).unwrap();
    assert_eq!(store.commit(late, "late", &["late".to_owned()]).await.unwrap_err().code(), Code::FailedPrecondition);
    assert!(log::about(&path).iter().any(|line| line.contains("WARN") && line.contains("file was replaced")));
    store.turn("key", "second").await.unwrap();
    assert_eq!(store.transcript("key").await.unwrap(), ["first", "second"]);
    store.service.shutdown().await;

    // Nothing of one file's write-ahead log got into the other.
    for (path, expected) in [(&path, ["first", "second"]), (&old, ["first", "lost"])] {
        let connection = Connection::open(path).unwrap();
        let checked: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(checked, "ok", "{}", path.display());
        drop(connection);
        assert_eq!(Store::open(path).await.transcript("key").await.unwrap(), expected, "{}", path.display());
    }
}

#[tokio::test]
async fn side_files_that_are_deleted_take_nothing_with_them() {
    let (folder, path) = folder();
    let store = Store::open(&path).await;
    store.turn("key", "first").await.unwrap();
    for side_file in ["sessions.db-wal", "sessions.db-shm"] {
        fs::remove_file(folder.path().join(side_file)).unwrap();
    }
    store.turn("key", "second").await.unwrap();

    // Whoever opens the files now sees all that was committed, although nothing was closed.
    assert_eq!(Store::open(&path).await.transcript("key").await.unwrap(), ["first", "second"]);
    assert_eq!(store.transcript("key").await.unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn a_file_that_is_gone_is_missed_until_it_is_back() {
    let (_folder, path) = folder();
    let store = Store::open(&path).await;
    store.turn("key", "first").await.unwrap();
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    for _ in 0..3 {
        unavailable(store.turn("key", "second").await);
        unavailable(store.transcript("key").await);
    }
    assert_eq!(store.advised("rename the file or a backup of it into its place"), 1);
    assert!(!path.exists(), "an empty database would hide that the file is gone");

    fs::rename(&away, &path).unwrap();
    store.turn("key", "second").await.unwrap();
    assert_eq!(store.transcript("key").await.unwrap(), ["first", "second"]);

    fs::remove_file(&path).unwrap();
    unavailable(store.turn("key", "third").await);
    fs::write(&path, "").unwrap();
    assert_eq!(store.mended("key").await.unwrap_err().code(), Code::NotFound);
    store.turn("key", "anew").await.unwrap();
    assert_eq!(store.transcript("key").await.unwrap(), ["anew"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_at_first_can_be_made_later() {
    let (folder, _) = folder();
    let state = folder.path().join("state");
    fs::write(&state, "in the way, for root too").unwrap();
    let store = Store::open(&state.join("sessions.db")).await;
    for _ in 0..3 {
        unavailable(store.turn("key", "first").await);
        unavailable(store.transcript("key").await);
    }
    assert_eq!(store.advised("check that this user may write the file and its folder"), 1);

    fs::remove_file(&state).unwrap();
    assert_eq!(store.mended("key").await.unwrap_err().code(), Code::NotFound);
    store.turn("key", "first").await.unwrap();
    assert_eq!(store.transcript("key").await.unwrap(), ["first"]);
}

#[tokio::test]
async fn a_newer_layout_that_comes_later_is_not_touched() {
    let (_folder, path) = folder();
    let store = Store::open(&path).await;
    store.turn("key", "first").await.unwrap();
    let (newer, away) = (path.with_extension("newer"), path.with_extension("away"));
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let bytes = fs::read(&newer).unwrap();
    fs::rename(&path, &away).unwrap();
    fs::rename(&newer, &path).unwrap();
    unavailable(store.turn("key", "second").await);
    assert_eq!(store.advised("use a newer program"), 1);
    assert!(fs::read(&path).unwrap() == bytes);

    fs::rename(&away, &path).unwrap();
    assert_eq!(store.mended("key").await.unwrap(), ["first"]);
    store.turn("key", "second").await.unwrap();
}
