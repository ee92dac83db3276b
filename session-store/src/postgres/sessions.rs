//! Sessions: looked up, listed, reset and deleted.

use std::sync::Arc;

use proto::session::v1::{Lease, ListSessionsResponse, Session, TurnInFlight, Usage};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Replica, line::Next};
use crate::{
    Error,
    store::{Direction, SessionsPage},
};

/// What [`session`] reads.
const COLUMNS: &str = "session_key, session_id, agent_id, created_at_ms, updated_at_ms,
    last_seq - first_seq + 1 AS message_count, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    CASE WHEN lease_expires_at_ms > now_ms() THEN lease_run_id END AS run_id, lease_token, lease_runner";

pub(super) async fn get(replica: Arc<Replica>, session_key: String) -> Result<Session, Error> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE session_key = $1");
    let rows = replica.server.query(&sql, &[&session_key]).await?;
    Ok(session(rows.first().ok_or(Error::NotFound)?)?)
}

/// The page's start is looked up first, since its key may have no session.
pub(super) async fn list(replica: Arc<Replica>, page: SessionsPage) -> Result<ListSessionsResponse, Error> {
    let (updated_at_ms, session_id) = match &page.after {
        Some(session_key) => {
            let sql = "SELECT updated_at_ms, session_id FROM sessions WHERE session_key = $1";
            let rows = replica.server.query(sql, &[session_key]).await?;
            let place = rows.first().ok_or(Error::NotFound)?;
            (place.try_get(0)?, place.try_get(1)?)
        }
        None => match page.direction {
            Direction::OldestFirst => (-1_i64, Uuid::nil()),
            Direction::NewestFirst => (i64::MAX, Uuid::max()),
        },
    };
    let limit = i64::from(page.limit) + 1;
    let rows = replica
        .server
        .query(&list_sql(&page), &[&updated_at_ms, &session_id, &limit, &page.agent_id, &page.namespace])
        .await?;
    let has_more = rows.len() > page.limit as usize;
    let sessions = rows.iter().take(page.limit as usize).map(session).collect::<Result<_, _>>()?;
    Ok(ListSessionsResponse { sessions, has_more })
}

pub(super) fn list_sql(page: &SessionsPage) -> String {
    let (comparison, order) = match page.direction {
        Direction::OldestFirst => (">", "ASC"),
        Direction::NewestFirst => ("<", "DESC"),
    };
    // What is not asked for is a parameter all the same, and null.
    let of_agent = if page.agent_id.is_some() { "agent_id = $4" } else { "$4::text IS NULL" };
    let of_namespace = match page.namespace.as_deref() {
        None => "$5::text IS NULL",
        Some("") => "namespace = $5",
        // The index holds only such sessions, which the planner wants to be told.
        Some(_) => "namespace = $5 AND namespace <> ''",
    };
    format!(
        "SELECT {COLUMNS} FROM sessions
        WHERE {of_namespace} AND {of_agent} AND (updated_at_ms, session_id) {comparison} ($1, $2)
        ORDER BY updated_at_ms {order}, session_id {order} LIMIT $3"
    )
}

pub(super) async fn reset(replica: Arc<Replica>, session_key: String) -> Result<Session, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, replica, place
        FROM reset_session($1, $2) AS reset, LATERAL (SELECT (reset.session).*) AS session
        WHERE session_key IS NOT NULL"
    );
    let rows = replica.server.query(&sql, &[&session_key, &Uuid::now_v7()]).await?;
    let row = rows.first().ok_or(Error::NotFound)?;
    replica.call(Next::from_row(row)?);
    Ok(session(row)?)
}

pub(super) async fn delete(replica: Arc<Replica>, session_key: String) -> Result<(), Error> {
    let row = replica.server.query_one("SELECT * FROM delete_session($1)", &[&session_key]).await?;
    replica.call(Next::from_row(&row)?);
    if row.try_get("is_found")? { Ok(()) } else { Err(Error::NotFound) }
}

/// Deletes some of what is past its time; says whether there may be more.
pub(super) async fn prune(replica: Arc<Replica>, ttl_ms: Option<u64>) -> Result<bool, Error> {
    let row = replica.server.query_one("SELECT prune($1)", &[&ttl_ms.map(u64::cast_signed)]).await?;
    Ok(row.try_get(0)?)
}

fn session(row: &Row) -> Result<Session, tokio_postgres::Error> {
    let count = |column: &str| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let session_id = row.try_get::<_, Uuid>("session_id")?.to_string();
    let turn_in_flight = match row.try_get("run_id")? {
        None => None,
        Some(run_id) => {
            let lease = Lease { session_id: session_id.clone(), token: count("lease_token")? };
            Some(TurnInFlight { lease: Some(lease), run_id, runner: row.try_get("lease_runner")? })
        }
    };
    Ok(Session {
        session_key: row.try_get("session_key")?,
        session_id,
        agent_id: row.try_get("agent_id")?,
        created_at_ms: count("created_at_ms")?,
        updated_at_ms: count("updated_at_ms")?,
        message_count: count("message_count")?,
        usage: Some(Usage {
            prompt_tokens: count("prompt_tokens")?,
            completion_tokens: count("completion_tokens")?,
            cached_tokens: count("cached_tokens")?,
            reasoning_tokens: count("reasoning_tokens")?,
        }),
        turn_in_flight,
    })
}
