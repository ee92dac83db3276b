//! How a run gets its turn: at once, or by waiting in line until the lease is free or the caller's patience ends.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    Postgres,
    line::Place,
    turns::{self, Begun},
};
use crate::{
    Error,
    store::{BeginTurn, Turn},
};

/// Begins the turn. Whoever drops this while it waits leaves the line, and gives back what was granted unseen.
pub(super) async fn begin(postgres: &Postgres, begin: BeginTurn, wait: Duration) -> Result<Turn, Error> {
    let begin = Arc::new(begin);
    let started = Instant::now();
    let busy = || Error::Busy { waited: started.elapsed() };
    // Most need not wait, and take no place in line from those who must.
    let mut place = None;
    let mut has_asked = false;
    loop {
        let outcome = postgres.run(|replica| turns::begin(replica, begin.clone(), place.take())).await?;
        let (waiting, look_again) = match outcome {
            Begun::Granted(grant) => return Ok(grant.accept()),
            Begun::Busy if wait.is_zero() => return Err(busy()),
            Begun::Busy if has_asked => return Err(Error::LineFull),
            Begun::Busy => {
                has_asked = true;
                place = Some(Place::new(&postgres.replica, &begin.session_key).ok_or(Error::LineFull)?);
                continue;
            }
            Begun::InLine { place, is_first, expires_in } => (place, is_first.then(|| Instant::now() + expires_in)),
        };
        let far_away = started + wait;
        tokio::select! {
            () = waiting.called() => {}
            () = sleep_until(look_again.unwrap_or(far_away)), if look_again.is_some() => {}
            () = sleep_until(far_away) => return Err(busy()),
            () = postgres.draining.cancelled() => return Err(Error::Closed),
        }
        place = Some(waiting);
    }
}
