//! A kept run does not end with its stream; where it should, this sees to it.

use tracing::Instrument;

use crate::Gateway;

/// Stops a run when it is dropped before the run is over.
pub(crate) struct CancelGuard {
    gateway: Option<Gateway>,
    run_id: String,
}

impl CancelGuard {
    pub(super) fn new(gateway: Gateway, run_id: &str) -> Self {
        Self { gateway: Some(gateway), run_id: run_id.to_owned() }
    }

    /// The run is over, or shall go on.
    pub(crate) fn disarm(mut self) {
        self.gateway = None;
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let Some(gateway) = self.gateway.take() else { return };
        let run_id = std::mem::take(&mut self.run_id);
        let tasks = gateway.inner.tasks.clone();
        let cancelling = async move {
            if let Err(error) = gateway.cancel_kept(&run_id).await {
                tracing::warn!(run.id = run_id, error = error.message(), "a run whose client hung up goes on");
            }
        };
        // Outside of a runtime there is nobody left to hang up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            tasks.spawn_on(cancelling.in_current_span(), &runtime);
        }
    }
}
