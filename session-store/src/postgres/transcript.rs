//! Transcripts, read in pages by index, so that their cost doesn't grow with their age.

use std::sync::Arc;

use proto::session::v1::{ListMessagesResponse, Message, TranscriptMessage};
use tokio_postgres::Row;

use super::Replica;
use crate::{
    Error,
    store::{Direction, MessagesPage},
};

/// Where a window or a page ends even if more messages were asked for: half of what a gRPC message may hold.
#[expect(clippy::cast_possible_wrap, reason = "a few megabytes")]
pub(super) const MAX_BYTES: i64 = (shared::transport::MAX_MESSAGE_BYTES / 2) as i64;

/// A page of the transcript.
pub(super) async fn list(replica: Arc<Replica>, page: MessagesPage) -> Result<ListMessagesResponse, Error> {
    let start = match page.direction {
        Direction::OldestFirst => 0,
        Direction::NewestFirst => i64::MAX,
    };
    let after_seq = page.after_seq.map_or(start, u64::cast_signed);
    let limit = i64::from(page.limit);
    let rows =
        replica.server.query(&list_sql(page.direction), &[&page.session_key, &after_seq, &limit, &MAX_BYTES]).await?;
    if rows.is_empty() {
        return Err(Error::NotFound);
    }
    let mut messages = Vec::new();
    for row in &rows {
        // A session without messages is one row without a message.
        let Some(seq) = row.try_get::<_, Option<i64>>("seq")? else { break };
        if !row.try_get::<_, bool>("fits")? {
            return Ok(ListMessagesResponse { messages, has_more: true });
        }
        messages.push(message(row, seq)?);
    }
    Ok(ListMessagesResponse { messages, has_more: false })
}

/// One more row than there may be says that there are more, without its body.
pub(super) fn list_sql(direction: Direction) -> String {
    let (comparison, order) = match direction {
        Direction::OldestFirst => (">", "ASC"),
        Direction::NewestFirst => ("<", "DESC"),
    };
    format!(
        "SELECT seq, created_at_ms, run_id, fits, CASE WHEN fits THEN body END AS body
        FROM (SELECT session_id FROM sessions WHERE session_key = $1) AS session
        LEFT JOIN LATERAL (
            SELECT seq, created_at_ms, run_id, body, number <= $3::bigint AND bytes <= $4::bigint AS fits FROM (
                SELECT seq, created_at_ms, run_id, body,
                    row_number() OVER so_far AS number, sum(octet_length(body)) OVER so_far AS bytes
                FROM messages WHERE session = session_id AND seq {comparison} $2
                WINDOW so_far AS (ORDER BY seq {order} ROWS UNBOUNDED PRECEDING)
                ORDER BY seq {order} LIMIT $3::bigint + 1
            ) AS numbered
        ) AS page ON true
        ORDER BY seq {order}"
    )
}

fn message(row: &Row, seq: i64) -> Result<TranscriptMessage, Error> {
    let created_at_ms: i64 = row.try_get("created_at_ms")?;
    let body: &[u8] = row.try_get("body")?;
    let message: Message = prost::Message::decode(body)?;
    Ok(TranscriptMessage {
        seq: seq.unsigned_abs(),
        created_at_ms: created_at_ms.unsigned_abs(),
        run_id: row.try_get("run_id")?,
        message: Some(message),
    })
}
