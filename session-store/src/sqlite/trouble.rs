//! What is wrong with the database: said in the log once, with what to do about it.

use std::{
    error::Error as _,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::{
    ErrorCode,
    ffi::{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE},
};

use crate::Error;

/// How long nothing must have failed until it counts as mended: on a full disk a short write may follow a long one that
/// failed, and then a line for each would fill the log, too.
const QUIET: Duration = Duration::from_secs(10);

/// What has failed since it last was well.
pub(super) struct Trouble {
    path: PathBuf,
    said: Vec<Kind>,
    failed_at: Option<Instant>,
}

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    DiskFull,
    Locked,
    Corrupt,
    Forbidden,
    Gone,
    Disk,
    NewerLayout,
    Other,
}

impl Trouble {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, said: Vec::new(), failed_at: None }
    }

    /// Logs each kind of error once until all is well.
    pub(super) fn failed(&mut self, error: &Error) {
        self.failed_at = Some(Instant::now());
        let kind = Kind::of(error);
        if self.said.contains(&kind) {
            return;
        }
        self.said.push(kind);
        let reason = reason(error);
        tracing::error!(path = %self.path.display(), reason, advice = kind.advice(), "the session database failed");
    }

    /// Something worked, which may be luck.
    pub(super) fn worked(&mut self) {
        if self.failed_at.is_some_and(|failed_at| failed_at.elapsed() >= QUIET) {
            self.end();
        }
    }

    /// All is well.
    pub(super) fn end(&mut self) {
        if self.failed_at.take().is_some() {
            self.said.clear();
            tracing::info!(path = %self.path.display(), "the session database works again");
        }
    }
}

impl Kind {
    fn of(error: &Error) -> Self {
        match error {
            Error::Database(error) => match error.sqlite_error() {
                Some(error) => Self::of_sqlite(*error),
                None => Self::Other,
            },
            Error::Create { source, .. } | Error::Open { source, .. } => Self::of_io(source),
            Error::NewerLayout { .. } => Self::NewerLayout,
            Error::Config(_)
            | Error::Url(_)
            | Error::Invalid { .. }
            | Error::NotFound
            | Error::LeaseLost
            | Error::AlreadyCommitted
            | Error::Busy { .. }
            | Error::LineFull
            | Error::Closed
            | Error::Unavailable(_)
            | Error::Postgres(_)
            | Error::Corrupt(_) => Self::Other,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds are no file's")]
    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => Self::Forbidden,
            _ => Self::Disk,
        }
    }

    fn of_sqlite(error: rusqlite::ffi::Error) -> Self {
        match (error.code, error.extended_code) {
            // The index of the write-ahead log is made when the file is opened, and is the first to find the disk full.
            (ErrorCode::DiskFull, _) | (_, SQLITE_IOERR_SHMSIZE) => Self::DiskFull,
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed, _) => {
                Self::Locked
            }
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Self::Corrupt,
            (ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied, _)
            | (_, SQLITE_IOERR_SHMOPEN | SQLITE_IOERR_SHMMAP) => Self::Forbidden,
            (ErrorCode::SystemIoFailure, _) => Self::Disk,
            _ => Self::Other,
        }
    }

    /// What whoever reads the log can do; none of it needs a restart, except a newer program.
    fn advice(self) -> &'static str {
        match self {
            Self::DiskFull => "free space on the disk that the file is on, or raise its quota",
            Self::Locked => {
                "another program keeps the file locked: find it, for example with `fuser` or `lsof`, and end it"
            }
            Self::Corrupt => {
                "move the file away together with its -wal and its -shm, if there are any, and rename a backup, or what \
                 `sqlite3`'s .recover makes of them, into its place; never copy over a file that is in use"
            }
            Self::Forbidden => {
                "check that this user may write the file and its folder, that the path is right, and that the file \
                 system is not mounted read-only"
            }
            Self::Gone => {
                "rename the file or a backup of it into its place, or make an empty file there to begin anew; until \
                 then this program keeps a deleted file open, and it can be copied with its -wal from /proc/PID/fd"
            }
            Self::Disk => "check the disk: its space and quota, its mount, and the system's log",
            Self::NewerLayout => "use a newer program, or rename a backup with an older layout into the file's place",
            Self::Other => "if it persists, report it with this line",
        }
    }
}

/// The error with what caused it.
pub(super) fn reason(error: &Error) -> String {
    match (error, error.source()) {
        (Error::Unavailable(reason), _) => reason.clone(),
        (_, Some(source)) => format!("{error}: {source}"),
        (_, None) => error.to_string(),
    }
}
