//! The port for those who run a process: whether it lives, whether it can serve, and its metrics.

mod recorder;
mod server;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::config::{self, Document};

/// The configuration section `admin`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    listen: Option<SocketAddr>,
    max_connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: None, max_connections: 64 }
    }
}

impl Config {
    /// Reads the section.
    pub fn load(document: &Document) -> Result<Self, config::Error> {
        document.section("admin")
    }
}

/// Why the admin port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The address cannot be listened on.
    #[error("admin.listen: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Something else in this process records metrics already.
    #[error("cannot record metrics")]
    Recorder(#[from] BuildError),
}

/// Whether a process can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It is not yet so far.
    Starting,
    /// It was asked to end and finishes what is in flight.
    Draining,
    /// What it cannot do without cannot be reached.
    Unreachable,
}

impl Readiness {
    fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A process's admin port, if it has one. Dropping it closes the port.
pub struct Admin {
    running: Option<Running>,
}

struct Running {
    state: Arc<State>,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// What the port's answers are made of.
struct State {
    /// Cancelled when the process is asked to end.
    shutdown: CancellationToken,
    /// Set once the process serves.
    readiness: OnceLock<Box<dyn Fn() -> Readiness + Send + Sync>>,
    metrics: PrometheusHandle,
}

impl Admin {
    /// Opens the port that `admin.listen` names, and has metrics recorded from now on; without the setting neither.
    ///
    /// To be called before what records metrics is made. The port stays open while the process drains, until
    /// [`Admin::shutdown`].
    pub async fn start(document: &Document, shutdown: &CancellationToken) -> Result<Self, Error> {
        let Config { listen: Some(address), max_connections } = Config::load(document)? else {
            return Ok(Self { running: None });
        };
        let listening = TcpListener::bind(address).await;
        let listener = listening.map_err(|source| Error::Listen { address, source })?;
        let address = listener.local_addr().map_err(|source| Error::Listen { address, source })?;
        let metrics = recorder::install()?;
        tracing::info!(%address, "the admin port is open");
        Ok(Self::on(listener, max_connections, metrics, shutdown.clone()))
    }

    fn on(
        listener: TcpListener,
        max_connections: usize,
        metrics: PrometheusHandle,
        shutdown: CancellationToken,
    ) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(recorder::keep_up(metrics.clone(), stop.clone()));
        let state = Arc::new(State { shutdown, readiness: OnceLock::new(), metrics });
        tasks.spawn(server::serve(listener, state.clone(), max_connections.max(1), stop.clone()));
        Self { running: Some(Running { state, tasks, stop: stop.drop_guard() }) }
    }

    /// Says that the process serves from now on, and how to find out whether it is ready; only the first call counts. Once
    /// the process is asked to end it is draining, whatever `readiness` says.
    pub fn serves(&self, readiness: impl Fn() -> Readiness + Send + Sync + 'static) {
        if let Some(Running { state, .. }) = &self.running {
            state.readiness.get_or_init(|| Box::new(readiness));
        }
    }

    /// Closes the port and waits for the answers that are being given.
    pub async fn shutdown(self) {
        let Some(Running { tasks, stop, .. }) = self.running else { return };
        drop(stop);
        tasks.close();
        tasks.wait().await;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Admin").field("is_open", &self.running.is_some()).finish()
    }
}

impl State {
    fn readiness(&self) -> Readiness {
        if self.shutdown.is_cancelled() {
            return Readiness::Draining;
        }
        self.readiness.get().map_or(Readiness::Starting, |readiness| readiness())
    }
}

#[cfg(test)]
mod tests;
