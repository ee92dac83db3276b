//! Turns: begun, renewed, committed and abandoned, each in one statement.

use std::{sync::Arc, time::Duration};

use proto::session::v1::CommitTurnResponse;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Replica,
    line::{MAX_PER_SESSION, Next, PLACE_MS, Place},
    transcript,
};
use crate::{
    Error,
    store::{BeginTurn, CommitTurn, Grant, Lease, NewMessage, Turn},
};

/// What came of asking for a turn.
pub(super) enum Begun {
    /// The run has the lease.
    Granted(Grant),
    /// Others have it or are before the run, which waits from now on.
    InLine {
        place: Place,
        is_first: bool,
        /// How long the lease lasts if it isn't renewed.
        expires_in: Duration,
    },
    /// The same, but there is no place to wait at.
    Busy,
}

/// Takes the session's lease, or takes the place in line that may be given.
pub(super) async fn begin(
    replica: Arc<Replica>,
    begin: Arc<BeginTurn>,
    mut place: Option<Place>,
) -> Result<Begun, Error> {
    // Whatever becomes of the statement, there may be a row from now on.
    if let Some(place) = &mut place {
        place.is_in_line = true;
    }
    let row = replica
        .server
        .query_one(
            "SELECT * FROM begin_turn($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &[
                &&*begin.session_key,
                &begin.namespace(),
                &begin.agent_id,
                &begin.run_id,
                &begin.runner,
                &begin.lease_ms.cast_signed(),
                &i64::from(begin.window_messages),
                &transcript::MAX_BYTES,
                &begin.reset.idle_ms.map(u64::cast_signed),
                &begin.reset.daily_ms.map(u64::cast_signed),
                &Uuid::now_v7(),
                &replica.id,
                &place.as_ref().map(|place| place.number),
                &place.as_ref().and_then(|place| place.ticket),
                &MAX_PER_SESSION,
                &PLACE_MS,
            ],
        )
        .await?;
    let outcome: &str = row.try_get("outcome")?;
    if outcome == "busy"
        && let Some(mut place) = place
    {
        place.ticket = row.try_get("ticket")?;
        let held_ms: i64 = row.try_get("held_ms")?;
        // A lease that ends within this millisecond has not ended yet.
        let expires_in = Duration::from_millis(held_ms.unsigned_abs() + 1);
        return Ok(Begun::InLine { place, is_first: row.try_get("is_first")?, expires_in });
    }
    match outcome {
        "granted" => {
            leave_unseen(place);
            let turn = turn(&row, begin.lease_ms)?;
            Ok(Begun::Granted(Grant::new(turn, move |lease| {
                replica.clone().spawn(async move {
                    if let Err(error) = abandon(replica, lease).await {
                        tracing::debug!(%error, "a lease that nobody was there to take lasts until it expires");
                    }
                });
            })))
        }
        "committed" => {
            // Only a place that has waited before has a row.
            if place.as_ref().is_some_and(|place| place.ticket.is_none()) {
                leave_unseen(place);
            }
            Err(Error::AlreadyCommitted)
        }
        _ => {
            leave_unseen(place);
            Ok(Begun::Busy)
        }
    }
}

/// Puts off the lease's expiry.
pub(super) async fn renew(replica: Arc<Replica>, lease: Lease, lease_ms: u64) -> Result<(), Error> {
    let parameters = (lease.session_id, lease.token.cast_signed(), lease_ms.cast_signed());
    let sql = "SELECT renew_lease($1, $2, $3)";
    let row = replica.server.query_one(sql, &[&parameters.0, &parameters.1, &parameters.2]).await?;
    if row.try_get(0)? { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Appends the turn and gives the lease back; or says again what it said when it did.
pub(super) async fn commit(replica: Arc<Replica>, commit: CommitTurn) -> Result<CommitTurnResponse, Error> {
    let roles: Vec<_> = commit.messages.iter().map(NewMessage::role_name).collect();
    let bodies: Vec<_> = commit.messages.iter().map(|message| message.body.as_slice()).collect();
    let row = replica
        .server
        .query_one(
            "SELECT * FROM commit_turn($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                &commit.lease.session_id,
                &commit.lease.token.cast_signed(),
                &commit.run_id,
                &roles,
                &bodies,
                &commit.usage.prompt_tokens.cast_signed(),
                &commit.usage.completion_tokens.cast_signed(),
                &commit.usage.cached_tokens.cast_signed(),
                &commit.usage.reasoning_tokens.cast_signed(),
                &commit.outcome,
                &commit.run_ttl_ms.cast_signed(),
                &commit.max_messages.map(|max| i64::try_from(max).unwrap_or(i64::MAX)),
            ],
        )
        .await?;
    replica.call(Next::from_row(&row)?);
    let last_seq: Option<i64> = row.try_get("last_seq")?;
    last_seq.map(|last_seq| CommitTurnResponse { last_seq: last_seq.unsigned_abs() }).ok_or(Error::LeaseLost)
}

/// Gives the lease back, if it is still the newest.
pub(super) async fn abandon(replica: Arc<Replica>, lease: Lease) -> Result<(), Error> {
    let sql = "SELECT * FROM abandon_turn($1, $2)";
    let row = replica.server.query_one(sql, &[&lease.session_id, &lease.token.cast_signed()]).await?;
    replica.call(Next::from_row(&row)?);
    Ok(())
}

/// Drops a place that has no row.
fn leave_unseen(place: Option<Place>) {
    if let Some(mut place) = place {
        place.is_in_line = false;
    }
}

fn turn(row: &Row, lease_ms: u64) -> Result<Turn, tokio_postgres::Error> {
    let token: i64 = row.try_get("token")?;
    let message_count: i64 = row.try_get("message_count")?;
    Ok(Turn {
        lease: Lease { session_id: row.try_get("session_id")?, token: token.unsigned_abs() },
        lease_ms,
        message_count: message_count.unsigned_abs(),
        window: row.try_get("newest")?,
    })
}
