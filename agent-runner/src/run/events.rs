//! A run's events on their way out, numbered.

use proto::agent::v1::{RunEvent, RunResponse, run_event::Kind};
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};

use crate::failure::Failure;

/// How many events wait for a slow reader before the run waits too.
const IN_FLIGHT: usize = 64;

/// The run's end of its event stream.
pub(crate) struct Events {
    sender: Sender<RunResponse>,
    /// A place for the last event, so that a run ends even when its reader has stopped reading.
    last: OwnedPermit<RunResponse>,
    seq: u64,
}

/// Makes a run's event stream: the run's end, and its reader's.
pub(crate) fn channel() -> (Events, Receiver<RunResponse>) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT + 1);
    let last = sender.clone().try_reserve_owned().expect("a new channel has room");
    (Events { sender, last, seq: 0 }, receiver)
}

impl Events {
    /// Waits while the reader is slow; fails when it is gone.
    pub(super) async fn send(&mut self, kind: Kind) -> Result<(), Failure> {
        // Numbered only once there is room: a run that ends while it waits leaves no gap.
        let room = self.sender.reserve().await.map_err(|_| Failure::Cancelled)?;
        room.send(numbered(&mut self.seq, kind));
        Ok(())
    }

    /// Sends the last event, and never waits. Nobody hears it when the reader is gone, which changes nothing.
    pub(super) fn end(mut self, kind: Kind) {
        self.last.send(numbered(&mut self.seq, kind));
    }
}

fn numbered(seq: &mut u64, kind: Kind) -> RunResponse {
    *seq += 1;
    RunResponse { event: Some(RunEvent { seq: *seq, kind: Some(kind) }) }
}
