//! Opens a database file, and brings its layout up to date.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::Error;

/// The steps from an empty file to the newest layout; the file's `user_version` says how many it has seen.
const MIGRATIONS: [&str; 2] = [include_str!("migrations/1.sql"), include_str!("migrations/2.sql")];
const STATEMENT_CACHE: usize = 64;
/// How far the write-ahead log grows before it is worked into the file, 16 MiB in pages: the more often a page changes
/// in it, the fewer writes to the file.
const WAL_PAGES: i64 = 4096;
/// How much of the file the writer keeps in memory, so that the sessions in use are read once.
const CACHE_KIB: i64 = 32 * 1024;

/// The two ways into an open file.
pub(super) struct Connections {
    pub(super) writing: Connection,
    pub(super) reading: Connection,
}

/// Opens the file, and waits for as long as `busy_timeout` for another process that writes.
pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Connections, Error> {
    let without_create = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut writing = Connection::open_with_flags(path, without_create | OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&writing, busy_timeout)?;
    // What is newer is not touched.
    let is_outdated = !missing(&writing)?.is_empty();
    // A write-ahead log lets reads go on beside the writer, and needs one wait for the disk per commit. FULL makes that
    // wait happen: a committed turn survives the loss of power.
    writing.pragma_update(None, "journal_mode", "WAL")?;
    writing.pragma_update(None, "synchronous", "FULL")?;
    writing.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    writing.pragma_update(None, "cache_size", -CACHE_KIB)?;
    writing.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    // What is up to date can be opened on a full disk, or while another process writes.
    if is_outdated {
        migrate(&mut writing)?;
    }
    let reading = Connection::open_with_flags(path, without_create | OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    configure(&reading, busy_timeout)?;
    // Opens the side files too, so that what is wrong with them shows now.
    missing(&reading)?;
    Ok(Connections { writing, reading })
}

fn configure(connection: &Connection, busy_timeout: Duration) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(())
}

/// Makes the file if there is none, and its folder, for their owner only. The side files get the mode of the main one.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Create { path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(path)(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    // The transaction keeps out another process that starts at the same time.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in missing(&transaction)? {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    Ok(transaction.commit()?)
}

/// The steps that the file has not seen.
fn missing(connection: &Connection) -> Result<&'static [&'static str], Error> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    MIGRATIONS.get(found..).ok_or(Error::NewerLayout { found, known: MIGRATIONS.len() })
}
