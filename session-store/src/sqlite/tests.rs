//! What the contract suite cannot see: files, query plans, one write spoiling another's transaction, and trouble.

mod log;
mod trouble;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use proto::session::v1::{Message, Session, Usage};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::{BUSY_TIMEOUT, Sqlite, schema, sessions, transcript};
use crate::{
    Error,
    config::Reset,
    store::{BeginTurn, Begun, Claim, Direction, SessionsPage, Store},
};

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![rusqlite::types::Null; explain.parameter_count()];
    let rows = explain.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail")).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn open(path: &Path) -> Result<Sqlite, Error> {
    Sqlite::open(path.to_owned(), 100).await
}

async fn begin(sqlite: &Sqlite, session_key: &str) -> Result<Begun, Error> {
    let begin = BeginTurn {
        session_key: session_key.into(),
        agent_id: "main".to_owned(),
        run_id: "run".to_owned(),
        runner: String::new(),
        reset: Reset::NEVER,
        window_messages: 10,
        lease_ms: 1000,
    };
    sqlite.claim_turn(Arc::new(begin), Claim::FreeOrOwn).await
}

#[test]
fn what_is_read_is_searched_by_index_and_never_sorted() {
    let folder = folder();
    let path = folder.path().join("sessions.db");
    schema::create(&path).unwrap();
    let connection = schema::open(&path, BUSY_TIMEOUT).unwrap().reading;
    let check = |sql: &str, expected: &str| assert_eq!(plan(&connection, sql), [expected], "{sql}");
    check(transcript::WINDOW, "SEARCH messages USING PRIMARY KEY (session=?)");
    check(transcript::OLDEST_FIRST, "SEARCH messages USING PRIMARY KEY (session=? AND seq>?)");
    check(transcript::NEWEST_FIRST, "SEARCH messages USING PRIMARY KEY (session=? AND seq<?)");

    for (direction, comparison) in [(Direction::OldestFirst, '>'), (Direction::NewestFirst, '<')] {
        let page = |agent_id| SessionsPage { namespace: None, agent_id, limit: 20, direction, after: None };
        let all = format!("SEARCH sessions USING INDEX sessions_by_update (updated_at_ms{comparison}?)");
        check(&sessions::list_sql(&page(None)), &all);
        let one = format!("SEARCH sessions USING INDEX sessions_by_agent (agent_id=? AND updated_at_ms{comparison}?)");
        check(&sessions::list_sql(&page(Some("main".to_owned()))), &one);
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let folder = folder();
    let state = folder.path().join("made/for it");
    let sqlite = open(&state.join("sessions.db")).await.unwrap();
    begin(&sqlite, "key").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[tokio::test]
async fn a_write_that_the_database_refuses_spoils_no_other() {
    let folder = folder();
    let sqlite = open(&folder.path().join("sessions.db")).await.unwrap();
    let refused = || {
        sqlite
            .writer
            .write("test", |write| Ok(write.transaction().execute("INSERT INTO nowhere DEFAULT VALUES", [])?))
    };
    // All are queued before the first is answered, so they share transactions.
    let (first, wrong, second, wrong_too) =
        tokio::join!(begin(&sqlite, "one"), refused(), begin(&sqlite, "another"), refused());
    assert!(matches!(first, Ok(Begun::Granted(_))));
    assert!(matches!(second, Ok(Begun::Granted(_))));
    assert!(matches!((wrong, wrong_too), (Err(Error::Database(_)), Err(Error::Database(_)))));
    sqlite.get_session("one".to_owned()).await.unwrap();
    sqlite.get_session("another".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_newer_layout_is_refused_with_the_reason() {
    let folder = folder();
    let newer = folder.path().join("newer.db");
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    assert!(matches!(open(&newer).await, Err(Error::NewerLayout { found: 1000, .. })));
}

#[tokio::test]
async fn a_file_of_the_first_layout_keeps_its_sessions() {
    let folder = folder();
    let path = folder.path().join("old.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("migrations/1.sql")).unwrap();
    let (session_id, message) = (Uuid::now_v7(), Message::default());
    old.execute(
        "INSERT INTO sessions (session_key, session_id, agent_id, created_at_ms, updated_at_ms, message_count,
            prompt_tokens, lease_token)
        VALUES ('key', ?, 'main', 1000, 2000, 2, 30, 7)",
        [session_id],
    )
    .unwrap();
    for seq in [1, 2] {
        old.execute(
            "INSERT INTO messages (session, seq, role, run_id, created_at_ms, body) VALUES (1, ?, 'user', 'old', 2000, ?)",
            rusqlite::params![seq, prost::Message::encode_to_vec(&message)],
        )
        .unwrap();
    }
    old.execute("INSERT INTO turns (session, run_id, lease_token, last_seq) VALUES (1, 'old', 7, 2)", []).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);

    let sqlite = open(&path).await.unwrap();
    let session = sqlite.get_session("key".to_owned()).await.unwrap();
    let expected = Session {
        session_key: "key".to_owned(),
        session_id: session_id.to_string(),
        agent_id: "main".to_owned(),
        created_at_ms: 1000,
        updated_at_ms: 2000,
        message_count: 2,
        usage: Some(Usage { prompt_tokens: 30, ..Default::default() }),
        turn_in_flight: None,
    };
    assert_eq!(session, expected);
    let page = |namespace: &str| SessionsPage {
        namespace: Some(namespace.to_owned()),
        agent_id: None,
        limit: 20,
        direction: Direction::NewestFirst,
        after: None,
    };
    assert_eq!(sqlite.list_sessions(page("")).await.unwrap().sessions, [expected]);
    let Ok(Begun::Granted(grant)) = begin(&sqlite, "key").await else { panic!("nobody has the lease") };
    let turn = grant.accept();
    assert_eq!((turn.lease.session_id, turn.message_count), (session_id, 2));
    assert!(turn.lease.token > 7, "{:?}", turn.lease);
    assert_eq!(turn.messages().unwrap(), [message.clone(), message]);
}
