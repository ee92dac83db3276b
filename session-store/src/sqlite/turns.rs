//! Turns: begun, renewed, committed and abandoned, each in one transaction.

use std::time::Duration;

use proto::session::v1::CommitTurnResponse;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{runs, sessions, transcript, writer::Write};
use crate::{
    Error,
    config::Reset,
    store::{BeginTurn, Begun, Claim, CommitTurn, Lease, Turn},
};

/// What a turn needs to know of its session.
struct SessionRow {
    id: i64,
    session_id: Uuid,
    session_key: String,
    updated_at_ms: u64,
    first_seq: u64,
    last_seq: u64,
    lease_token: u64,
    lease_run_id: Option<String>,
    lease_expires_at_ms: u64,
}

macro_rules! select {
    ($column:literal) => {
        concat!(
            "SELECT id, session_id, session_key, updated_at_ms, first_seq, last_seq,
                lease_token, lease_run_id, lease_expires_at_ms
            FROM sessions WHERE ",
            $column,
            " = ?"
        )
    };
}

/// Takes the session's lease, if the claim allows it, and reads the window.
pub(super) fn begin(write: &Write<'_>, begin: &BeginTurn, claim: Claim) -> Result<Begun<Turn>, Error> {
    let mut by_key = write.transaction().prepare_cached(select!("session_key"))?;
    let session = by_key.query_row([&*begin.session_key], SessionRow::from_row).optional()?;
    if let Some(session) = &session
        && session.last_seq > 0
        && committed(write, session, &begin.run_id)?.is_some()
    {
        return Err(Error::AlreadyCommitted);
    }
    let expires_in_ms = session.as_ref().map_or(0, |session| session.held_for_ms(write, &begin.run_id));
    let is_own = session.as_ref().is_some_and(|session| session.is_held_by(&begin.run_id));
    if !is_own && (expires_in_ms > 0 || claim == Claim::OwnOnly) {
        return Ok(Begun::Busy { expires_in: Duration::from_millis(expires_in_ms) });
    }
    let mut session = match session {
        Some(session) => session,
        None => create(write, begin)?,
    };
    if !is_own && session.is_due(begin.reset, write.now_ms()) {
        (session.id, session.session_id) = sessions::begin_anew(write, session.id)?;
        (session.first_seq, session.last_seq) = (1, 0);
    }
    // A file that comes back from a backup must not give a token again that is still held.
    let token = (session.lease_token + 1).max(write.now_ms() * 1000);
    write
        .transaction()
        .prepare_cached(
            "UPDATE sessions SET lease_token = ?, lease_run_id = ?, lease_runner = ?, lease_expires_at_ms = ?
            WHERE id = ?",
        )?
        .execute(params![token, begin.run_id, begin.runner, write.now_ms() + begin.lease_ms, session.id])?;
    Ok(Begun::Granted(Turn {
        lease: Lease { session_id: session.session_id, token },
        lease_ms: begin.lease_ms,
        message_count: session.message_count(),
        window: transcript::window(write.transaction(), session.id, begin.window_messages)?,
    }))
}

/// Puts off the lease's expiry.
pub(super) fn renew(write: &Write<'_>, lease: Lease, lease_ms: u64) -> Result<(), Error> {
    let session = find(write, lease)?.filter(|session| session.is_under(lease)).ok_or(Error::LeaseLost)?;
    write
        .transaction()
        .prepare_cached("UPDATE sessions SET lease_expires_at_ms = ? WHERE id = ?")?
        .execute(params![write.now_ms() + lease_ms, session.id])?;
    Ok(())
}

/// Appends the turn and gives the lease back; or says again what it said when it did.
pub(super) fn commit(write: &mut Write<'_>, commit: &CommitTurn) -> Result<CommitTurnResponse, Error> {
    let session = find(write, commit.lease)?.ok_or(Error::LeaseLost)?;
    if !(session.is_under(commit.lease) && session.is_held_by(&commit.run_id)) {
        return match committed(write, &session, &commit.run_id)? {
            Some((token, last_seq)) if token == commit.lease.token => Ok(CommitTurnResponse { last_seq }),
            Some(_) | None => Err(Error::LeaseLost),
        };
    }
    let last_seq = transcript::append(write, session.id, session.last_seq, commit)?;
    let first_seq = commit.first_seq(session.first_seq, last_seq);
    if first_seq > session.first_seq {
        transcript::trim(write, session.id, first_seq)?;
    }
    write
        .transaction()
        .prepare_cached("INSERT INTO turns (session, run_id, lease_token, last_seq) VALUES (?, ?, ?, ?)")?
        .execute(params![session.id, commit.run_id, commit.lease.token, last_seq])?;
    write
        .transaction()
        .prepare_cached(
            "UPDATE sessions SET updated_at_ms = ?, first_seq = ?, last_seq = ?,
                lease_run_id = NULL, lease_runner = '', lease_expires_at_ms = 0,
                prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?,
                cached_tokens = cached_tokens + ?, reasoning_tokens = reasoning_tokens + ?
            WHERE id = ?",
        )?
        .execute(params![
            write.now_ms(),
            first_seq,
            last_seq,
            commit.usage.prompt_tokens,
            commit.usage.completion_tokens,
            commit.usage.cached_tokens,
            commit.usage.reasoning_tokens,
            session.id,
        ])?;
    if !commit.outcome.is_empty() {
        runs::finish(write, commit)?;
    }
    write.release(session.session_key);
    Ok(CommitTurnResponse { last_seq })
}

/// Gives the lease back, if it is still the newest.
pub(super) fn abandon(write: &mut Write<'_>, lease: Lease) -> Result<(), Error> {
    let Some(session) = find(write, lease)?.filter(|session| session.is_under(lease)) else {
        return Ok(());
    };
    write
        .transaction()
        .prepare_cached(
            "UPDATE sessions SET lease_run_id = NULL, lease_runner = '', lease_expires_at_ms = 0 WHERE id = ?",
        )?
        .execute([session.id])?;
    write.release(session.session_key);
    Ok(())
}

fn find(write: &Write<'_>, lease: Lease) -> Result<Option<SessionRow>, Error> {
    let mut by_session_id = write.transaction().prepare_cached(select!("session_id"))?;
    Ok(by_session_id.query_row([lease.session_id], SessionRow::from_row).optional()?)
}

fn create(write: &Write<'_>, begin: &BeginTurn) -> Result<SessionRow, Error> {
    let (id, session_id) = (sessions::next_id(write)?, Uuid::now_v7());
    write
        .transaction()
        .prepare_cached(
            "INSERT INTO sessions (id, session_key, session_id, namespace, agent_id, created_at_ms, updated_at_ms,
                last_seq)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0)",
        )?
        .execute(params![id, &*begin.session_key, session_id, begin.namespace(), begin.agent_id, write.now_ms()])?;
    Ok(SessionRow {
        id,
        session_id,
        session_key: begin.session_key.to_string(),
        updated_at_ms: write.now_ms(),
        first_seq: 1,
        last_seq: 0,
        lease_token: 0,
        lease_run_id: None,
        lease_expires_at_ms: 0,
    })
}

/// The token under which the run has committed its turn, and the number of the turn's last message.
fn committed(write: &Write<'_>, session: &SessionRow, run_id: &str) -> Result<Option<(u64, u64)>, Error> {
    Ok(write
        .transaction()
        .prepare_cached("SELECT lease_token, last_seq FROM turns WHERE session = ? AND run_id = ?")?
        .query_row(params![session.id, run_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

impl SessionRow {
    fn from_row(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            id: row.get(0)?,
            session_id: row.get(1)?,
            session_key: row.get(2)?,
            updated_at_ms: row.get(3)?,
            first_seq: row.get(4)?,
            last_seq: row.get(5)?,
            lease_token: row.get(6)?,
            lease_run_id: row.get(7)?,
            lease_expires_at_ms: row.get(8)?,
        })
    }

    fn message_count(&self) -> u64 {
        self.last_seq + 1 - self.first_seq
    }

    /// Whether the session's last turn is so long ago that it begins anew.
    fn is_due(&self, reset: Reset, now_ms: u64) -> bool {
        self.last_seq > 0 && self.updated_at_ms < reset.due_before_ms(now_ms)
    }

    fn is_held_by(&self, run_id: &str) -> bool {
        self.lease_run_id.as_deref() == Some(run_id)
    }

    /// Whether the lease is the session's newest and has not been given back. One that has expired counts until
    /// another run takes it: nobody else can have written since.
    fn is_under(&self, lease: Lease) -> bool {
        self.lease_run_id.is_some() && self.lease_token == lease.token
    }

    /// How much longer another run than this one holds the lease.
    fn held_for_ms(&self, write: &Write<'_>, run_id: &str) -> u64 {
        if self.lease_run_id.is_none() || self.is_held_by(run_id) {
            return 0;
        }
        self.lease_expires_at_ms.saturating_sub(write.now_ms())
    }
}
