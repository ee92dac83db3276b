//! Deletes what is past its time, a little at a time, so that nobody waits for it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::{Error, SessionConfig, store::Store};

/// Between two small deletions, so that others get their turns.
const BREATH: Duration = Duration::from_millis(50);

/// Deletes sessions that had no turn for as long as they are kept, and whatever else is past its time, until `stop` is
/// cancelled; rests for the configured time when nothing is left.
pub(crate) async fn run(store: Arc<dyn Store>, config: Arc<ArcSwap<SessionConfig>>, stop: CancellationToken) {
    loop {
        let (ttl, interval) = {
            let config = config.load();
            (config.ttl, Duration::from_millis(config.prune_interval_ms))
        };
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
