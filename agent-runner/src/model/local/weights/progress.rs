//! What someone who waits for the weights sees.

use std::{
    io::{IsTerminal, stderr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, a line is logged each time that this many of the hundred parts are done.
const LOGGED_PARTS: u64 = 25;

/// A bar on a terminal, a few lines in a log otherwise.
pub(super) struct Progress {
    bar: ProgressBar,
    what: String,
    logs: bool,
    logged: AtomicU64,
}

impl Progress {
    /// Shows how much of `size_bytes` is done.
    pub(super) fn of_bytes(what: &str, size_bytes: u64) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} ({bytes_per_sec}, {eta})");
        Self::start(what, ProgressBar::new(size_bytes), style.expect("the template is constant"))
    }

    /// Shows that something goes on.
    pub(super) fn of_unknown_size(what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let progress = Self::start(what, ProgressBar::new_spinner(), style.expect("the template is constant"));
        progress.bar.enable_steady_tick(Duration::from_millis(100));
        progress
    }

    fn start(what: &str, bar: ProgressBar, style: ProgressStyle) -> Self {
        let logs = !stderr().is_terminal();
        if logs {
            tracing::info!("{what}");
        }
        Self { bar: bar.with_style(style).with_message(what.to_owned()), what: what.to_owned(), logs, logged: 0.into() }
    }

    /// Tells how many bytes are done by now.
    pub(super) fn reached(&self, bytes: u64) {
        self.bar.set_position(bytes);
        let parts = bytes * 100 / self.bar.length().unwrap_or(0).max(1);
        if self.logs && parts >= self.logged.load(Ordering::Relaxed) + LOGGED_PARTS {
            self.logged.store(parts, Ordering::Relaxed);
            tracing::info!("{}: {parts} %", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
