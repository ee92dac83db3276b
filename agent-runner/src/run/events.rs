//! A run's events on their way out, numbered.

use proto::{
    agent::v1::{Failed, FinishReason, Finished, RunEvent, RunResponse, run_event::Kind},
    session::v1::Usage,
};
use tokio::sync::mpsc;

use crate::failure::Failure;

pub(super) struct Events {
    sender: mpsc::Sender<RunResponse>,
    seq: u64,
}

impl Events {
    pub(super) fn new(sender: mpsc::Sender<RunResponse>) -> Self {
        Self { sender, seq: 0 }
    }

    /// Waits while the reader is slow; fails when it is gone.
    pub(super) async fn send(&mut self, kind: Kind) -> Result<(), Failure> {
        self.seq += 1;
        let event = RunEvent { seq: self.seq, kind: Some(kind) };
        self.sender.send(RunResponse { event: Some(event) }).await.map_err(|_| Failure::Cancelled)
    }

    pub(super) async fn finished(mut self, reason: FinishReason, usage: Usage) {
        // The turn is kept already; that the reader is gone changes nothing.
        let _ = self.send(Kind::Finished(Finished { reason: reason.into(), usage: Some(usage) })).await;
    }

    pub(super) async fn failed(mut self, failure: &Failure) {
        // Nobody is left to tell when the reader is gone; the failure is in the log.
        let _ = self.send(Kind::Failed(Failed::from(failure))).await;
    }
}
