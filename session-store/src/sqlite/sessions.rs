//! Sessions: looked up, listed, reset and deleted.

use proto::session::v1::{Lease, ListSessionsResponse, Session, TurnInFlight, Usage};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{runs, transcript, writer::Write};
use crate::{
    Error,
    store::{Direction, SessionsPage},
};

/// What [`session`] reads; the time is the last parameter of every query.
const COLUMNS: &str = "session_key, session_id, agent_id, created_at_ms, updated_at_ms, last_seq - first_seq + 1,
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    iif(lease_expires_at_ms > ?, lease_run_id, NULL), lease_token, lease_runner";
/// How many sessions one pruning deletes at most.
const EXPIRED_AT_ONCE: usize = 8;

pub(super) fn get(connection: &Connection, session_key: &str, now_ms: u64) -> Result<Session, Error> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE session_key = ?");
    let mut by_key = connection.prepare_cached(&sql)?;
    by_key.query_row(params![now_ms, session_key], session).optional()?.ok_or(Error::NotFound)
}

pub(super) fn list(connection: &Connection, page: &SessionsPage, now_ms: u64) -> Result<ListSessionsResponse, Error> {
    let (updated_at_ms, id) = match &page.after {
        Some(session_key) => place(connection, session_key)?,
        None => match page.direction {
            Direction::OldestFirst => (-1, -1),
            Direction::NewestFirst => (i64::MAX, i64::MAX),
        },
    };
    let mut statement = connection.prepare_cached(&list_sql(page))?;
    let parameters = params![now_ms, updated_at_ms, id, page.limit + 1, page.agent_id, page.namespace];
    let sessions = statement.query_map(parameters, session)?;
    let mut sessions = sessions.collect::<Result<Vec<_>, _>>()?;
    let has_more = sessions.len() > page.limit as usize;
    sessions.truncate(page.limit as usize);
    Ok(ListSessionsResponse { sessions, has_more })
}

/// The id for a new session. SQLite would give one again that is free, but it may still have messages.
pub(super) fn next_id(write: &Write<'_>) -> Result<i64, Error> {
    Ok(write
        .transaction()
        .prepare_cached(
            "SELECT max(ifnull((SELECT max(id) FROM sessions), 0), ifnull((SELECT max(session) FROM doomed), 0)) + 1",
        )?
        .query_row([], |row| row.get(0))?)
}

/// Gives the key a new session in the old one's place, whose lease tokens go on growing. Nobody has its lease.
pub(super) fn begin_anew(write: &Write<'_>, id: i64) -> Result<(i64, Uuid), Error> {
    let (new_id, session_id) = (next_id(write)?, Uuid::now_v7());
    write
        .transaction()
        .prepare_cached(
            "UPDATE sessions SET id = ?1, session_id = ?2, created_at_ms = ?3, updated_at_ms = ?3,
                first_seq = 1, last_seq = 0,
                prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, reasoning_tokens = 0,
                lease_run_id = NULL, lease_runner = '', lease_expires_at_ms = 0
            WHERE id = ?4",
        )?
        .execute(params![new_id, session_id, write.now_ms(), id])?;
    transcript::delete(write, id)?;
    Ok((new_id, session_id))
}

pub(super) fn reset(write: &mut Write<'_>, session_key: &str) -> Result<Session, Error> {
    begin_anew(write, find(write, session_key)?)?;
    runs::forget_finished(write, session_key)?;
    write.release(session_key.to_owned());
    get(write.transaction(), session_key, write.now_ms())
}

pub(super) fn delete(write: &mut Write<'_>, session_key: &str) -> Result<(), Error> {
    let id = find(write, session_key)?;
    delete_row(write, id)?;
    runs::forget_finished(write, session_key)?;
    write.release(session_key.to_owned());
    Ok(())
}

/// Deletes some of the sessions that nobody has used for `ttl_ms`; says whether there may be more.
pub(super) fn prune(write: &Write<'_>, ttl_ms: u64) -> Result<bool, Error> {
    let expired: Vec<i64> = write
        .transaction()
        .prepare_cached(
            "SELECT id FROM sessions WHERE updated_at_ms < ?1 AND (lease_run_id IS NULL OR lease_expires_at_ms <= ?2)
            ORDER BY updated_at_ms LIMIT ?3",
        )?
        .query_map(params![write.now_ms().saturating_sub(ttl_ms), write.now_ms(), EXPIRED_AT_ONCE], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &expired {
        delete_row(write, *id)?;
    }
    Ok(expired.len() == EXPIRED_AT_ONCE)
}

fn delete_row(write: &Write<'_>, id: i64) -> Result<(), Error> {
    transcript::delete(write, id)?;
    write.transaction().prepare_cached("DELETE FROM sessions WHERE id = ?")?.execute([id])?;
    Ok(())
}

fn find(write: &Write<'_>, session_key: &str) -> Result<i64, Error> {
    place(write.transaction(), session_key).map(|(_, id)| id)
}

/// The session's place in the lists.
fn place(connection: &Connection, session_key: &str) -> Result<(i64, i64), Error> {
    connection
        .prepare_cached("SELECT updated_at_ms, id FROM sessions WHERE session_key = ?")?
        .query_row([session_key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(Error::NotFound)
}

pub(super) fn list_sql(page: &SessionsPage) -> String {
    let (comparison, order) = match page.direction {
        Direction::OldestFirst => (">", "ASC"),
        Direction::NewestFirst => ("<", "DESC"),
    };
    // What is not asked for is a parameter all the same, and null.
    let of_agent = if page.agent_id.is_some() { "agent_id = ?5" } else { "?5 IS NULL" };
    let of_namespace = match page.namespace.as_deref() {
        None => "?6 IS NULL",
        Some("") => "namespace = ?6",
        // The index holds only such sessions, which SQLite wants to be told.
        Some(_) => "namespace = ?6 AND namespace <> ''",
    };
    format!(
        "SELECT {COLUMNS} FROM sessions
        WHERE {of_namespace} AND {of_agent} AND (updated_at_ms, id) {comparison} (?2, ?3)
        ORDER BY updated_at_ms {order}, id {order} LIMIT ?4"
    )
}

fn session(row: &Row<'_>) -> Result<Session, rusqlite::Error> {
    let session_id = row.get::<_, Uuid>(1)?.to_string();
    let turn_in_flight = match row.get(10)? {
        None => None,
        Some(run_id) => {
            let lease = Lease { session_id: session_id.clone(), token: row.get(11)? };
            Some(TurnInFlight { lease: Some(lease), run_id, runner: row.get(12)? })
        }
    };
    Ok(Session {
        session_key: row.get(0)?,
        session_id,
        agent_id: row.get(2)?,
        created_at_ms: row.get(3)?,
        updated_at_ms: row.get(4)?,
        message_count: row.get(5)?,
        usage: Some(Usage {
            prompt_tokens: row.get(6)?,
            completion_tokens: row.get(7)?,
            cached_tokens: row.get(8)?,
            reasoning_tokens: row.get(9)?,
        }),
        turn_in_flight,
    })
}
