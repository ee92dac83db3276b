//! The steps of an answer, and the gates that hold it up until a test lets it go on.

use std::io;

use bytes::Bytes;
use tokio::sync::watch;

/// Holds an answer up until it is opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// Lets everything pass from now on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("the sender is in this gate");
    }
}

/// One thing that an answer does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sends these bytes at once.
    Send(Bytes),
    /// Waits.
    Wait(Gate),
    /// Closes the connection in the middle of the answer.
    BreakOff,
}

impl Step {
    /// Does it; what comes back is written to the connection before the next step begins.
    pub(super) async fn done(self) -> io::Result<Bytes> {
        match self {
            Self::Send(bytes) => {
                // A stream that is never pending is only written when the connection's buffer is full.
                tokio::task::yield_now().await;
                Ok(bytes)
            }
            Self::Wait(gate) => {
                gate.passed().await;
                Ok(Bytes::new())
            }
            Self::BreakOff => {
                tokio::task::yield_now().await;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }
}
