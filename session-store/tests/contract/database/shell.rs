//! A second way into a database, for what the service has no call for.

use std::{path::PathBuf, sync::Arc};

use tokio_postgres::Client;

/// A connection that reads and writes beside the store.
#[derive(Clone)]
pub(crate) enum Shell {
    Sqlite(PathBuf),
    Postgres(Arc<Client>),
}

impl Shell {
    /// Runs statements that both databases understand.
    pub(crate) async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres(client) => client.batch_execute(sql).await.unwrap(),
        }
    }

    /// Asks for a number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        match self {
            Self::Sqlite(path) => {
                rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Self::Postgres(client) => client.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    /// The ticket of the last in line, 0 when nobody is there; `None` where the line is not in the database, and
    /// whoever is polled once is in it.
    pub(super) async fn newest_ticket(&self, session_key: &str) -> Option<i64> {
        let sql = "SELECT coalesce(max(ticket), 0) FROM waiters WHERE session_key = $1";
        self.of_line(sql, session_key).await
    }

    pub(super) async fn line_length(&self, session_key: &str) -> Option<i64> {
        self.of_line("SELECT count(*) FROM waiters WHERE session_key = $1", session_key).await
    }

    async fn of_line(&self, sql: &str, session_key: &str) -> Option<i64> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(client) => Some(client.query_one(sql, &[&session_key]).await.unwrap().get(0)),
        }
    }
}
