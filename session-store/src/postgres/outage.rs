//! Says once that the database is out of reach, and once that it is back, however many calls meet it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// After how long the same is said again.
const REMINDER: Duration = Duration::from_secs(60);
/// How long nothing must have failed until it counts as over: on a full disk reads work, and writes do not.
const QUIET: Duration = Duration::from_secs(10);

/// Whether the database is out of reach, as far as anybody has noticed.
#[derive(Debug, Default)]
pub(super) struct Outage {
    is_on: AtomicBool,
    said: Mutex<Option<Said>>,
}

#[derive(Debug)]
struct Said {
    reason: String,
    at: Instant,
    failed_at: Instant,
}

impl Outage {
    /// Takes note of why the database could not be used.
    pub(super) fn report(&self, reason: &str, advice: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_on.store(true, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(said) = said.as_mut()
            && said.reason == reason
            && said.at.elapsed() < REMINDER
        {
            said.failed_at = now;
            return;
        }
        *said = Some(Said { reason: reason.to_owned(), at: now, failed_at: now });
        tracing::error!(reason, advice, "the session database cannot be used");
    }

    /// Takes note that the database could be used.
    pub(super) fn over(&self) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref().is_some_and(|said| said.failed_at.elapsed() >= QUIET) {
            *said = None;
            self.is_on.store(false, Ordering::Relaxed);
            tracing::info!("the session database can be used again");
        }
    }
}
