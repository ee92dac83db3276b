//! How a kept run is begun: even if whoever asked for it hangs up meanwhile, so that it can be found, and stopped.

use std::time::Duration;

use proto::agent::v1::{RunRequest, run_event::Kind};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{CancelGuard, KeptRun, OnDisconnect};
use crate::{
    Gateway,
    caller::Caller,
    error::ApiError,
    limits::Permit,
    run::{Events, shutting_down},
};

/// How often it is asked whether a run that could not be followed is over.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

impl Gateway {
    /// Begins a kept run and waits until it is recorded. With `Continue` it counts among the caller's runs until it is
    /// over, whoever hangs up. Otherwise it is stopped with its events, which may be before anybody has them.
    pub(crate) async fn begin_kept(
        &self,
        run: RunRequest,
        caller: &Caller,
        on_disconnect: OnDisconnect,
        permit: &mut Permit,
    ) -> Result<Events, ApiError> {
        let (gateway, caller, run_id) = (self.clone(), caller.clone(), run.run_id.clone());
        let (guard, counted) = match on_disconnect {
            OnDisconnect::Cancel => (Some(CancelGuard::new(self.clone(), &run_id)), None),
            OnDisconnect::Continue => (None, permit.split_run()),
        };
        let counted = counted.map(|permit| (permit, self.inner.counted_runs.add(&run_id)));
        let (sender, receiver) = oneshot::channel();
        let beginning = async move {
            let begun = match (gateway.begun(run).await, guard) {
                (Ok(events), Some(guard)) => Ok(events.guarded(guard)),
                // If it is not known whether the run is there, it is stopped.
                (Err(error), Some(guard)) if error.code() != "unavailable" => {
                    guard.disarm();
                    Err(error)
                }
                (begun, _) => begun,
            };
            let is_begun = begun.is_ok();
            // If nobody waits for them any more, the events are dropped.
            let _ = sender.send(begun);
            if let Some(counted) = counted.filter(|_| is_begun) {
                gateway.until_over(&caller, &run_id).await;
                drop(counted);
            }
        };
        self.inner.tasks.spawn(beginning.in_current_span());
        receiver.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// Waits until a kept run is over, or the gateway ends.
    async fn until_over(&self, caller: &Caller, run_id: &str) {
        let waiting = async {
            let mut is_snapshot = false;
            loop {
                match self.kept_run(caller, run_id, is_snapshot).await {
                    Ok(KeptRun { mut events, .. }) => {
                        while let Ok(event) = events.next().await {
                            if matches!(event, Kind::Finished(_) | Kind::Failed(_)) {
                                return;
                            }
                        }
                    }
                    Err(error) if error.status() == http::StatusCode::NOT_FOUND => return,
                    Err(_) => {}
                }
                // Of a run that was lost only a snapshot says so.
                is_snapshot = true;
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        // A gateway that ends counts nothing any more.
        let _ = self.inner.draining.run_until_cancelled(waiting).await;
    }
}
