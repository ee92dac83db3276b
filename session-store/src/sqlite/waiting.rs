//! How a run gets its turn: at once, or by waiting in line until the lease is free or the caller's patience ends.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Sqlite,
    line::{Lines, Place},
};
use crate::{
    Error,
    store::{BeginTurn, Begun, Claim, Turn},
};

/// How often the first in line looks by itself: another process with the same database gives leases back unheard.
const POLL: Duration = Duration::from_secs(1);

/// Begins the turn. Whoever drops this while it waits leaves the line, and gives back what was granted unseen.
pub(super) async fn begin(
    sqlite: &Sqlite,
    lines: &Arc<Lines>,
    begin: BeginTurn,
    wait: Duration,
    draining: &CancellationToken,
) -> Result<Turn, Error> {
    let begin = Arc::new(begin);
    let started = Instant::now();
    let place = lines.join(&begin.session_key);
    // Whoever is behind others leaves them a free lease, but need not wait for its own.
    let claim = if place.as_ref().is_ok_and(Place::is_first) { Claim::FreeOrOwn } else { Claim::OwnOnly };
    let mut expires_in = match sqlite.claim_turn(begin.clone(), claim).await? {
        Begun::Granted(grant) => return Ok(grant.accept()),
        Begun::Busy { expires_in } => expires_in,
    };
    let busy = || Error::Busy { waited: started.elapsed() };
    if wait.is_zero() {
        return Err(busy());
    }
    let place = place?;
    let _room = lines.room()?;
    loop {
        let look_again = Instant::now() + expires_in.min(POLL);
        tokio::select! {
            () = place.called() => {}
            () = sleep_until(look_again), if place.is_first() => {}
            () = sleep_until(started + wait) => return Err(busy()),
            () = draining.cancelled() => return Err(Error::Closed),
        }
        if !place.is_first() {
            continue;
        }
        expires_in = match sqlite.claim_turn(begin.clone(), Claim::FreeOrOwn).await? {
            Begun::Granted(grant) => return Ok(grant.accept()),
            Begun::Busy { expires_in } => expires_in,
        };
    }
}
