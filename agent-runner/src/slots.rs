//! How many runs go on at a time, and how many wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::metrics;

/// The places of one runner.
#[derive(Debug)]
pub(crate) struct Slots {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// A run's place among those that go on or wait; it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    _admitted: OwnedSemaphorePermit,
    running: Arc<Semaphore>,
    waiting: Option<metrics::Counted>,
}

/// A run's place among those that go on; it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _running: metrics::Counted,
}

impl Slots {
    /// `running` runs go on at a time, `waiting` more wait for their turn.
    pub(crate) fn new(running: usize, waiting: usize) -> Self {
        let admitted = Arc::new(Semaphore::new(running.saturating_add(waiting).min(Semaphore::MAX_PERMITS)));
        Self { admitted, running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))) }
    }

    /// Takes a run in. `RESOURCE_EXHAUSTED` when as many wait as may.
    pub(crate) fn admit(&self) -> Result<Ticket, Status> {
        let admitted = self.admitted.clone().try_acquire_owned();
        let admitted =
            admitted.map_err(|_| Status::resource_exhausted("the runner has as many runs in flight as it may"))?;
        let waiting = Some(metrics::Counted::waiting_run());
        Ok(Ticket { _admitted: admitted, running: self.running.clone(), waiting })
    }
}

impl Ticket {
    /// Waits, first come first served, until the run may go on; it does for as long as the slot is held.
    pub(crate) async fn slot(&mut self) -> Slot {
        let permit = self.running.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.waiting = None;
        Slot { _permit: permit, _running: metrics::Counted::run() }
    }
}
