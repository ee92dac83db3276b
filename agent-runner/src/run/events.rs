//! A run's events on their way out, numbered.

use std::sync::Arc;

use prost::{Message, bytes::Bytes};
use proto::agent::v1::{RunEvent, RunResponse, run_event::Kind};
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};

use crate::{failure::Failure, resumable::Log};

/// How many events wait for a slow reader before the run waits too.
const IN_FLIGHT: usize = 64;

/// The run's end of its event stream.
pub(crate) enum Events {
    /// To the one reader.
    Channel(Channel),
    /// To all who follow the log.
    Log(Arc<Log>),
}

/// A channel to a run's one reader.
pub(crate) struct Channel {
    sender: Sender<RunResponse>,
    /// A place for the last event, so that a run ends even when its reader has stopped reading.
    last: OwnedPermit<RunResponse>,
    seq: u64,
}

/// Makes a run's event stream: the run's end, and its reader's.
pub(crate) fn channel() -> (Events, Receiver<RunResponse>) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT + 1);
    let last = sender.clone().try_reserve_owned().expect("a new channel has room");
    (Events::Channel(Channel { sender, last, seq: 0 }), receiver)
}

impl Events {
    /// Waits while the one reader is slow; fails when it is gone, or when the log is full.
    pub(super) async fn send(&mut self, kind: Kind) -> Result<(), Failure> {
        match self {
            Self::Channel(Channel { sender, seq, .. }) => {
                // Numbered only once there is room: a run that ends while it waits leaves no gap.
                let room = sender.reserve().await.map_err(|_| Failure::Cancelled)?;
                room.send(numbered(seq, kind));
                Ok(())
            }
            Self::Log(log) => Ok(log.push(kind)?),
        }
    }

    /// Sends the last event, and never waits. Nobody hears it when the reader is gone, which changes nothing.
    pub(super) fn end(self, kind: Kind) {
        match self {
            Self::Channel(Channel { last, mut seq, .. }) => {
                last.send(numbered(&mut seq, kind));
            }
            Self::Log(log) => log.end(kind),
        }
    }

    /// What the run will have come to with this last event, as its record keeps it; nothing for a run without one.
    pub(super) fn outcome(&self, last: &Kind) -> Bytes {
        match self {
            Self::Channel(_) => Bytes::new(),
            Self::Log(log) => log.outcome(last.clone()).encode_to_vec().into(),
        }
    }
}

fn numbered(seq: &mut u64, kind: Kind) -> RunResponse {
    *seq += 1;
    RunResponse { event: Some(RunEvent { seq: *seq, kind: Some(kind) }) }
}
