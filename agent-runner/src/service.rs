//! The gRPC face of the runner.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use proto::agent::v1::{
    Agent as ListedAgent, AttachRequest, AttachResponse, CancelRequest, CancelResponse, ListAgentsRequest,
    ListAgentsResponse, RunRequest, RunResponse,
    agent_runner_server::{AgentRunner, AgentRunnerServer},
    run_event::Kind,
};
use shared::{
    AgentId,
    transport::{Layered, MAX_MESSAGE_BYTES},
};
use tokio::sync::mpsc;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::{
    agents::{Agent, Agents, ModelName},
    config::{Models, Provided},
    failure::invalid_argument,
    run::{self, Cancelled, Run, Session},
    turn::Store,
};

const MAX_RUN_ID_BYTES: usize = 128;

/// How runs behave.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The longest that a run may take.
    pub(crate) run_timeout: Duration,
    /// The longest that a model may be silent.
    pub(crate) idle_timeout: Duration,
}

/// The agent runner; cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    agents: Agents,
    models: Models,
    store: Store,
    settings: Settings,
    max_concurrent_calls: usize,
    /// What stops each live run. Touched when a run begins and ends, never while it streams.
    live: Mutex<HashMap<String, CancellationToken>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    pub(crate) fn new(
        agents: Agents,
        models: Models,
        store: Store,
        settings: Settings,
        max_concurrent_calls: usize,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                agents,
                models,
                store,
                settings,
                max_concurrent_calls,
                live: Mutex::default(),
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

    /// Takes no more runs, cancels those that are left, and waits until each has given its lease back.
    pub async fn shutdown(&self) {
        self.inner.tasks.close();
        self.inner.stop.cancel();
        self.inner.tasks.wait().await;
    }

    fn agent(&self, agent_id: &str) -> Result<&Arc<Agent>, Status> {
        let found = agent_id.parse::<AgentId>().ok().and_then(|agent_id| self.inner.agents.get(&agent_id));
        found.ok_or_else(|| {
            let known: Vec<&str> = self.inner.agents.iter().map(|agent| agent.id.as_str()).collect();
            Status::not_found(format!("there is no agent `{agent_id}`; there are: {}", known.join(", ")))
        })
    }

    /// The model that answers: the one that the request names, or the agent's own.
    fn model(&self, agent: &Agent, asked_for: &str) -> Result<(ModelName, &Provided), Status> {
        let invalid = |reason: String| invalid_argument("x-clawdbot-model", &reason);
        let name = if asked_for.is_empty() {
            agent.model.clone()
        } else {
            asked_for.parse::<ModelName>().map_err(|error| invalid(error.to_string()))?
        };
        let provided = self.inner.models.get(&name.provider);
        let provided = provided.ok_or_else(|| invalid(format!("there is no model provider `{}`", name.provider)))?;
        let is_listed = provided.names.is_empty() || provided.names.contains(&name.model);
        if !asked_for.is_empty() && !is_listed {
            return Err(invalid(format!("the provider `{}` has no model `{}`", name.provider, name.model)));
        }
        Ok((name, provided))
    }

    /// Enters a run among the live ones; a run with the same id must not be among them.
    fn register(&self, run_id: &str) -> Result<(CancellationToken, Registration), Status> {
        let cancelled = CancellationToken::new();
        let mut live = self.inner.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.contains_key(run_id) {
            return Err(Status::already_exists(format!("the run `{run_id}` is already going on")));
        }
        live.insert(run_id.to_owned(), cancelled.clone());
        Ok((cancelled, Registration { inner: self.inner.clone(), run_id: run_id.to_owned() }))
    }
}

/// A run's place among the live ones, given up when the run ends.
struct Registration {
    inner: Arc<Inner>,
    run_id: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run_id);
    }
}

/// A run's events; dropping them cancels the run.
pub struct Events {
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
    type RunStream = Events;
    type AttachStream = futures_util::stream::Empty<Result<AttachResponse, Status>>;

    async fn run(&self, request: Request<RunRequest>) -> Result<Response<Events>, Status> {
        if self.inner.tasks.is_closed() {
            return Err(Status::unavailable("the runner is shutting down"));
        }
        let request = request.into_inner();
        check(&request)?;
        let agent = self.agent(&request.agent_id)?.clone();
        let (model_name, provided) = self.model(&agent, &request.model)?;
        let (cancelled, registration) = self.register(&request.run_id)?;

        let (sender, events) = run::channel();
        let session = (!request.stateless).then(|| Session::new(self.inner.store.clone()));
        let model = provided.model.clone();
        let run = Run::new(request, agent, model_name, model, session, sender);
        let span = run.span();
        let timeout = self.inner.settings.run_timeout;
        let stop = Cancelled { run: cancelled.clone(), runner: self.inner.stop.clone() };
        let task = async move {
            run.execute(timeout, stop).await;
            drop(registration);
        };
        self.inner.tasks.spawn(task.instrument(span));
        Ok(Response::new(Events { events, has_ended: false, _cancel: cancelled.drop_guard() }))
    }

    async fn attach(&self, _: Request<AttachRequest>) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("attaching to a run is not supported yet"))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let run_id = request.into_inner().run_id;
        let live = self.inner.live.lock().unwrap_or_else(PoisonError::into_inner);
        match live.get(&run_id) {
            Some(cancelled) => cancelled.cancel(),
            None => return Err(Status::not_found(format!("there is no live run `{run_id}`"))),
        }
        Ok(Response::new(CancelResponse {}))
    }

    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let agents = &self.inner.agents;
        let listed = agents.iter().map(|agent| ListedAgent { id: agent.id.to_string(), name: agent.name.clone() });
        let default_agent_id = agents.default_agent().id.to_string();
        Ok(Response::new(ListAgentsResponse { agents: listed.collect(), default_agent_id }))
    }
}

fn check(request: &RunRequest) -> Result<(), Status> {
    if request.run_id.is_empty() || request.run_id.len() > MAX_RUN_ID_BYTES {
        return Err(invalid_argument("run_id", "must have 1 to 128 bytes"));
    }
    if !request.stateless && request.session_key.is_empty() {
        return Err(invalid_argument("session_key", "is needed unless the run is stateless"));
    }
    if request.input.is_empty() && request.history.is_empty() {
        return Err(invalid_argument("messages", "there is nothing to answer"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
