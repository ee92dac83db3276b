//! The gRPC face of the runner.

mod embed;
mod kept;
mod preview;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{Stream, TryStreamExt};
use proto::agent::v1::{
    Agent as ListedAgent, AttachRequest, CancelRequest, CancelResponse, EmbedRequest, EmbedResponse, ListAgentsRequest,
    ListAgentsResponse, PreviewPromptRequest, PreviewPromptResponse, RunRequest, RunResponse,
    agent_runner_server::{AgentRunner, AgentRunnerServer},
    run_event::Kind,
};
use shared::{
    AgentId,
    transport::{Layered, MAX_MESSAGE_BYTES, draining},
};
use tokio::sync::mpsc;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::{
    agents::{Agent, ModelName},
    config::{self, Provided},
    configured::{Configured, Own},
    failover::Candidate,
    failure::invalid_argument,
    live::{Entered, Live, New, Registration},
    metrics,
    resumable::{Peers, Record, Resumable},
    run::{self, Cancelled, Run, Voice},
    slots::{Slots, Ticket},
    turn::Store,
};
use kept::Attached;

const MAX_RUN_ID_BYTES: usize = 128;
const MAX_FINGERPRINT_BYTES: usize = 64;
const MAX_OWNER_BYTES: usize = 256;
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// How much a runner does at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Calls, runs included.
    pub(crate) calls: usize,
    /// Runs that go on.
    pub(crate) running: usize,
    /// Runs that wait for one of those to end.
    pub(crate) waiting: usize,
}

/// The agent runner; cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    configured: ArcSwap<Configured>,
    own: Own,
    store: Store,
    peers: Peers,
    slots: Slots,
    max_concurrent_calls: usize,
    live: Arc<Live>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    pub(crate) fn new(configured: Configured, own: Own, store: Store, peers: Peers, capacity: Capacity) -> Self {
        Self {
            inner: Arc::new(Inner {
                configured: ArcSwap::from_pointee(configured),
                own,
                store,
                peers,
                slots: Slots::new(capacity.running, capacity.waiting),
                max_concurrent_calls: capacity.calls,
                live: Arc::default(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// The generated server, with the layers that every call passes.
    pub fn server(&self) -> Layered<AgentRunnerServer<Self>> {
        let server = AgentRunnerServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Layered::new(server, self.inner.max_concurrent_calls)
    }

    /// Has runs that begin from now on follow another configuration; those that go on keep theirs. What is configured as
    /// before stays as it is: connections, models in memory, MCP servers, and what has failed lately. Everything is made
    /// ready first, and with an error nothing changes. The address, the bound on calls and what is kept of finished runs
    /// stay as they are. To be called by one caller at a time.
    pub async fn reload(&self, config: config::Config) -> Result<(), config::Error> {
        let (capacity, times) = (config.capacity(), config.store_times());
        let configured = config.configure(&self.inner.own, Some(&self.configured())).await?;
        self.inner.configured.store(Arc::new(configured));
        self.inner.slots.resize(capacity.running, capacity.waiting);
        self.inner.store.set_times(times);
        Ok(())
    }

    /// What the newest configuration says. A run takes it once.
    fn configured(&self) -> Arc<Configured> {
        self.inner.configured.load_full()
    }

    /// Takes no more runs, and gives those that go on, whether anybody reads them or not, so long to end.
    pub async fn drain(&self, within: Duration) {
        self.inner.tasks.close();
        if tokio::time::timeout(within, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.inner.tasks.len(), "runs were still going on after the drain time");
        }
    }

    /// Takes no more runs, cancels those that are left, and waits until each has given its lease back.
    pub async fn shutdown(&self) {
        self.inner.tasks.close();
        self.inner.stop.cancel();
        self.inner.tasks.wait().await;
        let configured = self.configured();
        configured.shared.prompts.stop().await;
        configured.shared.tools.shutdown().await;
    }
}

impl Configured {
    fn agent(&self, agent_id: &str) -> Result<&Arc<Agent>, Status> {
        let found = agent_id.parse::<AgentId>().ok().and_then(|agent_id| self.agents.get(&agent_id));
        found.ok_or_else(|| {
            let known: Vec<&str> = self.agents.iter().map(|agent| agent.id.as_str()).collect();
            Status::not_found(format!("there is no agent `{agent_id}`; there are: {}", known.join(", ")))
        })
    }

    /// The models that may answer: the one that the request names or the agent's own, then those to fall back on.
    fn candidates(&self, agent: &Agent, asked_for: &str) -> Result<Vec<Candidate>, Status> {
        let first = if asked_for.is_empty() {
            let provided = self.provided(&agent.model)?.clone();
            Candidate { name: agent.model.clone(), provided, is_configured: true }
        } else {
            self.asked_for(asked_for)?
        };
        let fallbacks = agent.fallbacks.iter().filter(|name| **name != first.name).filter_map(|name| {
            let provided = self.models.get(&name.provider)?.clone();
            Some(Candidate { name: name.clone(), provided, is_configured: true })
        });
        let fallbacks: Vec<Candidate> = fallbacks.collect();
        Ok([first].into_iter().chain(fallbacks).collect())
    }

    /// The model that a request names.
    fn asked_for(&self, name: &str) -> Result<Candidate, Status> {
        let name = name.parse::<ModelName>().map_err(|error| invalid_model(&error.to_string()))?;
        let provided = self.provided(&name)?.clone();
        if !provided.names.is_empty() && !provided.names.contains(&name.model) {
            return Err(invalid_model(&format!("the provider `{}` has no model `{}`", name.provider, name.model)));
        }
        let is_configured = provided.names.contains(&name.model) || self.agents.names_model(&name);
        Ok(Candidate { name, provided, is_configured })
    }

    fn provided(&self, name: &ModelName) -> Result<&Provided, Status> {
        let provided = self.models.get(&name.provider);
        provided.ok_or_else(|| invalid_model(&format!("there is no model provider `{}`", name.provider)))
    }
}

impl Service {
    /// Has a run go on by itself, whose events go to its one reader.
    fn start(&self, run: Run, registration: Registration) {
        let (span, stop) = (run.span(), self.stop(&registration));
        let task = async move {
            run.execute(stop).await.tell();
            drop(registration);
        };
        self.inner.tasks.spawn(task.instrument(span));
    }

    /// Has a run go on by itself that outlives its readers.
    fn start_resumable(&self, run: Run, resumable: Resumable) {
        let (span, stop) = (run.span(), self.stop(&resumable.registration));
        let task = resumable.drive(run, async move |run| run.execute(stop).await);
        self.inner.tasks.spawn(task.instrument(span));
    }

    fn stop(&self, registration: &Registration) -> Cancelled {
        Cancelled { run: registration.cancelled().clone(), runner: self.inner.stop.clone() }
    }
}

/// A run's events on their way to who asked for them.
type RunEvents = Pin<Box<dyn Stream<Item = Result<RunResponse, Status>> + Send>>;

/// The events of a run that has one reader; dropping them cancels the run.
struct Events {
    events: mpsc::Receiver<RunResponse>,
    has_ended: bool,
    _cancel: DropGuard,
}

impl Stream for Events {
    type Item = Result<RunResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.events.poll_recv(context));
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.has_ended = event.as_ref().is_none_or(is_last);
        // A run that ends without a last event has panicked.
        let event = event.ok_or_else(|| Status::internal("the run ended without an outcome"));
        Poll::Ready(Some(event))
    }
}

fn is_last(response: &RunResponse) -> bool {
    let kind = response.event.as_ref().and_then(|event| event.kind.as_ref());
    matches!(kind, Some(Kind::Finished(_) | Kind::Failed(_)))
}

#[tonic::async_trait]
impl AgentRunner for Service {
    type RunStream = RunEvents;
    type AttachStream = Attached;

    async fn run(&self, request: Request<RunRequest>) -> Result<Response<RunEvents>, Status> {
        if self.inner.tasks.is_closed() {
            return Err(draining("the runner is shutting down"));
        }
        let request = request.into_inner();
        check_run_id(&request.run_id)?;
        check(&request)?;
        if request.input.is_empty() && request.history.is_empty() {
            return Err(invalid_argument("messages", "there is nothing to answer"));
        }
        let configured = self.configured();
        let agent = configured.agent(&request.agent_id)?.clone();
        let candidates = configured.candidates(&agent, &request.model)?;
        let store = (!request.stateless).then(|| self.inner.store.clone());
        let shared = configured.shared.clone();
        let agent_id = agent.id.clone();
        let admit = || self.inner.slots.admit().inspect_err(|_| metrics::run_refused(&agent_id));
        let run = |request: RunRequest, ticket: Ticket, events: run::Events| {
            let store = store.clone();
            Run { request, agent, candidates, shared, ticket, store, events, voice: Voice::default() }
        };
        if request.fingerprint.is_empty() {
            let ticket = admit()?;
            let registration = self.inner.live.enter(&request.run_id)?;
            let cancel = registration.cancelled().clone().drop_guard();
            let (sender, events) = run::channel();
            self.start(run(request, ticket, sender), registration);
            return Ok(Response::new(Box::pin(Events { events, has_ended: false, _cancel: cancel })));
        }
        let log = match self.inner.live.enter_resumable(&request, admit)? {
            Entered::Known(log) => log,
            Entered::New(New { registration, log, ticket }) => {
                let record = Record::new(self.inner.store.clone(), &request);
                let stop = self.inner.stop.clone();
                let resumable =
                    Resumable { log: log.clone(), registration, record, peers: self.inner.peers.clone(), stop };
                self.start_resumable(run(request, ticket, run::Events::Log(log.clone())), resumable);
                log
            }
        };
        Ok(Response::new(Box::pin(log.follow(0).map_ok(|event| RunResponse { event: Some(event) }))))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Result<Response<Attached>, Status> {
        self.attach_anywhere(request.into_inner()).await.map(Response::new)
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        self.cancel_anywhere(request.into_inner()).await?;
        Ok(Response::new(CancelResponse {}))
    }

    async fn preview_prompt(
        &self,
        request: Request<PreviewPromptRequest>,
    ) -> Result<Response<PreviewPromptResponse>, Status> {
        self.preview(request.into_inner()).await.map(Response::new)
    }

    async fn embed(&self, request: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        self.vectors(request.into_inner()).await.map(Response::new)
    }

    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let agents = &self.configured().agents;
        let listed = agents.iter().map(|agent| ListedAgent { id: agent.id.to_string(), name: agent.name.clone() });
        let default_agent_id = agents.default_agent().id.to_string();
        Ok(Response::new(ListAgentsResponse { agents: listed.collect(), default_agent_id }))
    }
}

fn invalid_model(reason: &str) -> Status {
    invalid_argument("x-clawdbot-model", reason)
}

fn check_run_id(run_id: &str) -> Result<(), Status> {
    if run_id.is_empty() || run_id.len() > MAX_RUN_ID_BYTES {
        return Err(invalid_argument("run_id", "must have 1 to 128 bytes"));
    }
    Ok(())
}

fn check(request: &RunRequest) -> Result<(), Status> {
    let is_kept = !request.fingerprint.is_empty();
    if request.session_key.is_empty() && (!request.stateless || is_kept) {
        return Err(invalid_argument("session_key", "is needed unless the run is stateless and ends with its stream"));
    }
    if request.stateless && !request.after_run_id.is_empty() {
        return Err(invalid_argument("after_run_id", "needs a session"));
    }
    if request.fingerprint.len() > MAX_FINGERPRINT_BYTES {
        return Err(invalid_argument("fingerprint", "must have at most 64 bytes"));
    }
    if request.owner.len() > MAX_OWNER_BYTES {
        return Err(invalid_argument("owner", "must have at most 256 bytes"));
    }
    if request.annotation.len() > MAX_ANNOTATION_BYTES {
        return Err(invalid_argument("annotation", "must have at most 262144 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
