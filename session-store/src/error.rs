//! What can go wrong, and the one place that turns it into what a caller sees.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use shared::config;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::postgres::advice;

/// Why the store could not be opened, or why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The database URL names no database that this program can open.
    #[error(
        "services.sessionStore.database: the URL {0}; use sqlite:<path>, for example sqlite:/var/lib/sessions.db, \
         or postgres://<user>:<password>@<host>:<port>/<database>"
    )]
    Url(String),
    /// The database file or its folder cannot be made.
    #[error("cannot create {}", path.display())]
    Create {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database file cannot be found or looked at.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A later version of this program has changed the database's layout.
    #[error("the database has layout {found}, but this program knows only up to {known}; use a newer program")]
    NewerLayout {
        /// The layout in the file.
        found: usize,
        /// The newest layout that this program knows.
        known: usize,
    },
    /// The request breaks the contract.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as a path.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key has no session.
    #[error("no session has this key")]
    NotFound,
    /// The write came under a lease that is not the session's any more.
    #[error("the lease was lost: another run took the turn over, or it ended, or the session was reset or deleted")]
    LeaseLost,
    /// The run asks for a turn that it has already committed.
    #[error("the run has already committed its turn")]
    AlreadyCommitted,
    /// Another run held the lease for as long as the caller would wait.
    #[error("session busy: waited {} ms for another run's turn", waited.as_millis())]
    Busy {
        /// How long.
        waited: Duration,
    },
    /// As many wait as may.
    #[error("session busy: waited 0 ms, as too many turns wait already")]
    LineFull,
    /// The store is shutting down.
    #[error("the session store is shutting down")]
    Closed,
    /// The database cannot be used now, which is in the log already.
    #[error("the session database is unavailable: {0}")]
    Unavailable(String),
    /// The database file failed.
    #[error("the database failed")]
    Database(#[source] Arc<rusqlite::Error>),
    /// The database server refused a statement.
    #[error("the database failed")]
    Postgres(#[from] tokio_postgres::Error),
    /// A stored message cannot be read back.
    #[error("a stored message cannot be read")]
    Corrupt(#[from] prost::DecodeError),
}

impl Error {
    /// Whether the database failed, rather than what was asked of it.
    pub(crate) fn is_of_the_database(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::Open { .. }
            | Self::NewerLayout { .. }
            | Self::Unavailable(_)
            | Self::Database(_)
            | Self::Postgres(_)
            | Self::Corrupt(_) => true,
            Self::Config(_)
            | Self::Url(_)
            | Self::Invalid { .. }
            | Self::NotFound
            | Self::LeaseLost
            | Self::AlreadyCommitted
            | Self::Busy { .. }
            | Self::LineFull
            | Self::Closed => false,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<Error> for Status {
    /// Internals go to the log, here and only here; the caller sees what it can act on.
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid { field, reason } => {
                let details = ErrorDetails::with_bad_request_violation(field, reason);
                Status::with_error_details(Code::InvalidArgument, message, details)
            }
            Error::NotFound => Status::not_found(message),
            Error::LeaseLost => Status::failed_precondition(message),
            Error::AlreadyCommitted => Status::already_exists(message),
            Error::Busy { .. } | Error::LineFull => Status::resource_exhausted(message),
            Error::Closed => shared::transport::draining("the session store is shutting down"),
            Error::Unavailable(reason) => {
                tracing::debug!(reason, "the session database is unavailable");
                Status::unavailable("the session database is unavailable")
            }
            // Whoever has the database open has logged it, once and not for every call.
            Error::Database(error) => {
                tracing::debug!(%error, "the session database failed");
                Status::unavailable("the session database is unavailable")
            }
            Error::Postgres(error) => {
                let reason = advice::in_full(&error);
                tracing::error!(reason, advice = advice::of(&error), "the session database failed");
                Status::unavailable("the session database is unavailable")
            }
            Error::Corrupt(error) => {
                let advice = "restore the database from a backup, or delete the session";
                tracing::error!(%error, advice, "a stored message cannot be read");
                Status::unavailable("the session cannot be read")
            }
            Error::Config(_)
            | Error::Url(_)
            | Error::Create { .. }
            | Error::Open { .. }
            | Error::NewerLayout { .. } => {
                tracing::error!(%error, "the session database cannot be opened");
                Status::unavailable("the session database is unavailable")
            }
        }
    }
}
