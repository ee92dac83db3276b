//! The database file as both threads use it: opened when it can be, left when it is not to be trusted, and opened again
//! without a restart.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, ffi};

use super::{
    schema::{self, Connections},
    trouble::{Trouble, reason},
};
use crate::Error;

/// Between two openings, so that a file that cannot be opened, or fails as soon as it is, costs little.
const PAUSE: Duration = Duration::from_secs(1);

/// The file, with at most two ways into it.
///
/// The path decides which file that is: what went into one that is open but has lost its name would be lost with it. So
/// nothing is read or written while there is none, and another is opened instead.
pub(super) struct DatabaseFile {
    path: PathBuf,
    busy_timeout: Duration,
    // Dropped in this order: the connection that is closed last tidies the file up. Locked in the other one.
    reading: Mutex<Option<Connection>>,
    writing: Mutex<Option<Connection>>,
    state: Mutex<State>,
}

/// One thread's way into the file.
pub(super) struct Access {
    file: Arc<DatabaseFile>,
    side: Side,
    trouble: Trouble,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Reading,
    Writing,
}

/// Which files are at the path and beside it, by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Files {
    database: (u64, u64),
    /// The write-ahead log; there is one while the database is open.
    log: Option<(u64, u64)>,
}

struct State {
    /// The files that are open.
    files: Option<Files>,
    /// Whether any was, so that one which is missing now is missed.
    was_open: bool,
    /// Something failed that opening the file anew may mend.
    is_suspect: bool,
    opened_at: Option<Instant>,
    refused: Option<(Instant, String)>,
    trouble: Trouble,
}

impl DatabaseFile {
    /// Opens the file, which is made if there is none. If that fails, the log says why, and it is tried again when the
    /// file is needed; only a later program's layout is refused for good.
    pub(super) fn open(path: PathBuf, busy_timeout: Duration) -> Result<Self, Error> {
        let state = State {
            files: None,
            was_open: false,
            is_suspect: false,
            opened_at: None,
            refused: None,
            trouble: Trouble::new(path.clone()),
        };
        let (reading, writing) = (Mutex::default(), Mutex::default());
        let file = Self { path, busy_timeout, reading, writing, state: Mutex::new(state) };
        match file.reopen() {
            Err(error @ Error::NewerLayout { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(file),
        }
    }

    /// Waits for the side's connection, to the file that is at the path now.
    fn connection(&self, side: Side) -> Result<MutexGuard<'_, Option<Connection>>, Error> {
        loop {
            let connection = lock(match side {
                Side::Reading => &self.reading,
                Side::Writing => &self.writing,
            });
            if self.is_current()? {
                return Ok(connection);
            }
            drop(connection);
            self.reopen()?;
        }
    }

    /// Whether what is open can go on being used.
    fn is_current(&self) -> Result<bool, Error> {
        let mut state = lock(&self.state);
        let Some(files) = state.files else { return Ok(false) };
        let found = Files::at(&self.path).inspect_err(|error| state.trouble.failed(error))?;
        let is_due = state.is_suspect && state.opened_at.is_none_or(|opened_at| opened_at.elapsed() >= PAUSE);
        if found != files || is_due {
            return Ok(false);
        }
        state.trouble.end();
        Ok(true)
    }

    fn reopen(&self) -> Result<(), Error> {
        // Both are closed before either is opened: two files of one name share the file that SQLite keeps its locks in,
        // but not the locks.
        let (mut writing, mut reading) = (lock(&self.writing), lock(&self.reading));
        if self.is_current()? {
            return Ok(());
        }
        let mut state = lock(&self.state);
        if let Some((refused_at, reason)) = &state.refused
            && refused_at.elapsed() < PAUSE
        {
            return Err(Error::Unavailable(reason.clone()));
        }
        *reading = None;
        match self.open_anew(&state, &mut writing) {
            Ok((connections, files)) => {
                (*writing, *reading) = (Some(connections.writing), Some(connections.reading));
                if state.files.is_some_and(|before| before.database != files.database) {
                    let path = self.path.display();
                    tracing::warn!(%path, "the session database's file was replaced: sessions go on from what is in the new one");
                }
                state.files = Some(files);
                state.was_open = true;
                state.is_suspect = false;
                state.opened_at = Some(Instant::now());
                state.refused = None;
                state.trouble.end();
                Ok(())
            }
            Err(error) => {
                // A connection that could not be left is left at the next try.
                state.files = state.files.filter(|_| writing.is_some());
                state.is_suspect = true;
                state.opened_at = None;
                state.refused = Some((Instant::now(), reason(&error)));
                state.trouble.failed(&error);
                Err(error)
            }
        }
    }

    fn open_anew(&self, state: &State, writing: &mut Option<Connection>) -> Result<(Connections, Files), Error> {
        // A file that lost its name leaves its write-ahead log to the one that has it now, which would take it for its
        // own; and a log that lost its name has what the file lacks. So the log is emptied first, and nothing is opened
        // beside one that could not be.
        if let Some(connection) = &*writing
            && let Err(error) = empty_log(connection)
            && Some(Files::at(&self.path)?) != state.files
        {
            return Err(error);
        }
        *writing = None;
        if !state.was_open {
            schema::create(&self.path)?;
        }
        let before = Files::at(&self.path)?;
        let connections = schema::open(&self.path, self.busy_timeout)?;
        let files = Files::at(&self.path)?;
        if files.database == before.database {
            Ok((connections, files))
        } else {
            Err(Error::Unavailable("the file was replaced while it was opened".to_owned()))
        }
    }
}

impl Access {
    pub(super) fn new(file: Arc<DatabaseFile>, side: Side) -> Self {
        Self { trouble: Trouble::new(file.path.clone()), file, side }
    }

    /// Does the work if there is a connection for it. What fails is in the log before this returns.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        let unavailable = |error: Error| Error::Unavailable(reason(&error));
        let mut slot = self.file.connection(self.side).map_err(unavailable)?;
        let connection = slot.as_mut().expect("what is current is open");
        let outcome = work(connection);
        match &outcome {
            Err(error @ Error::Database(source)) => {
                self.trouble.failed(error);
                // A transaction that could not be rolled back would be in the way of every other.
                if !connection.is_autocommit() || may_be_mended(source) {
                    lock(&self.file.state).is_suspect = true;
                }
            }
            Ok(_) | Err(_) => self.trouble.worked(),
        }
        outcome
    }
}

impl Files {
    fn at(path: &Path) -> Result<Self, Error> {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let found = fs::metadata(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self { database: identity(found), log: fs::metadata(log).ok().map(identity) })
    }
}

/// Works the write-ahead log into the file that it belongs to.
fn empty_log(connection: &Connection) -> Result<(), Error> {
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_busy {
        let reason =
            "the file or its -wal was replaced, and another program still uses what was there before".to_owned();
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), Some(reason)).into());
    }
    Ok(())
}

/// Whether opening the file anew may help: not when the disk is full or another has the lock.
fn may_be_mended(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
