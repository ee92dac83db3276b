//! An MCP server across its lives: started when needed, once for all who wait, and with growing pauses when it fails.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::{self, Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Endpoint, ServerConfig,
    connection::{Connection, StartError},
    listing::{Lister, Listing},
};

/// The pause after the second failure in a row; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A configured server.
pub(crate) struct Server {
    config: ServerConfig,
    lister: Arc<Lister>,
    tasks: TaskTracker,
    ending: CancellationToken,
    life: Mutex<Life>,
}

/// Why a server cannot be used now, in words for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unavailable {
    #[error("the MCP server `{0}` cannot be started")]
    Failed(String),
    #[error("the MCP server `{0}` is not running and will be tried again later")]
    Pausing(String),
}

struct Life {
    state: State,
    /// How often it failed since it last answered a call.
    failures: u32,
    /// Whether the last start came to nothing.
    start_failed: bool,
    /// What the operator was told last.
    told: Option<Told>,
}

enum State {
    /// Not running; it may be started from then on.
    Down {
        from: Instant,
    },
    Starting(Starting),
    Running(Arc<Connection>),
}

/// A start that many can wait for. It goes on whether anybody does or not.
type Starting = Shared<BoxFuture<'static, Result<Arc<Connection>, Unavailable>>>;

/// What a server does that is not left alone.
enum Now {
    Runs(Arc<Connection>),
    Starts(Starting),
    /// After a start that came to nothing.
    StartsAgain(Starting),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Runs,
    Fails,
}

impl Server {
    pub(super) fn new(config: ServerConfig, tasks: TaskTracker, ending: CancellationToken) -> Self {
        let life = Life { state: State::Down { from: Instant::now() }, failures: 0, start_failed: false, told: None };
        let lister = Arc::new(Lister::new(&config.name));
        Self { config, lister, tasks, ending, life: Mutex::new(life) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(super) fn is_http(&self) -> bool {
        matches!(self.config.endpoint, Endpoint::Http { .. })
    }

    pub(super) fn lister(&self) -> &Arc<Lister> {
        &self.lister
    }

    /// The tools that it has, after starting it if need be; `None` if it cannot be started now. Takes no longer than the
    /// start timeout. What could not be started before is not waited for again: it starts while others go on without it.
    pub(crate) async fn listing(self: &Arc<Self>) -> Option<Listing> {
        let connection = match self.now().ok()? {
            Now::Runs(connection) => connection,
            Now::StartsAgain(_) => return None,
            Now::Starts(starting) => starting.await.ok()?,
        };
        Some(connection.listing())
    }

    /// The running server. All who wait for it share one start, which goes on when some of them leave.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, Unavailable> {
        match self.now()? {
            Now::Runs(connection) => Ok(connection),
            Now::Starts(starting) | Now::StartsAgain(starting) => starting.await,
        }
    }

    /// What it does now; it is started if it does nothing.
    fn now(self: &Arc<Self>) -> Result<Now, Unavailable> {
        let mut life = self.life();
        if let State::Running(connection) = &life.state {
            if !connection.is_closed() {
                return Ok(Now::Runs(Arc::clone(connection)));
            }
            self.fail(&mut life, "it ended");
        }
        let starting = match &life.state {
            State::Down { from } if Instant::now() < *from => {
                return Err(Unavailable::Pausing(self.name().to_owned()));
            }
            State::Starting(starting) => starting.clone(),
            State::Down { .. } | State::Running(_) => {
                let starting = self.start();
                life.state = State::Starting(starting.clone());
                starting
            }
        };
        Ok(if life.start_failed { Now::StartsAgain(starting) } else { Now::Starts(starting) })
    }

    /// A call was answered, so the server works.
    pub(super) fn answered(&self) {
        self.life().failures = 0;
    }

    /// A connection is of no more use. The next call may start the server again, unless it failed before.
    pub(super) fn lost(&self, connection: &Arc<Connection>) {
        let mut life = self.life();
        if matches!(&life.state, State::Running(running) if Arc::ptr_eq(running, connection)) {
            self.fail(&mut life, "it ended or could not be reached");
        }
    }

    fn start(self: &Arc<Self>) -> Starting {
        let server = Arc::clone(self);
        let starting = self.tasks.spawn(async move {
            let timeout = server.config.start_timeout;
            let connecting = Connection::start(&server, &server.tasks, &server.ending);
            let started = tokio::select! {
                started = time::timeout(timeout, connecting) => started.unwrap_or_else(|_| {
                    Err(StartError::Timeout { server: server.name().to_owned(), timeout })
                }),
                () = server.ending.cancelled() => Err(StartError::Ending),
            };
            server.started(started)
        });
        let name = self.name().to_owned();
        // The task ends without a result only when the runtime does.
        starting.map(|started| started.unwrap_or(Err(Unavailable::Failed(name)))).boxed().shared()
    }

    fn started(&self, started: Result<Arc<Connection>, StartError>) -> Result<Arc<Connection>, Unavailable> {
        let mut life = self.life();
        life.start_failed = started.is_err();
        match started {
            Ok(connection) => {
                let name = self.name();
                if life.told.replace(Told::Runs) != Some(Told::Runs) {
                    let tools = connection.listing().tools.len();
                    tracing::info!(mcp.server = name, "MCP server `{name}` runs, with {tools} tools");
                }
                life.state = State::Running(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                self.fail(&mut life, &error.to_string());
                Err(Unavailable::Failed(self.name().to_owned()))
            }
        }
    }

    fn fail(&self, life: &mut Life, reason: &str) {
        life.failures = life.failures.saturating_add(1);
        life.state = State::Down { from: Instant::now() + jittered(pause(life.failures)) };
        // A server that fails again and again is told of once.
        if life.told.replace(Told::Fails) != Some(Told::Fails) && !self.ending.is_cancelled() {
            let name = self.name();
            tracing::warn!(mcp.server = name, "MCP server `{name}` does not run: {reason}");
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a server that failed so often in a row is left alone.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(6)).min(LONGEST_PAUSE),
    }
}

/// Up to a quarter less, so that the servers of many runners are not all started at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_with_the_second_failure_and_double_up_to_a_minute() {
        let pauses: Vec<u64> = (0..10).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
        let jittered = jittered(LONGEST_PAUSE).as_secs();
        assert!((45..=60).contains(&jittered), "{jittered}");
    }
}
