//! The first steps of every binary, in their order, and what each does beside its work.

mod reload;

use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Document, Environment, Sources},
    shutdown::{self, Asked},
    telemetry::{self, LogSection, Telemetry},
};
use reload::Reload;

/// A process that has read its configuration and can log.
#[derive(Debug)]
pub struct Process {
    /// The settings.
    pub document: Document,
    /// The environment.
    pub environment: Environment,
    /// Cancelled when the process is asked to end.
    pub shutdown: CancellationToken,
    sources: Sources,
    at_once: CancellationToken,
    telemetry: Telemetry,
}

/// Why a process cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Logs or traces cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals")]
    Signals(#[from] std::io::Error),
}

impl Process {
    /// Reads the configuration, starts telemetry, and listens for signals. Called once, inside the tokio runtime.
    ///
    /// `service_name` is the service's name in traces, and `log_level` holds unless `RUST_LOG` says otherwise.
    pub fn start(service_name: &'static str, log_level: &str, sources: Sources) -> Result<Self, Error> {
        close_to_others();
        // Fails only if a provider is installed already, and then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let document = Document::load(&sources)?;
        let log_format = LogSection::load(&document)?.format.unwrap_or_default();
        let telemetry = Telemetry::start(service_name, log_level, log_format, &sources.environment)?;
        for warning in document.warnings() {
            tracing::warn!("{warning}");
        }
        let Asked { to_end, to_end_at_once } = shutdown::on_signal()?;
        let environment = sources.environment.clone();
        Ok(Self { document, environment, shutdown: to_end, sources, at_once: to_end_at_once, telemetry })
    }

    /// Does the work, and has `apply` take the settings of each changed configuration file meanwhile, until the process
    /// is asked to end. `apply` takes all of them or, saying why, none; a file that it refuses changes nothing. `sections`
    /// are those that the process reads: only of them the log says what has changed. Environment and flags stay as they
    /// were. SIGHUP has the file looked at without delay, unless there is a terminal.
    pub async fn watching_config<T>(
        &self,
        sections: &[&str],
        apply: impl AsyncFnMut(&Document) -> Result<(), String>,
        work: impl Future<Output = T>,
    ) -> T {
        let watching = Reload::run(self.sources.clone(), &self.document, sections, &self.shutdown, apply);
        let watching = Box::pin(watching);
        tokio::select! {
            biased;
            done = work => done,
            never = watching => match never {},
        }
    }

    /// Does the work, unless the process is told twice to end: then the work is dropped, and `None` is all there is left
    /// to return from `main` with.
    pub async fn unless_told_twice<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.at_once.run_until_cancelled(work).await
    }

    /// Sends what is left of the traces. The last thing that a process does.
    pub fn finish(self) {
        self.telemetry.shutdown();
    }
}

/// Closes the memory and the environment of this process to others of its own user, such as the programs that an agent
/// runs; root still sees them. Nothing is lost where that cannot be done.
fn close_to_others() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    /// What the kernel makes of it cannot be seen where tests are run by root, to whom everything is open.
    #[test]
    fn a_process_is_closed_to_others_of_its_user() {
        close_to_others();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
