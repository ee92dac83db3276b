//! When a process is asked to end.

use std::{io, process, thread, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a process that is told twice exits with.
pub const TOLD_TWICE: u8 = 130;
/// How long such a process has to let go of what it holds.
const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// What has been asked of the process.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Cancelled by the first SIGTERM or SIGINT.
    pub to_end: CancellationToken,
    /// Cancelled by a second one. Half a second later the process is ended, whatever it does: time to drop what would
    /// outlive it, such as the programs that it has started.
    pub to_end_at_once: CancellationToken,
}

/// Listens for the signals.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> io::Result<Asked> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = Asked::default();
    let Asked { to_end, to_end_at_once } = asked.clone();
    tokio::spawn(async move {
        for attempt in 1.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if attempt > 1 {
                tracing::warn!("asked twice to end; ending at once");
                to_end_at_once.cancel();
                // Not on the runtime, which may be what does not end.
                thread::spawn(|| {
                    thread::park_timeout(LAST_MOMENTS);
                    process::exit(TOLD_TWICE.into());
                });
                return;
            }
            tracing::info!("asked to end; finishing what is in flight");
            to_end.cancel();
        }
    });
    Ok(asked)
}
