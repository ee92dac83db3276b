//! Sessions: looked up, listed, reset and deleted.

use proto::session::v1::{ListSessionsResponse, Session, Usage};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{transcript, writer::Write};
use crate::{
    Error,
    store::{Direction, SessionsPage},
};

const BY_KEY: &str = "SELECT session_key, session_id, agent_id, created_at_ms, updated_at_ms, message_count,
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens FROM sessions WHERE session_key = ?";

pub(super) fn get(connection: &Connection, session_key: &str) -> Result<Session, Error> {
    let mut by_key = connection.prepare_cached(BY_KEY)?;
    by_key.query_row([session_key], session).optional()?.ok_or(Error::NotFound)
}

pub(super) fn list(connection: &Connection, page: &SessionsPage) -> Result<ListSessionsResponse, Error> {
    let (updated_at_ms, id) = match &page.after {
        Some(session_key) => place(connection, session_key)?,
        None => match page.direction {
            Direction::OldestFirst => (-1, -1),
            Direction::NewestFirst => (i64::MAX, i64::MAX),
        },
    };
    let mut statement = connection.prepare_cached(&list_sql(page))?;
    let sessions = statement.query_map(params![updated_at_ms, id, page.limit + 1, page.agent_id], session)?;
    let mut sessions = sessions.collect::<Result<Vec<_>, _>>()?;
    let has_more = sessions.len() > page.limit as usize;
    sessions.truncate(page.limit as usize);
    Ok(ListSessionsResponse { sessions, has_more })
}

/// Gives the key a new session in the old one's row, so that its lease tokens go on growing.
pub(super) fn reset(write: &mut Write<'_>, session_key: &str) -> Result<Session, Error> {
    transcript::delete(write, find(write, session_key)?)?;
    write
        .transaction()
        .prepare_cached(
            "UPDATE sessions SET session_id = ?2, created_at_ms = ?3, updated_at_ms = ?3, message_count = 0,
                prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, reasoning_tokens = 0,
                lease_run_id = NULL, lease_expires_at_ms = 0
            WHERE session_key = ?1",
        )?
        .execute(params![session_key, Uuid::now_v7(), write.now_ms()])?;
    write.release(session_key.to_owned());
    get(write.transaction(), session_key)
}

pub(super) fn delete(write: &mut Write<'_>, session_key: &str) -> Result<(), Error> {
    let session = find(write, session_key)?;
    transcript::delete(write, session)?;
    write.transaction().prepare_cached("DELETE FROM sessions WHERE id = ?")?.execute([session])?;
    write.release(session_key.to_owned());
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
    // Without an agent the parameter is there all the same, and null.
    let of_agent = if page.agent_id.is_some() { "agent_id = ?4" } else { "?4 IS NULL" };
    format!(
        "SELECT session_key, session_id, agent_id, created_at_ms, updated_at_ms, message_count,
            prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
        FROM sessions WHERE {of_agent} AND (updated_at_ms, id) {comparison} (?1, ?2)
        ORDER BY updated_at_ms {order}, id {order} LIMIT ?3"
    )
}

fn session(row: &Row<'_>) -> Result<Session, rusqlite::Error> {
    Ok(Session {
        session_key: row.get(0)?,
        session_id: row.get::<_, Uuid>(1)?.to_string(),
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
    })
}
