//! When a process is asked to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT. A second signal ends the process at once.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for attempt in 1.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if attempt > 1 {
                tracing::warn!("asked twice to end; ending at once");
                std::process::exit(130);
            }
            tracing::info!("asked to end; finishing what is in flight");
            cancelled.cancel();
        }
    });
    Ok(token)
}
