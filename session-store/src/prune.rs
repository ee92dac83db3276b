//! Deletes what is past its time, a little at a time, so that nobody waits for it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{Error, config::Lifetime, store::Store};

/// Between two small deletions, so that others get their turns.
const BREATH: Duration = Duration::from_millis(50);

/// Deletes sessions `ttl` after their last turn, and whatever else is past its time, until `stop` is cancelled; rests
/// for `interval` when nothing is left.
pub(crate) async fn run(store: Arc<dyn Store>, ttl: Lifetime, interval: Duration, stop: CancellationToken) {
    loop {
        let pause = match store.prune(ttl.as_millis()).await {
            Ok(true) => BREATH,
            Ok(false) => interval,
            // What everybody meets is in the log already.
            Err(error @ (Error::Unavailable(_) | Error::Closed)) => {
                tracing::debug!(%error, "what is past its time could not be deleted");
                interval
            }
            Err(error) => {
                tracing::warn!(%error, "what is past its time could not be deleted");
                interval
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.max(BREATH)) => {}
        }
    }
}
