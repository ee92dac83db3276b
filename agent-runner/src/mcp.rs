//! Tools of MCP servers: each server is a child process or an HTTP endpoint that the operator configured.

mod connection;
mod line_watch;
mod listing;
mod names;
mod process;
mod results;
mod scrubber;
mod server;
mod tool;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{Url, header::HeaderMap};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub(crate) use server::Server;
pub(crate) use tool::McpTool;

/// One server, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerConfig {
    /// `[a-zA-Z0-9_-]{1,32}`; neither `__` in it nor `_` at its end, so that the tools of two servers are never called the
    /// same.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    /// How long it may take to start and to say which tools it has.
    pub(crate) start_timeout: Duration,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A child process, spoken to over its standard input and output.
    Stdio {
        command: String,
        args: Vec<String>,
        /// All of the child's environment.
        environment: BTreeMap<String, String>,
        cwd: Option<PathBuf>,
    },
    /// An endpoint of the streamable HTTP transport.
    Http { url: Url, headers: HeaderMap },
}

/// All servers of one configuration. They end with the last configuration that has them, and the last run that uses them.
pub(crate) struct Servers {
    /// By name.
    servers: BTreeMap<String, Arc<Server>>,
    lives: Arc<Lives>,
}

/// What the servers of one configuration and of those that follow it share. None of them outlives it.
struct Lives {
    tasks: TaskTracker,
    ending: CancellationToken,
    _ends_servers: DropGuard,
}

impl Servers {
    /// Starts none of them: that is for the first run that may use one.
    pub(crate) fn new(configs: Vec<ServerConfig>) -> Self {
        let ending = CancellationToken::new();
        let lives = Lives { tasks: TaskTracker::new(), _ends_servers: ending.clone().drop_guard(), ending };
        Self::with(configs, Arc::new(lives), &BTreeMap::new())
    }

    /// The servers of the next configuration: those that are configured as before go on.
    pub(crate) fn next(&self, configs: Vec<ServerConfig>) -> Self {
        Self::with(configs, self.lives.clone(), &self.servers)
    }

    fn with(configs: Vec<ServerConfig>, lives: Arc<Lives>, before: &BTreeMap<String, Arc<Server>>) -> Self {
        let server = |config: ServerConfig| {
            let name = config.name.clone();
            let same = before.get(&name).filter(|server| *server.config() == config).cloned();
            let new = || Arc::new(Server::new(config, lives.tasks.clone(), lives.ending.clone()));
            (name, same.unwrap_or_else(new))
        };
        Self { servers: configs.into_iter().map(server).collect(), lives }
    }

    /// The servers, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.values()
    }

    /// Ends all servers and waits until they have ended, their processes too.
    pub(crate) async fn shutdown(&self) {
        self.lives.ending.cancel();
        self.lives.tasks.close();
        self.lives.tasks.wait().await;
    }
}

impl fmt::Debug for Endpoint {
    /// Leaves out what may be secret: arguments, environment, address and headers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio { command, .. } => {
                formatter.debug_struct("Stdio").field("command", command).finish_non_exhaustive()
            }
            Self::Http { .. } => formatter.debug_struct("Http").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
