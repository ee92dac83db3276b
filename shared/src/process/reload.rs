//! What becomes of a changed configuration file: applied as far as it can be, or refused as a whole.

use std::{
    convert::Infallible,
    future,
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    config::{self, Change, Document, Look, Sources, Watch},
    telemetry::LogSection,
};

/// Between two looks at the file. A change is read at the second look after it.
const PERIOD: Duration = Duration::from_millis(200);
/// Between two tries of a file that was refused: what it lacks may be in another file, which comes later.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

const RELOADS: &str = "clawdbot_config_reloads_total";
const REFUSED: &str = "clawdbot_config_refused";
const LAST_RELOAD: &str = "clawdbot_config_last_reload_seconds";

/// The settings of a process that runs.
pub(super) struct Reload<'a> {
    path: PathBuf,
    /// Those that the process started with, which some settings keep.
    started: &'a Document,
    /// Those that were applied last.
    applied: Document,
    /// What the process reads of them.
    sections: &'a [&'a str],
    refused: Option<Refused>,
}

/// Why the file that is there is not applied.
#[derive(Debug)]
struct Refused {
    reason: String,
    at: Instant,
}

/// The keys of what has changed, for the log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    applied: String,
    needs_restart: String,
}

impl<'a> Reload<'a> {
    /// Looks at the file until `shutdown` is cancelled; never ends.
    pub(super) async fn run(
        sources: Sources,
        started: &'a Document,
        sections: &'a [&'a str],
        shutdown: &CancellationToken,
        mut apply: impl AsyncFnMut(&Document) -> Result<(), String>,
    ) -> Infallible {
        describe();
        let mut watch = Watch::new(sources, started.path().is_some());
        let path = watch.path().to_owned();
        let mut reload = Self { path, started, applied: started.clone(), sections, refused: None };
        // Whoever closes the terminal wants the process to end.
        let mut hangup = if io::stdin().is_terminal() { None } else { signal(SignalKind::hangup()).ok() };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return future::pending().await,
                () = told_to_look(&mut hangup) => watch.read_again(),
                () = tokio::time::sleep(PERIOD) => {}
            }
            if reload.refused.as_ref().is_some_and(|refused| refused.at.elapsed() >= RETRY_PERIOD) {
                watch.read_again();
            }
            let looking = spawn_blocking(move || (watch.look(), watch));
            let (look, looked) = looking.await.expect("looking does not panic, and is not aborted");
            watch = looked;
            reload.take(look, &mut apply).await;
        }
    }

    async fn take(&mut self, look: Look, apply: &mut impl AsyncFnMut(&Document) -> Result<(), String>) {
        match look {
            Look::Same => {}
            Look::Read(document) => self.change(*document, apply).await,
            Look::Unusable(error) => self.refuse(&error.to_string()),
            Look::Gone(error) => {
                tracing::warn!(file = %self.path.display(), %error, "the configuration file is gone; its settings stay");
            }
        }
    }

    async fn change(&mut self, document: Document, apply: &mut impl AsyncFnMut(&Document) -> Result<(), String>) {
        let changes = self.applied.changes(&document);
        if changes.is_empty() {
            self.accepted();
        }
        if !changes.is_empty() {
            let checked = check(&document).map_err(|error| error.to_string());
            let applied = match checked {
                Ok(()) => apply(&document).await,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = applied {
                return self.refuse(&reason);
            }
            self.accepted();
            counter!(RELOADS, "outcome" => "applied").increment(1);
            gauge!(LAST_RELOAD).set(unix_seconds());
        }
        let told = self.told(&changes, &document);
        if !told.applied.is_empty() {
            tracing::info!(keys = told.applied, "the configuration has changed, for new runs and requests");
        }
        if !told.needs_restart.is_empty() {
            let keys = told.needs_restart;
            tracing::warn!(keys, "the configuration has changed where it takes effect only after a restart: {keys}");
        }
        for warning in document.warnings().iter().filter(|warning| !self.applied.warnings().contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.applied = document;
    }

    fn accepted(&mut self) {
        self.refused = None;
        gauge!(REFUSED).set(0.0);
    }

    /// Told once for each reason, however often it is tried again.
    fn refuse(&mut self, reason: &str) {
        gauge!(REFUSED).set(1.0);
        let refused = Refused { reason: reason.to_owned(), at: Instant::now() };
        if self.refused.replace(refused).is_some_and(|before| before.reason == reason) {
            return;
        }
        counter!(RELOADS, "outcome" => "refused").increment(1);
        tracing::error!(
            file = %self.path.display(), reason, "the changed configuration is refused, and the old one stays: {reason}"
        );
    }

    /// What is to be said of changes. Nothing needs a restart that is again as it was at the start.
    fn told(&self, changes: &[Change], document: &Document) -> Told {
        let since_start = self.started.changes(document);
        let ours = || changes.iter().filter(|change| change.is_in(self.sections));
        let keys = |changes: Vec<&Change>| changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Told {
            applied: keys(ours().filter(|change| !change.needs_restart).collect()),
            needs_restart: keys(ours().filter(|change| change.needs_restart && since_start.contains(change)).collect()),
        }
    }
}

/// Checks what every process reads at its start, and none again.
fn check(document: &Document) -> Result<(), config::Error> {
    LogSection::load(document)?;
    admin::Config::load(document)?;
    Ok(())
}

async fn told_to_look(hangup: &mut Option<Signal>) {
    let told = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if told.is_none() {
        future::pending::<()>().await;
    }
}

fn describe() {
    describe_counter!(RELOADS, Unit::Count, "Changed configuration files, by what came of them.");
    describe_gauge!(LAST_RELOAD, Unit::Seconds, "Unix time at which the configuration was last applied.");
    for outcome in ["applied", "refused"] {
        counter!(RELOADS, "outcome" => outcome).absolute(0);
    }
    describe_gauge!(REFUSED, Unit::Count, "1 while the configuration file that is there is refused.");
    gauge!(REFUSED).set(0.0);
    gauge!(LAST_RELOAD).set(unix_seconds());
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn document(text: &str) -> Document {
        Document::from_text(text, Path::new("clawdbot.json"), &Sources::default()).unwrap()
    }

    fn reload<'a>(started: &'a Document, sections: &'a [&'a str]) -> Reload<'a> {
        Reload { path: PathBuf::new(), started, applied: started.clone(), sections, refused: None }
    }

    fn read(text: &str) -> Look {
        Look::Read(Box::new(document(text)))
    }

    #[tokio::test]
    async fn what_is_refused_leaves_what_was_applied() {
        let started = document("{ session: { ttl: '1d' } }");
        let mut reload = reload(&started, &["session"]);
        let mut seen = Vec::new();
        let mut apply = async |document: &Document| {
            let ttl = document.section::<serde_json::Value>("session").unwrap()["ttl"].to_string();
            seen.push(ttl.clone());
            if ttl == "\"bad\"" { Err("it is bad".to_owned()) } else { Ok(()) }
        };
        for text in ["{ session: { ttl: 'bad' } }", "{ session: { ttl: '1d' }, log: { format: 7 } }"] {
            reload.take(read(text), &mut apply).await;
            assert_eq!(reload.applied.changes(&started), []);
        }
        let gone = Look::Gone(io::ErrorKind::NotFound.into());
        let unusable = Document::from_text("{", Path::new("clawdbot.json"), &Sources::default()).unwrap_err();
        reload.take(gone, &mut apply).await;
        reload.take(Look::Unusable(unusable), &mut apply).await;
        reload.take(read("{ session: { ttl: '1d' } } // the same"), &mut apply).await;
        reload.take(read("{ session: { ttl: '2d' } }"), &mut apply).await;
        assert_eq!(reload.applied.changes(&document("{ session: { ttl: '2d' } }")), []);
        assert!(reload.refused.is_none());
        assert_eq!(seen, ["\"bad\"", "\"2d\""]);
    }

    #[test]
    fn the_log_names_what_this_process_reads_by_whether_it_needs_a_restart() {
        let started = document("{ gateway: { port: 1 } }");
        let mut reload = reload(&started, &["gateway"]);
        let told = |reload: &Reload<'_>, text: &str| {
            let new = document(text);
            let Told { applied, needs_restart } = reload.told(&reload.applied.changes(&new), &new);
            (applied, needs_restart)
        };
        let changed = "{ gateway: { port: 2, bind: 'lan', drainMs: 3 }, session: { ttl: '1d' } }";
        let expected = ("gateway.drainMs".to_owned(), "gateway.bind, gateway.port".to_owned());
        assert_eq!(told(&reload, changed), expected);
        // Back to what the process has all along.
        reload.applied = document(changed);
        assert_eq!(told(&reload, "{ gateway: { port: 1, bind: 'lan', drainMs: 3 } }"), Default::default());
    }
}
