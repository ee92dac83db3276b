//! Runs that are recorded, so that others find them.

use proto::session::v1::{Run, RunState};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Write;
use crate::{
    Error,
    store::{CommitTurn, PutRun},
};

const BY_RUN_ID: &str = "SELECT run_id, session_key, runner, fingerprint, state, outcome, created_at_ms, expires_at_ms
    FROM runs WHERE run_id = ?1 AND expires_at_ms > ?2";

/// The run, unless it has expired.
pub(super) fn get(connection: &Connection, run_id: &str, now_ms: u64) -> Result<Run, Error> {
    let mut by_run_id = connection.prepare_cached(BY_RUN_ID)?;
    by_run_id.query_row(params![run_id, now_ms], run).optional()?.ok_or(Error::NotFound)
}

/// Records the run if its place is free, and says who has the place then.
pub(super) fn put(write: &Write<'_>, put: &PutRun) -> Result<Run, Error> {
    write
        .transaction()
        .prepare_cached(
            "INSERT INTO runs
                (run_id, session_key, runner, fingerprint, state, outcome, created_at_ms, expires_at_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (run_id) DO UPDATE SET
                session_key = excluded.session_key, runner = excluded.runner, fingerprint = excluded.fingerprint,
                state = excluded.state, outcome = excluded.outcome, expires_at_ms = excluded.expires_at_ms,
                created_at_ms = iif(expires_at_ms > ?7, created_at_ms, excluded.created_at_ms)
            WHERE expires_at_ms <= ?7 OR state = ?9
                OR (state = ?10 AND fingerprint = excluded.fingerprint AND runner IN (excluded.runner, ?11))",
        )?
        .execute(params![
            put.run_id,
            put.session_key,
            put.runner,
            put.fingerprint,
            i32::from(put.state),
            put.outcome,
            write.now_ms(),
            write.now_ms() + put.ttl_ms,
            i32::from(RunState::Failed),
            i32::from(RunState::Running),
            put.replaces_runner,
        ])?;
    get(write.transaction(), &put.run_id, write.now_ms())
}

/// Ends the run whose turn is being committed.
pub(super) fn finish(write: &Write<'_>, commit: &CommitTurn) -> Result<(), Error> {
    write
        .transaction()
        .prepare_cached("UPDATE runs SET state = ?, outcome = ?, expires_at_ms = ? WHERE run_id = ?")?
        .execute(params![
        i32::from(RunState::Finished),
        commit.outcome,
        write.now_ms() + commit.run_ttl_ms,
        commit.run_id,
    ])?;
    Ok(())
}

/// Forgets what the session's finished runs came to, which is part of the transcript. It is deleted later, since there
/// may be much of it.
pub(super) fn forget_finished(write: &Write<'_>, session_key: &str) -> Result<(), Error> {
    write
        .transaction()
        .prepare_cached("UPDATE runs SET expires_at_ms = ? WHERE session_key = ? AND state = ?")?
        .execute(params![write.now_ms(), session_key, i32::from(RunState::Finished)])?;
    Ok(())
}

/// Deletes some of the runs that have expired; says how many.
pub(super) fn prune(write: &Write<'_>, limit: usize) -> Result<usize, Error> {
    Ok(write
        .transaction()
        .prepare_cached("DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE expires_at_ms <= ? LIMIT ?)")?
        .execute(params![write.now_ms(), limit])?)
}

fn run(row: &Row<'_>) -> Result<Run, rusqlite::Error> {
    Ok(Run {
        run_id: row.get(0)?,
        session_key: row.get(1)?,
        runner: row.get(2)?,
        fingerprint: row.get::<_, Vec<u8>>(3)?.into(),
        state: row.get(4)?,
        outcome: row.get::<_, Vec<u8>>(5)?.into(),
        created_at_ms: row.get(6)?,
        expires_at_ms: row.get(7)?,
    })
}
