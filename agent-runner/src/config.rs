//! What the runner is told by the configuration, and how it becomes a [`Service`].

mod agents;
mod exec;
mod providers;
mod tools;
mod workspace;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use proto::session::v1::session_store_client::SessionStoreClient;
use serde::Deserialize;
use shared::{
    config::{self, Document, Environment},
    transport::{self, Transport, Trust},
};

use crate::{
    agents::{Agent, Agents},
    bootstrap::{self, Bootstrap},
    configured::{Configured, Own},
    embeddings::Embeddings,
    failover::{Before, Failover, Patience},
    images::{self, Images},
    metrics,
    model::Model,
    prompt::Prompts,
    resumable::Peers,
    run::{self, Settings},
    service::{Capacity, Service},
    turn::{Store, StoreTimes},
};
use agents::{AgentsSection, time_zone};
#[cfg(test)]
pub(crate) use providers::Profiles;
use providers::Provider;
pub(crate) use providers::{Models, Provided, Ready};
use tools::ToolsConfig;
use workspace::{SkillsSection, Workspaces};

/// What the session store takes for a runner's name.
const MAX_URL_BYTES: usize = 256;

/// The runner's configuration, read but not yet acted upon.
#[derive(Debug)]
pub struct Config {
    agents: Agents,
    providers: BTreeMap<String, Provider>,
    settings: Settings,
    idle_timeout: Duration,
    patience: Patience,
    capacity: Capacity,
    store: StoreTimes,
    runner: RunnerSection,
    bootstrap: bootstrap::Settings,
    time_zone: TimeZone,
    tools: ToolsConfig,
    images: images::Settings,
    embeddings: Embeddings,
    trust: Trust,
}

/// Why the runner cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A value makes no sense beside the others.
    #[error("{key}: {reason}")]
    Invalid {
        /// The setting's path.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client for the model providers cannot be made.
    #[error("cannot make an HTTP client")]
    Http(#[from] reqwest::Error),
    /// The embedded model's weights cannot be had.
    #[cfg(feature = "local-model")]
    #[error(transparent)]
    Weights(#[from] crate::model::local::weights::Error),
    /// The embedded model cannot be loaded.
    #[cfg(feature = "local-model")]
    #[error("cannot load the embedded model")]
    LocalModel(#[from] crate::model::local::LoadError),
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SessionSection {
    wait_ms: u64,
    window_messages: u32,
}

impl Default for SessionSection {
    fn default() -> Self {
        Self { wait_ms: 30_000, window_messages: 200 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RunnerSection {
    listen: SocketAddr,
    drain_ms: u64,
    max_concurrent_calls: usize,
    advertise_url: Option<String>,
}

impl Default for RunnerSection {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 18790).into(),
            drain_ms: 30_000,
            max_concurrent_calls: 4096,
            advertise_url: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoreSection {
    call_timeout_ms: u64,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { call_timeout_ms: 10_000 }
    }
}

impl Config {
    /// Reads the runner's sections. The environment names the provider when the file names none.
    pub fn load(document: &Document, environment: &Environment) -> Result<Self, Error> {
        let AgentsSection { defaults, list } = document.section("agents")?;
        defaults.check()?;
        let session: SessionSection = document.section("session")?;
        let store: StoreSection = document.section("services.sessionStore")?;
        let runner: RunnerSection = document.section("services.agentRunner")?;
        if let Some(url) = &runner.advertise_url {
            let key = "services.agentRunner.advertiseUrl".to_owned();
            transport::check(url).map_err(|error| Error::Invalid { key: key.clone(), reason: error.to_string() })?;
            if url.contains(',') || url.len() > MAX_URL_BYTES {
                return Err(Error::Invalid { key, reason: "must be one URL, of at most 256 bytes".to_owned() });
            }
        }
        let providers = providers::load(document, environment)?;

        let default_model = match &defaults.model {
            Some(choice) => choice.primary(),
            None => providers::default_model(&providers)?,
        };
        let workspaces = Workspaces::new(&defaults.workspace, document, environment);
        let agents = agents::agents(list, &defaults, &default_model, &workspaces)?;
        agents::check(&agents, &providers)?;
        let skills: SkillsSection = document.section("skills")?;
        let bootstrap = skills.bootstrap(defaults.bootstrap_max_chars);
        let time_zone = time_zone(&defaults.user_timezone)?;
        let store = StoreTimes {
            wait: Duration::from_millis(session.wait_ms),
            call_timeout: Duration::from_millis(store.call_timeout_ms),
        };
        let tools = tools::load(document, environment, &agents, &providers)?;
        let embeddings = Embeddings::load(document, Duration::from_secs(defaults.timeout_seconds))?;
        let images = document.section("gateway.http.endpoints.chatCompletions")?;
        Ok(Self {
            agents,
            providers,
            settings: defaults.settings(session.window_messages),
            idle_timeout: Duration::from_secs(defaults.idle_timeout_seconds),
            patience: defaults.patience(),
            capacity: defaults.capacity(runner.max_concurrent_calls),
            store,
            runner,
            bootstrap,
            time_zone,
            tools,
            images,
            embeddings,
            trust: Trust::default(),
        })
    }

    /// The same, with what this runner shows to others and asks of them.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// What can be used, but is not likely to be meant so.
    pub fn warnings(&self) -> &[String] {
        self.tools.warnings()
    }

    /// Where a runner of its own listens.
    pub fn listen(&self) -> SocketAddr {
        self.runner.listen
    }

    /// How long runs in flight have to finish once the runner is asked to end.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.runner.drain_ms)
    }

    /// The URL at which other runners reach this one: the one that is configured, else that of the address it listens
    /// on; if that stands for all of the machine's addresses, the one that the machine uses towards others.
    pub fn url(&self) -> String {
        let RunnerSection { listen, advertise_url, .. } = &self.runner;
        advertise_url.clone().unwrap_or_else(|| {
            let ip = if listen.ip().is_unspecified() { outward(listen.ip()) } else { listen.ip() };
            format!("{}://{}", self.trust.scheme(), SocketAddr::new(ip, listen.port()))
        })
    }

    /// Makes the runner. With the embedded model this looks for its weights, fetches them if need be, and loads them.
    /// `name` is what the session store knows it by: its URL, or for a runner that others cannot reach, any name that no
    /// other runner has.
    pub async fn build(self, store: SessionStoreClient<Transport>, name: &str) -> Result<Service, Error> {
        self.build_with(BTreeMap::new(), store, name).await
    }

    /// The same, with models of the caller's own in the place of some configured providers, by the providers' ids.
    pub async fn build_with(
        self,
        own: BTreeMap<String, Arc<dyn Model>>,
        store: SessionStoreClient<Transport>,
        name: &str,
    ) -> Result<Service, Error> {
        metrics::describe();
        let store = Store::new(store, self.store, name);
        let (capacity, peers) = (self.capacity, Peers::new(self.trust.clone()));
        let configured = self.configure(&own, None).await?;
        Ok(Service::new(configured, own, store, peers, capacity))
    }

    /// Makes what runs are made of, with all that is configured as `before`: connections to providers and what is known
    /// of them, models in memory, MCP servers, the look at workspaces.
    pub(crate) async fn configure(self, own: &Own, before: Option<&Configured>) -> Result<Configured, Error> {
        let wanted = self.agents.iter().flat_map(Agent::models).map(|model| model.provider.clone()).collect();
        let none = Ready::default();
        let ready = before.map_or(&none, |before| &before.ready);
        let (mut models, ready) = providers::build(self.providers, &wanted, self.idle_timeout, ready).await?;
        models.extend(own.iter().map(|(id, model)| (id.clone(), Provided::of(model.clone()))));
        let bootstrap = before.map(|before| before.shared.prompts.bootstrap());
        let bootstrap = match bootstrap.filter(|bootstrap| bootstrap.is_for(&self.agents, self.bootstrap)) {
            Some(bootstrap) => bootstrap.clone(),
            None => Arc::new(Bootstrap::start(&self.agents, self.bootstrap).await),
        };
        let warnings = self.tools.warnings().to_vec();
        let told = before.map_or(&[][..], |before| &before.warnings);
        for warning in warnings.iter().filter(|warning| !told.contains(warning)) {
            tracing::warn!("{warning}");
        }
        let known = before.map(|before| Before { failover: &before.shared.failover, models: &before.models });
        let tools = before.map(|before| &before.shared.tools);
        let shared = run::Shared {
            failover: Failover::new(&models, self.patience, known),
            prompts: Prompts::new(bootstrap, self.time_zone),
            tools: self.tools.build(&self.agents, self.settings.tools.timeout, tools),
            images: Images::new(self.images),
            embeddings: self.embeddings,
            settings: self.settings,
        };
        Ok(Configured { agents: self.agents, models, shared: Arc::new(shared), ready, warnings })
    }

    /// How much a runner does at a time.
    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// How long a run has patience with the store.
    pub(crate) fn store_times(&self) -> StoreTimes {
        self.store
    }
}

/// The address that this machine has towards others; no packet is sent to find it. A machine without one has only
/// itself.
fn outward(unspecified: IpAddr) -> IpAddr {
    let (towards, loopback): (IpAddr, IpAddr) = match unspecified {
        // Addresses of documentation networks (RFC 5737, RFC 3849).
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into()),
    };
    let socket = UdpSocket::bind((unspecified, 0)).and_then(|socket| {
        socket.connect((towards, 9))?;
        socket.local_addr()
    });
    socket.map_or(loopback, |address| address.ip())
}

fn invalid(key: String, reason: &str) -> Error {
    Error::Invalid { key, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
