//! Runs that are recorded, so that others find them.

use std::sync::Arc;

use proto::session::v1::Run;
use tokio_postgres::Row;

use super::Replica;
use crate::{Error, store::PutRun};

/// What [`run`] reads.
const COLUMNS: &str = "run_id, session_key, runner, fingerprint, state, outcome, created_at_ms, expires_at_ms";

/// The run, unless it has expired.
pub(super) async fn get(replica: Arc<Replica>, run_id: String) -> Result<Run, Error> {
    let sql = format!("SELECT {COLUMNS} FROM runs WHERE run_id = $1 AND expires_at_ms > now_ms()");
    let rows = replica.server.query(&sql, &[&run_id]).await?;
    Ok(run(rows.first().ok_or(Error::NotFound)?)?)
}

/// Records the run if its place is free, and says who has the place then.
pub(super) async fn put(replica: Arc<Replica>, put: PutRun) -> Result<Run, Error> {
    let row = replica
        .server
        .query_one(
            &format!("SELECT {COLUMNS} FROM put_run($1, $2, $3, $4, $5, $6, $7, $8)"),
            &[
                &put.run_id,
                &put.session_key,
                &put.runner,
                &put.fingerprint,
                &i32::from(put.state),
                &put.outcome,
                &put.replaces_runner,
                &put.ttl_ms.cast_signed(),
            ],
        )
        .await?;
    Ok(run(&row)?)
}

fn run(row: &Row) -> Result<Run, tokio_postgres::Error> {
    Ok(Run {
        run_id: row.try_get("run_id")?,
        session_key: row.try_get("session_key")?,
        runner: row.try_get("runner")?,
        fingerprint: row.try_get::<_, Vec<u8>>("fingerprint")?.into(),
        state: row.try_get("state")?,
        outcome: row.try_get::<_, Vec<u8>>("outcome")?.into(),
        created_at_ms: row.try_get::<_, i64>("created_at_ms")?.unsigned_abs(),
        expires_at_ms: row.try_get::<_, i64>("expires_at_ms")?.unsigned_abs(),
    })
}
