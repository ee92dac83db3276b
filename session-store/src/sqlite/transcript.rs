//! Transcripts: appended to, and read in pages by index, so that their cost doesn't grow with their age.

use proto::session::v1::{ListMessagesResponse, Message, TranscriptMessage};
use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Write;
use crate::{
    Error,
    store::{CommitTurn, Direction, MessagesPage},
};

pub(super) const WINDOW: &str = "SELECT body FROM messages WHERE session = ? ORDER BY seq DESC LIMIT ?";
pub(super) const OLDEST_FIRST: &str = "SELECT seq, created_at_ms, run_id, body FROM messages
    WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?";
pub(super) const NEWEST_FIRST: &str = "SELECT seq, created_at_ms, run_id, body FROM messages
    WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?";
/// Where a window or a page ends even if more messages were asked for: half of what a gRPC message may hold.
const MAX_BYTES: usize = shared::transport::MAX_MESSAGE_BYTES / 2;

/// How many messages are deleted at once, so that nobody waits long for it.
const DELETED_AT_ONCE: usize = 1000;

/// Appends the turn's messages after the one numbered `last_seq`; says the number of the last.
pub(super) fn append(write: &Write<'_>, session: i64, last_seq: u64, commit: &CommitTurn) -> Result<u64, Error> {
    let mut insert = write.transaction().prepare_cached(
        "INSERT INTO messages (session, seq, role, run_id, created_at_ms, body) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    let mut seq = last_seq;
    for message in &commit.messages {
        seq += 1;
        insert.execute(params![session, seq, message.role_name(), commit.run_id, write.now_ms(), message.body])?;
    }
    Ok(seq)
}

/// The newest messages, newest first, encoded as they are.
pub(super) fn window(connection: &Connection, session: i64, limit: u32) -> Result<Vec<Vec<u8>>, Error> {
    let mut statement = connection.prepare_cached(WINDOW)?;
    let mut rows = statement.query(params![session, limit])?;
    let mut window = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        bytes += body.len();
        if bytes > MAX_BYTES {
            break;
        }
        window.push(body);
    }
    Ok(window)
}

/// A page of the transcript.
pub(super) fn list(connection: &Connection, page: &MessagesPage) -> Result<ListMessagesResponse, Error> {
    let session: i64 = connection
        .prepare_cached("SELECT id FROM sessions WHERE session_key = ?")?
        .query_row([&page.session_key], |row| row.get(0))
        .optional()?
        .ok_or(Error::NotFound)?;
    let (sql, start) = match page.direction {
        Direction::OldestFirst => (OLDEST_FIRST, 0),
        Direction::NewestFirst => (NEWEST_FIRST, i64::MAX.unsigned_abs()),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![session, page.after_seq.unwrap_or(start), page.limit + 1])?;
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(3)?;
        bytes += body.len();
        if messages.len() == page.limit as usize || bytes > MAX_BYTES {
            return Ok(ListMessagesResponse { messages, has_more: true });
        }
        let message: Message = prost::Message::decode(body.as_slice())?;
        messages.push(TranscriptMessage {
            seq: row.get(0)?,
            created_at_ms: row.get(1)?,
            run_id: row.get(2)?,
            message: Some(message),
        });
    }
    Ok(ListMessagesResponse { messages, has_more: false })
}

/// Forgets the messages before the one numbered `first_seq`, and their turns.
pub(super) fn trim(write: &Write<'_>, session: i64, first_seq: u64) -> Result<(), Error> {
    for sql in [
        "DELETE FROM turns WHERE session = ?1
            AND run_id IN (SELECT run_id FROM messages WHERE session = ?1 AND seq < ?2)",
        "DELETE FROM messages WHERE session = ?1 AND seq < ?2",
    ] {
        write.transaction().prepare_cached(sql)?.execute(params![session, first_seq])?;
    }
    Ok(())
}

/// Forgets all of a session's turns and messages, some of which may be deleted later.
pub(super) fn delete(write: &Write<'_>, session: i64) -> Result<(), Error> {
    if delete_some(write, session)? {
        write.transaction().prepare_cached("INSERT INTO doomed (session) VALUES (?)")?.execute([session])?;
    }
    Ok(())
}

/// Deletes some of what was to be deleted later; says whether there may be more.
pub(super) fn prune(write: &Write<'_>) -> Result<bool, Error> {
    let mut doomed = write.transaction().prepare_cached("SELECT session FROM doomed LIMIT 1")?;
    let Some(session) = doomed.query_row([], |row| row.get(0)).optional()? else { return Ok(false) };
    if !delete_some(write, session)? {
        write.transaction().prepare_cached("DELETE FROM doomed WHERE session = ?")?.execute([session])?;
    }
    Ok(true)
}

/// Says whether there may be more.
fn delete_some(write: &Write<'_>, session: i64) -> Result<bool, Error> {
    for sql in [
        "DELETE FROM messages WHERE session = ?1
            AND seq <= (SELECT min(seq) FROM messages WHERE session = ?1) + ?2 - 1",
        "DELETE FROM turns WHERE session = ?1
            AND run_id IN (SELECT run_id FROM turns WHERE session = ?1 LIMIT ?2)",
    ] {
        let deleted = write.transaction().prepare_cached(sql)?.execute(params![session, DELETED_AT_ONCE])?;
        if deleted == DELETED_AT_ONCE {
            return Ok(true);
        }
    }
    Ok(false)
}
