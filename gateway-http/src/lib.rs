//! The OpenAI-compatible front of the agents: HTTP and JSON on one side, gRPC on the other.

mod address;
mod auth;
mod body;
mod brand;
mod caller;
mod chat;
mod config;
mod directory;
mod embeddings;
mod error;
mod files;
mod kept;
mod limits;
mod linger;
mod metrics;
mod models;
mod openapi;
mod probes;
mod protection;
mod responses;
mod router;
mod run;
mod runs;
mod server;
mod sessions;
mod stream;
mod target;
mod trace;
mod wire;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderName;
use proto::agent::v1::agent_runner_client::AgentRunnerClient;
use shared::transport::{MAX_MESSAGE_BYTES, Transport};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use auth::{Auth, FailedLogins, LoginLimits};
use body::Bodies;
use config::Secrets;
use directory::Directory;
use kept::OnDisconnect;
use limits::{CallerLimits, CountedRuns, Usages};
use protection::Protection;
use server::Tls;
use sessions::Store;

pub use config::{Config, Error};
pub use server::serve;

/// What every request needs; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    /// What may change while the gateway runs.
    settings: ArcSwap<Settings>,
    runner: AgentRunnerClient<Transport>,
    /// Whether a runner can go away while this gateway stays.
    is_runner_remote: bool,
    store: Store,
    directory: Directory,
    /// With it, clients speak TLS.
    tls: Option<Tls>,
    usages: Usages,
    counted_runs: CountedRuns,
    bodies: Bodies,
    failed_logins: FailedLogins,
    /// What is done beside the answers.
    tasks: TaskTracker,
    /// Cancelled when no more requests are taken.
    draining: CancellationToken,
    /// Cancelled when the answers that are still being given must end.
    cut: CancellationToken,
}

/// What the configuration says of how requests are answered.
#[derive(Debug)]
struct Settings {
    auth: Auth,
    /// The files that `auth` was made of.
    secrets: Secrets,
    limits: Limits,
    protection: Protection,
    serves_chat_completions: bool,
    serves_responses: bool,
    on_disconnect: OnDisconnect,
    /// `None` when embeddings are not served.
    embeddings: Option<embeddings::Limits>,
    /// The headers that name a conversation, in the order in which they are looked at.
    session_headers: Vec<HeaderName>,
}

/// What a request may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_body_bytes: usize,
    body_timeout: Duration,
    keep_alive: Duration,
    drain: Duration,
    max_connections: usize,
    /// Of a request's target and headers.
    max_header_bytes: usize,
    max_headers: usize,
    /// For a request's head to arrive.
    head_timeout: Duration,
    /// Over one HTTP/2 connection.
    max_concurrent_requests: u32,
    /// Of a caller that has no limits of its own.
    callers: CallerLimits,
    logins: LoginLimits,
}

impl Gateway {
    fn new(config: Config, tls: Option<Tls>, runner: Transport, store: Transport) -> Self {
        metrics::describe();
        let is_runner_remote = runner.is_remote();
        let runner = AgentRunnerClient::new(runner)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            inner: Arc::new(Inner {
                settings: ArcSwap::from_pointee(config.settings),
                directory: Directory::new(runner.clone()),
                runner,
                is_runner_remote,
                store: Store::new(store, config.store_timeout),
                tls,
                usages: Usages::new(),
                counted_runs: CountedRuns::default(),
                bodies: Bodies::new(config.max_body_bytes_in_flight),
                failed_logins: FailedLogins::new(),
                tasks: TaskTracker::new(),
                draining: CancellationToken::new(),
                cut: CancellationToken::new(),
            }),
        }
    }

    /// Has requests that come from now on follow another configuration; those that are being answered keep to theirs. The
    /// address and the ways to the services stay as they are.
    pub fn reload(&self, config: Config) {
        self.inner.settings.store(Arc::new(config.settings));
    }

    /// The settings as they are now. A request takes them once and keeps to them.
    fn settings(&self) -> Arc<Settings> {
        self.inner.settings.load_full()
    }
}
