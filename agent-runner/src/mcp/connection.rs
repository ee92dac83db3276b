//! One life of an MCP server: from its start, through what it lists, to its end.

use std::{
    future,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::agent::v1::FunctionTool;
use reqwest::{header::HeaderMap, redirect};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, Tool},
    service::{ClientInitializeError, NotificationContext, Peer, RunningService, ServiceError},
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

use super::{Endpoint, ServerConfig, names, process::Process, server::Server, tool::Listed};

/// The longest message that is taken from a server.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// How many tools of one server there can be; more are left out.
const MAX_TOOLS: usize = 128;
/// How much of a tool's description is kept.
const MAX_DESCRIPTION_BYTES: usize = 4096;
/// The largest schema of a tool's arguments; a tool with a larger one is left out.
const MAX_SCHEMA_BYTES: usize = 32 * 1024;
/// How long the closing of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The version of the next listing.
static NEXT_VERSION: AtomicU64 = AtomicU64::new(0);

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("it cannot be run: {0}")]
    Process(#[from] std::io::Error),
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
    #[error("{0}")]
    Initialize(String),
    #[error("it does not list its tools: {0}")]
    List(#[from] ServiceError),
    #[error("it took longer than {} s (tools.mcp.servers.{server}.startTimeoutSeconds)", timeout.as_secs())]
    Timeout { server: String, timeout: Duration },
    #[error("the runner is ending")]
    Ending,
}

/// The tools that a server has.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// No two listings have the same.
    pub(crate) version: u64,
    pub(crate) tools: Arc<[Arc<Listed>]>,
}

/// A server that runs. It ends once nobody has this any more, so that calls under way can finish.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    listing: Mutex<Listing>,
    _ends: DropGuard,
}

impl Connection {
    /// Starts the server. Dropping the future leaves nothing of it.
    pub(super) async fn start(
        config: &ServerConfig,
        server: &Weak<Server>,
        tasks: &TaskTracker,
        ending: &CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let changed = Arc::new(Notify::new());
        let client = Client { changed: Arc::clone(&changed) };
        let (process, service) = match &config.endpoint {
            Endpoint::Stdio { command, args, environment, cwd } => {
                let mut command = Command::new(command);
                command.args(args).env_clear().envs(environment);
                if let Some(cwd) = cwd {
                    command.current_dir(cwd);
                }
                let (process, stdout, stdin) = Process::start(command, &config.name, tasks)?;
                let transport = AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(MAX_MESSAGE_BYTES);
                (Some(process), client.serve(transport).await.map_err(|error| initialize_error(&error, None))?)
            }
            Endpoint::Http { url, headers } => {
                let transport = http(url.as_str(), headers).map_err(StartError::Http)?;
                let service = client.serve(transport).await;
                (None, service.map_err(|error| initialize_error(&error, Some(url.as_str())))?)
            }
        };
        let listing = list(&config.name, service.peer()).await?;
        let end = ending.child_token();
        let connection = Arc::new(Self {
            peer: service.peer().clone(),
            listing: Mutex::new(listing),
            _ends: end.clone().drop_guard(),
        });
        let attendant = Attendant {
            name: config.name.clone(),
            server: Weak::clone(server),
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
    server: Weak<Server>,
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
        match list(&self.name, &self.peer).await {
            Ok(listing) => {
                if let Some(connection) = self.connection.upgrade() {
                    *connection.listing.lock().unwrap_or_else(PoisonError::into_inner) = listing;
                }
            }
            // The old list stays; if the server is gone, the next call sees to it.
            Err(_) => {
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

/// What went wrong, without the server's address, which may hold secrets.
fn initialize_error(error: &ClientInitializeError, url: Option<&str>) -> StartError {
    let text = error.to_string();
    StartError::Initialize(match url {
        Some(url) => text.replace(url, "<url>"),
        None => text,
    })
}

/// Asks for all pages of the tools, and makes them fit for a model.
async fn list(server: &str, peer: &Peer<RoleClient>) -> Result<Listing, ServiceError> {
    let mut tools = Vec::new();
    // A server without tools may refuse to list them.
    let has_tools = peer.peer_info().is_some_and(|info| info.capabilities.tools.is_some());
    let mut cursor = None;
    // A page of nothing may be followed by others, but not for ever.
    for _ in 0..if has_tools { MAX_TOOLS } else { 0 } {
        let page = peer.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() || tools.len() > MAX_TOOLS {
            break;
        }
    }
    if tools.len() > MAX_TOOLS || cursor.is_some() {
        tools.truncate(MAX_TOOLS);
        tracing::warn!(mcp.server = server, "MCP server `{server}` has more tools than the {MAX_TOOLS} that are used");
    }
    let version = NEXT_VERSION.fetch_add(1, Ordering::Relaxed);
    Ok(Listing { version, tools: listed(server, tools).into_iter().map(Arc::new).collect() })
}

fn listed(server: &str, tools: Vec<Tool>) -> Vec<Listed> {
    let names = names::for_model(server, tools.iter().map(|tool| &*tool.name));
    let listed = |(name, tool): (String, Tool)| {
        let parameters = serde_json::to_string(&*tool.input_schema).ok()?;
        if parameters.len() > MAX_SCHEMA_BYTES {
            tracing::warn!(
                mcp.server = server,
                "a tool of MCP server `{server}` is left out, its schema is too large: {name}"
            );
            return None;
        }
        let description = tool.description.or(tool.title.map(Into::into)).unwrap_or_default();
        let description = description[..description.floor_char_boundary(MAX_DESCRIPTION_BYTES)].to_owned();
        let definition = FunctionTool { name, description, parameters, strict: None };
        let only_reads = tool.annotations.and_then(|annotations| annotations.read_only_hint).unwrap_or(false);
        Some(Listed { definition, name: tool.name.into_owned(), only_reads })
    };
    names.into_iter().zip(tools).filter_map(listed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn a_long_description_is_cut_and_a_tool_with_a_large_schema_left_out() {
        let large = Map::from_iter([("description".to_owned(), json!("x".repeat(MAX_SCHEMA_BYTES)))]);
        let tools = vec![
            Tool::new("a", "ü".repeat(MAX_DESCRIPTION_BYTES), Map::new()),
            Tool::new("b", "", large),
            Tool::new("c.d", "fine", Map::from_iter([("type".to_owned(), json!("object"))])),
        ];
        let listed = listed("s", tools);
        let names: Vec<&str> = listed.iter().map(|tool| &*tool.definition.name).collect();
        assert_eq!(names, ["mcp__s__a", "mcp__s__c_d"]);
        assert_eq!(listed[0].definition.description.len(), MAX_DESCRIPTION_BYTES);
        assert_eq!(listed[1].definition.parameters, r#"{"type":"object"}"#);
        assert_eq!(listed[1].name, "c.d");
    }
}
