//! One life of an MCP server: from its start, through what it lists, to its end.

use std::{
    future,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use reqwest::{header::HeaderMap, redirect};
use rmcp::{
    ClientCacheConfig, ClientHandler, RoleClient, ServiceExt,
    model::{ClientCapabilities, ClientConfig, Implementation},
    service::{NotificationContext, Peer, RunningService},
    transport::{
        StreamableHttpClientTransport, async_rw::AsyncRwTransport,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::{process::Command, sync::Notify, time};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Endpoint,
    line_watch::{LineWatch, TooLong},
    listing::{Lister, Listing},
    process::Process,
    scrubber::Scrubber,
    server::Server,
};

/// The longest message that is taken from a server.
pub(super) const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// How long the closing of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a changed list is not asked for again, however often the server says that it has changed.
const LIST_PAUSE: Duration = Duration::from_secs(1);

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("it cannot be run: {0}")]
    Process(#[from] std::io::Error),
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
    /// In the server's words, without secrets.
    #[error("{0}")]
    Initialize(String),
    /// Likewise.
    #[error("it does not list its tools: {0}")]
    List(String),
    #[error("its list has a message of more than {MAX_MESSAGE_BYTES} bytes")]
    ListTooLong,
    #[error("it took longer than {} s (tools.mcp.servers.{server}.startTimeoutSeconds)", timeout.as_secs())]
    Timeout { server: String, timeout: Duration },
    #[error("the runner is ending")]
    Ending,
}

/// A server that runs. It ends once nobody has this any more, so that calls under way can finish.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    listing: Mutex<Listing>,
    too_long: TooLong,
    _ends: DropGuard,
}

impl Connection {
    /// Starts the server. Dropping the future leaves nothing of it.
    pub(super) async fn start(
        server: &Arc<Server>,
        tasks: &TaskTracker,
        ending: &CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let (config, lister) = (server.config(), server.lister());
        let scrubber = Scrubber::of(&config.endpoint);
        let changed = Arc::new(Notify::new());
        let client = Client { changed: Arc::clone(&changed) };
        let (process, too_long, service) = match &config.endpoint {
            Endpoint::Stdio { command, args, environment, cwd } => {
                let mut command = Command::new(command);
                command.args(args).env_clear().envs(environment);
                if let Some(cwd) = cwd {
                    command.current_dir(cwd);
                }
                let (process, stdout, stdin) = Process::start(command, &config.name, tasks)?;
                let (stdout, too_long) = LineWatch::new(stdout, MAX_MESSAGE_BYTES);
                let transport = AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(MAX_MESSAGE_BYTES);
                (Some(process), too_long, client.serve(transport).await)
            }
            Endpoint::Http { url, headers } => {
                let transport = http(url.as_str(), headers).map_err(StartError::Http)?;
                (None, TooLong::never(), client.serve(transport).await)
            }
        };
        let service = service.map_err(|error| StartError::Initialize(scrubber.scrub(&error)))?;
        // The library would keep whole pages, for as long as the server says.
        service.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
        let tools = tokio::select! {
            tools = lister.list(service.peer()) => tools,
            () = too_long.next() => return Err(StartError::ListTooLong),
        };
        let tools = tools.map_err(|error| StartError::List(scrubber.scrub(&error)))?;
        let end = ending.child_token();
        let connection = Arc::new(Self {
            peer: service.peer().clone(),
            listing: Mutex::new(Listing::new(tools)),
            too_long,
            _ends: end.clone().drop_guard(),
        });
        let attendant = Attendant {
            name: config.name.clone(),
            list_timeout: config.start_timeout,
            server: Arc::downgrade(server),
            lister: Arc::clone(lister),
            connection: Arc::downgrade(&connection),
            peer: service.peer().clone(),
        };
        tasks.spawn(attendant.attend(service, process, changed, end));
        Ok(connection)
    }

    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        &self.peer
    }

    /// Whether its calls can only fail.
    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed()
    }

    /// Ends with the next message that is too long, of which nobody knows what it answers.
    pub(super) fn too_long(&self) -> impl Future<Output = ()> + Send + use<> {
        self.too_long.next()
    }

    pub(super) fn listing(&self) -> Listing {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Our side of the connection, as far as the server can ask for something.
struct Client {
    changed: Arc<Notify>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("clawdbot", env!("CARGO_PKG_VERSION")))
    }

    fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.changed.notify_one();
        future::ready(())
    }
}

/// What is looked after while a server runs.
struct Attendant {
    name: String,
    list_timeout: Duration,
    server: Weak<Server>,
    lister: Arc<Lister>,
    connection: Weak<Connection>,
    peer: Peer<RoleClient>,
}

impl Attendant {
    /// Keeps the listing up to date, and ends the server when it is time.
    async fn attend(
        self,
        service: RunningService<RoleClient, Client>,
        process: Option<Process>,
        changed: Arc<Notify>,
        end: CancellationToken,
    ) {
        let close = service.cancellation_token();
        let closed = service.waiting();
        tokio::pin!(closed);
        let watch = async {
            loop {
                changed.notified().await;
                self.list_again().await;
                time::sleep(LIST_PAUSE).await;
            }
        };
        tokio::select! {
            () = end.cancelled() => {
                // This closes a process's standard input, or an HTTP server's session. A server cannot keep us.
                close.cancel();
                let _ = time::timeout(CLOSE_TIMEOUT, closed).await;
            }
            _ = &mut closed => {
                if let (Some(server), Some(connection)) = (self.server.upgrade(), self.connection.upgrade()) {
                    server.lost(&connection);
                }
            }
            () = watch => {}
        }
        if let Some(process) = process {
            process.end().await;
        }
    }

    async fn list_again(&self) {
        match time::timeout(self.list_timeout, self.lister.list(&self.peer)).await {
            Ok(Ok(tools)) => {
                if let Some(connection) = self.connection.upgrade() {
                    connection.listing.lock().unwrap_or_else(PoisonError::into_inner).update(tools);
                }
            }
            // The old list stays; if the server is gone, the next call sees to it.
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(mcp.server = self.name, "MCP server `{}` does not list its changed tools", self.name);
            }
        }
    }
}

/// The transport to an HTTP server. Redirects are not followed: the headers are meant for the configured address only.
fn http(url: &str, headers: &HeaderMap) -> Result<StreamableHttpClientTransport<reqwest::Client>, reqwest::Error> {
    let client = reqwest::Client::builder().redirect(redirect::Policy::none()).build()?;
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let config = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(headers)
        .max_sse_event_size(MAX_MESSAGE_BYTES)
        .max_json_response_size(MAX_MESSAGE_BYTES);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}
