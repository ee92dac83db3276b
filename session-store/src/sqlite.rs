//! Sessions in a database file, for one machine.
//!
//! One thread writes, and commits whatever has come in together; another reads beside it. Other processes may have the
//! same file open: the leases are rows, so they hold for all.

mod file;
mod line;
mod reader;
mod runs;
mod schema;
mod sessions;
mod transcript;
mod trouble;
mod turns;
mod waiting;
mod worker;
mod writer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use proto::session::v1::{CommitTurnResponse, ListMessagesResponse, ListSessionsResponse, Run, Session};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    store::{BeginTurn, Begun, Claim, CommitTurn, Grant, Lease, MessagesPage, PutRun, SessionsPage, Store, Turn},
};
use file::{Access, DatabaseFile, Side};
use line::Lines;
use reader::Reader;
use writer::{Write, Writer};

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file, and the threads that use it; the last of them closes it.
pub(crate) struct Sqlite {
    reader: Reader,
    writer: Writer,
    lines: Arc<Lines>,
    draining: CancellationToken,
}

impl Sqlite {
    /// Opens the file, which is made if there is none; if it cannot be opened yet, calls fail until it can. Of
    /// `max_calls` at a time, some may wait.
    pub(crate) async fn open(path: PathBuf, max_calls: usize) -> Result<Self, Error> {
        Self::open_with(path, max_calls, BUSY_TIMEOUT).await
    }

    async fn open_with(path: PathBuf, max_calls: usize, busy_timeout: Duration) -> Result<Self, Error> {
        let opening = tokio::task::spawn_blocking(move || DatabaseFile::open(path, busy_timeout));
        let file = Arc::new(opening.await.map_err(|_| Error::Closed)??);
        let lines = Arc::new(Lines::new(max_calls));
        let released = lines.clone();
        Ok(Self {
            reader: Reader::spawn(Access::new(file.clone(), Side::Reading)),
            writer: Writer::spawn(Access::new(file, Side::Writing), move |session_key: &str| {
                released.call_first(session_key);
            }),
            lines,
            draining: CancellationToken::new(),
        })
    }

    /// Takes the session's lease if the claim allows it. A grant that the caller isn't there to take is given back.
    async fn claim_turn(&self, begin: Arc<BeginTurn>, claim: Claim) -> Result<Begun, Error> {
        let queue = self.writer.queue();
        let grant = move |begun, room| match begun {
            Begun::Busy { expires_in } => Begun::Busy { expires_in },
            Begun::Granted(turn) => Begun::Granted(Grant::new(turn, move |lease| {
                queue.submit(move |write| turns::abandon(write, lease), |_| drop(room));
            })),
        };
        self.writer.write_then("begin_turn", move |write| turns::begin(write, &begin, claim), grant).await
    }
}

#[tonic::async_trait]
impl Store for Sqlite {
    async fn begin_turn(&self, begin: BeginTurn, wait: Duration) -> Result<Turn, Error> {
        waiting::begin(self, &self.lines, begin, wait, &self.draining).await
    }

    async fn renew_lease(&self, lease: Lease, lease_ms: u64) -> Result<(), Error> {
        self.writer.write("renew_lease", move |write| turns::renew(write, lease, lease_ms)).await
    }

    async fn commit_turn(&self, commit: CommitTurn) -> Result<CommitTurnResponse, Error> {
        self.writer.write("commit_turn", move |write| turns::commit(write, &commit)).await
    }

    async fn abandon_turn(&self, lease: Lease) -> Result<(), Error> {
        self.writer.write("abandon_turn", move |write| turns::abandon(write, lease)).await
    }

    async fn reset_session(&self, session_key: String) -> Result<Session, Error> {
        self.writer.write("reset_session", move |write| sessions::reset(write, &session_key)).await
    }

    async fn delete_session(&self, session_key: String) -> Result<(), Error> {
        self.writer.write("delete_session", move |write| sessions::delete(write, &session_key)).await
    }

    async fn get_session(&self, session_key: String) -> Result<Session, Error> {
        self.reader.read("get_session", move |read| sessions::get(read, &session_key, writer::now_ms(read)?)).await
    }

    async fn list_sessions(&self, page: SessionsPage) -> Result<ListSessionsResponse, Error> {
        self.reader.read("list_sessions", move |read| sessions::list(read, &page, writer::now_ms(read)?)).await
    }

    async fn list_messages(&self, page: MessagesPage) -> Result<ListMessagesResponse, Error> {
        self.reader.read("list_messages", move |read| transcript::list(read, &page)).await
    }

    async fn put_run(&self, put: PutRun) -> Result<Run, Error> {
        self.writer.write("put_run", move |write| runs::put(write, &put)).await
    }

    async fn get_run(&self, run_id: String) -> Result<Run, Error> {
        self.reader.read("get_run", move |read| runs::get(read, &run_id, writer::now_ms(read)?)).await
    }

    async fn prune(&self, ttl_ms: Option<u64>) -> Result<bool, Error> {
        self.writer.write("prune", move |write| prune(write, ttl_ms)).await
    }

    fn drain(&self) {
        self.draining.cancel();
    }

    async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Deletes a little of everything, so that the turns which come meanwhile hardly wait.
fn prune(write: &Write<'_>, ttl_ms: Option<u64>) -> Result<bool, Error> {
    const RUNS_AT_ONCE: usize = 64;
    let has_more_messages = transcript::prune(write)?;
    let has_more_runs = runs::prune(write, RUNS_AT_ONCE)? == RUNS_AT_ONCE;
    let has_more_sessions = match ttl_ms {
        Some(ttl_ms) => sessions::prune(write, ttl_ms)?,
        None => false,
    };
    Ok(has_more_messages || has_more_runs || has_more_sessions)
}

#[cfg(test)]
mod tests;
