//! Sessions in a database file, for one machine.
//!
//! One thread writes, and commits whatever has come in together; another reads beside it. Other processes may have the
//! same file open: the leases are rows, so they hold for all.

mod schema;
mod sessions;
mod transcript;
mod turns;
mod worker;
mod writer;

use std::{path::PathBuf, sync::Arc};

use proto::session::v1::{CommitTurnResponse, ListMessagesResponse, ListSessionsResponse, Session};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{
    Error,
    store::{BeginTurn, Begun, Claim, CommitTurn, Grant, Lease, MessagesPage, SessionsPage},
};
use worker::{Jobs, Worker};
use writer::Writer;

/// An open database file.
pub(crate) struct Sqlite {
    // Dropped in this order: the connection that is closed last tidies the file up.
    reader: Worker<Read>,
    writer: Writer,
}

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

impl Sqlite {
    /// Opens the file, which is made if there is none. `released` hears of every session whose lease is free again.
    pub(crate) async fn open(path: PathBuf, released: impl Fn(&str) + Send + 'static) -> Result<Self, Error> {
        let opening = tokio::task::spawn_blocking(move || schema::open(&path));
        let schema::Connections { writing, reading } = opening.await.map_err(|_| Error::Closed)??;
        Ok(Self {
            reader: Worker::spawn("sqlite-reader", move |jobs| read(reading, &jobs)),
            writer: Writer::spawn(writing, released),
        })
    }

    /// Takes the session's lease if the claim allows it. A grant that the caller isn't there to take is given back.
    pub(crate) async fn begin_turn(&self, begin: Arc<BeginTurn>, claim: Claim) -> Result<Begun, Error> {
        let queue = self.writer.queue();
        let grant = move |begun, room| match begun {
            Begun::Busy { expires_in } => Begun::Busy { expires_in },
            Begun::Granted(turn) => Begun::Granted(Grant::new(turn, move |lease| {
                queue.submit(move |write| turns::abandon(write, lease), |_| drop(room));
            })),
        };
        self.writer.write_then(move |write| turns::begin(write, &begin, claim), grant).await
    }

    pub(crate) async fn renew_lease(&self, lease: Lease, lease_ms: u64) -> Result<(), Error> {
        self.writer.write(move |write| turns::renew(write, lease, lease_ms)).await
    }

    pub(crate) async fn commit_turn(&self, commit: CommitTurn) -> Result<CommitTurnResponse, Error> {
        self.writer.write(move |write| turns::commit(write, &commit)).await
    }

    pub(crate) async fn abandon_turn(&self, lease: Lease) -> Result<(), Error> {
        self.writer.write(move |write| turns::abandon(write, lease)).await
    }

    pub(crate) async fn reset_session(&self, session_key: String) -> Result<Session, Error> {
        self.writer.write(move |write| sessions::reset(write, &session_key)).await
    }

    pub(crate) async fn delete_session(&self, session_key: String) -> Result<(), Error> {
        self.writer.write(move |write| sessions::delete(write, &session_key)).await
    }

    pub(crate) async fn get_session(&self, session_key: String) -> Result<Session, Error> {
        self.read(move |connection| sessions::get(connection, &session_key)).await
    }

    pub(crate) async fn list_sessions(&self, page: SessionsPage) -> Result<ListSessionsResponse, Error> {
        self.read(move |connection| sessions::list(connection, &page)).await
    }

    pub(crate) async fn list_messages(&self, page: MessagesPage) -> Result<ListMessagesResponse, Error> {
        self.read(move |connection| transcript::list(connection, &page)).await
    }

    /// Finishes what was taken, then closes the file.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Reads one state of the database, whatever is written meanwhile.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let queue = self.reader.queue();
        let room = queue.room().await?;
        let (answer, answered) = oneshot::channel();
        queue.send(Box::new(move |connection| {
            let _room = room;
            if !answer.is_closed() {
                let outcome = connection.transaction().map_err(Error::from).and_then(|snapshot| work(&snapshot));
                // The caller may be gone, and nothing is lost with it.
                let _ = answer.send(outcome);
            }
        }));
        answered.await.map_err(|_| Error::Closed)?
    }
}

fn read(mut connection: Connection, jobs: &Jobs<Read>) {
    while let Some(job) = jobs.next() {
        job(&mut connection);
    }
}

#[cfg(test)]
mod tests;
