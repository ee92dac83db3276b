//! A session store that records its calls, and a model that does what it is told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::tz::TimeZone;
use proto::{
    agent::v1::agent_runner_client::AgentRunnerClient,
    session::v1::{
        AbandonTurnRequest, AbandonTurnResponse, BeginTurnRequest, BeginTurnResponse, CommitTurnRequest,
        CommitTurnResponse, DeleteSessionRequest, DeleteSessionResponse, GetRunRequest, GetRunResponse,
        GetSessionRequest, GetSessionResponse, Lease, ListMessagesRequest, ListMessagesResponse, ListSessionsRequest,
        ListSessionsResponse, Message, Order, PutRunRequest, PutRunResponse, RenewLeaseRequest, RenewLeaseResponse,
        ResetSessionRequest, ResetSessionResponse, Role, Run, RunState, TranscriptMessage,
        session_store_client::SessionStoreClient,
        session_store_server::{SessionStore, SessionStoreServer},
    },
};
use shared::transport::{Layered, Transport, local};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use crate::{
    agents::{Agent, Agents, ModelName},
    config::{Models, Provided, Ready},
    configured::{Configured, Own},
    embeddings::Embeddings,
    failover::{Failover, Patience},
    images::{self, Images},
    mcp::Servers,
    model::{self, Error, Event, EventStream, Model},
    prompt::Prompts,
    resumable::Peers,
    run::{Limits, Settings, Shared, ToolLimits},
    service::{Capacity, Service},
    tool::{
        Tool,
        policy::{Policy, Scope},
        toolset::{Tools, Workspaces},
    },
    turn::{Store, StoreTimes},
};

/// What a run asked of the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    Begin,
    Renew,
    Commit(Vec<Message>),
    Abandon,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeStore {
    /// What every session begins with.
    pub(super) transcript: Vec<Message>,
    pub(super) lease_ms: u64,
    /// Whether the lease is lost when it is to be renewed.
    pub(super) loses_lease: bool,
    /// What comes of asking for a turn.
    pub(super) begins: Begins,
    /// The run that the newest turn is of.
    pub(super) newest_run: &'static str,
    /// Whether what runs come to can be recorded.
    pub(super) cannot_finish: bool,
    pub(super) state: Arc<Mutex<State>>,
}

/// What comes of asking for a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Begins {
    #[default]
    AtOnce,
    /// Somebody else has the turn for ever.
    Never,
    /// The run has committed it already.
    Committed,
}

#[derive(Debug, Default)]
pub(super) struct State {
    calls: Vec<Call>,
    fails_next_commit: bool,
    runs: HashMap<String, Run>,
}

impl FakeStore {
    pub(super) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// What is recorded of a run.
    pub(super) fn run(&self, run_id: &str) -> Option<Run> {
        self.state.lock().unwrap().runs.get(run_id).cloned()
    }

    /// Records a run as if another runner had.
    pub(super) fn set_run(&self, run: Run) {
        self.state.lock().unwrap().runs.insert(run.run_id.clone(), run);
    }

    /// The way to it.
    pub(super) fn client(&self) -> SessionStoreClient<Transport> {
        SessionStoreClient::new(local(Layered::new(SessionStoreServer::new(self.clone()), 100)))
    }

    pub(super) fn fail_next_commit(&self) {
        self.state.lock().unwrap().fails_next_commit = true;
    }

    fn record(&self, call: Call) {
        self.state.lock().unwrap().calls.push(call);
    }
}

#[tonic::async_trait]
impl SessionStore for FakeStore {
    async fn begin_turn(&self, _: Request<BeginTurnRequest>) -> Result<Response<BeginTurnResponse>, Status> {
        self.record(Call::Begin);
        match self.begins {
            Begins::AtOnce => {}
            Begins::Never => std::future::pending().await,
            Begins::Committed => return Err(Status::already_exists("the run has already committed its turn")),
        }
        Ok(Response::new(BeginTurnResponse {
            lease: Some(Lease { session_id: "s".to_owned(), token: 1 }),
            lease_ms: self.lease_ms.max(1_000),
            messages: self.transcript.clone(),
            message_count: self.transcript.len() as u64,
        }))
    }

    async fn renew_lease(&self, _: Request<RenewLeaseRequest>) -> Result<Response<RenewLeaseResponse>, Status> {
        self.record(Call::Renew);
        if self.loses_lease {
            return Err(Status::failed_precondition("lost"));
        }
        Ok(Response::new(RenewLeaseResponse { lease_ms: self.lease_ms }))
    }

    async fn commit_turn(&self, request: Request<CommitTurnRequest>) -> Result<Response<CommitTurnResponse>, Status> {
        let CommitTurnRequest { run_id, mut messages, usage, outcome, .. } = request.into_inner();
        let turn_end = messages.last_mut().and_then(|last| last.turn_end.take()).expect("a turn says what it came to");
        assert_eq!(turn_end.usage, usage);
        self.record(Call::Commit(messages));
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.fails_next_commit) {
            return Err(Status::unavailable("gone"));
        }
        if let Some(run) = state.runs.get_mut(&run_id) {
            run.set_state(RunState::Finished);
            run.outcome = outcome;
        }
        Ok(Response::new(CommitTurnResponse { last_seq: 2 }))
    }

    async fn abandon_turn(&self, _: Request<AbandonTurnRequest>) -> Result<Response<AbandonTurnResponse>, Status> {
        self.record(Call::Abandon);
        Ok(Response::new(AbandonTurnResponse {}))
    }

    async fn get_session(&self, _: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        Err(Status::unimplemented("no run asks for it"))
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        Err(Status::unimplemented("no run asks for it"))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let ListMessagesRequest { limit, order, after_seq, .. } = request.into_inner();
        assert_eq!((Order::try_from(order), after_seq), (Ok(Order::Descending), 0), "only the newest are asked for");
        if self.transcript.is_empty() {
            return Err(Status::not_found("the key has no session"));
        }
        let listed = |message: &Message| TranscriptMessage {
            run_id: self.newest_run.to_owned(),
            message: Some(message.clone()),
            ..TranscriptMessage::default()
        };
        let messages = self.transcript.iter().rev().take(limit as usize).map(listed).collect();
        Ok(Response::new(ListMessagesResponse { messages, ..ListMessagesResponse::default() }))
    }

    async fn reset_session(&self, _: Request<ResetSessionRequest>) -> Result<Response<ResetSessionResponse>, Status> {
        Err(Status::unimplemented("no run asks for it"))
    }

    async fn delete_session(
        &self,
        _: Request<DeleteSessionRequest>,
    ) -> Result<Response<DeleteSessionResponse>, Status> {
        Err(Status::unimplemented("no run asks for it"))
    }

    async fn put_run(&self, request: Request<PutRunRequest>) -> Result<Response<PutRunResponse>, Status> {
        let PutRunRequest { run, replaces_runner } = request.into_inner();
        let run = run.expect("a run");
        if self.cannot_finish && run.state() == RunState::Finished {
            return Err(Status::unavailable("gone"));
        }
        let runs = &mut self.state.lock().unwrap().runs;
        let is_free = runs.get(&run.run_id).is_none_or(|known| match known.state() {
            RunState::Failed => true,
            RunState::Running => {
                known.fingerprint == run.fingerprint && [&run.runner, &replaces_runner].contains(&&known.runner)
            }
            RunState::Finished | RunState::Unspecified => false,
        });
        if is_free {
            runs.insert(run.run_id.clone(), run.clone());
        }
        Ok(Response::new(PutRunResponse { run: runs.get(&run.run_id).cloned() }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let run = self.state.lock().unwrap().runs.get(&request.get_ref().run_id).cloned();
        let run = run.ok_or_else(|| Status::not_found("no such run"))?;
        Ok(Response::new(GetRunResponse { run: Some(run) }))
    }
}

/// What a model says, and how it ends.
#[derive(Clone)]
pub(super) struct Script {
    events: Vec<Event>,
    end: End,
    stopped: Arc<Notify>,
    asked: Arc<Mutex<Vec<model::Request>>>,
}

#[derive(Clone, Copy)]
enum End {
    Ends,
    Fails(fn() -> Error),
    Hangs,
}

/// Tells when an answer is dropped.
struct TellsStop(Arc<Notify>);

impl Drop for TellsStop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Script {
    pub(super) fn of(events: impl IntoIterator<Item = Event>) -> Self {
        Self { events: events.into_iter().collect(), end: End::Ends, stopped: Arc::default(), asked: Arc::default() }
    }

    pub(super) fn failing(events: impl IntoIterator<Item = Event>, error: fn() -> Error) -> Self {
        Self { end: End::Fails(error), ..Self::of(events) }
    }

    pub(super) fn endless(events: impl IntoIterator<Item = Event>) -> Self {
        Self { end: End::Hangs, ..Self::of(events) }
    }

    /// What the model was asked, from the first.
    pub(super) fn asked(&self) -> Vec<model::Request> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn stopped(&self) -> Arc<Notify> {
        self.stopped.clone()
    }
}

impl Model for Script {
    fn stream(&self, request: &model::Request) -> EventStream {
        self.asked.lock().unwrap().push(request.clone());
        let stop = TellsStop(self.stopped.clone());
        let end = self.end;
        let last = stream::once(async move {
            let _stop = stop;
            match end {
                End::Ends => None,
                End::Fails(error) => Some(Err(error())),
                End::Hangs => std::future::pending().await,
            }
        });
        let events = stream::iter(self.events.clone().into_iter().map(Ok));
        Box::pin(events.chain(last.filter_map(std::future::ready)))
    }
}

/// A model that answers each question with the next script, and the last one again and again.
#[derive(Clone)]
pub(super) struct Dialogue {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    asked: Arc<Mutex<Vec<model::Request>>>,
}

impl Dialogue {
    pub(super) fn of(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self { scripts: Arc::new(Mutex::new(scripts.into_iter().collect())), asked: Arc::default() }
    }

    /// Every question so far, without its instructions.
    pub(super) fn asked(&self) -> Vec<model::Request> {
        let mut asked = self.asked.lock().unwrap().clone();
        for question in &mut asked {
            question.messages.retain(|message| message.role() != Role::System);
        }
        asked
    }
}

impl Model for Dialogue {
    fn stream(&self, request: &model::Request) -> EventStream {
        self.asked.lock().unwrap().push(request.clone());
        let mut scripts = self.scripts.lock().unwrap();
        let script = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
        script.expect("a script").stream(request)
    }
}

/// How many calls and runs at a time a runner takes.
pub(super) const MAX_CALLS: usize = 100;

/// The documented defaults, but a shorter time.
pub(super) fn settings() -> Settings {
    Settings {
        run_timeout: Duration::from_secs(65),
        limits: Limits { model_calls: 32, tool_calls: 128 },
        tools: ToolLimits { timeout: Duration::from_secs(60), parallel: 8, output_chars: 50_000 },
        reserve_tokens: 20_000,
        keep_recent_tokens: 20_000,
        window_messages: 4,
    }
}

/// A runner to be, with the agent `main`.
pub(super) struct Setup {
    pub(super) name: String,
    /// The models, by their provider; the first answers, the others are fallen back on. All are called `m`.
    pub(super) models: Vec<(&'static str, Arc<dyn Model>)>,
    pub(super) tools: Vec<Arc<dyn Tool>>,
    /// Which of them which model may use.
    pub(super) policy: Policy,
    pub(super) settings: Settings,
    pub(super) capacity: Capacity,
}

impl Setup {
    pub(super) fn of(model: impl Model + 'static) -> Self {
        Self {
            name: "this runner".to_owned(),
            models: vec![("fake", Arc::new(model))],
            tools: Vec::new(),
            policy: policy(serde_json::json!({"profile": "full"})),
            settings: settings(),
            capacity: Capacity { calls: MAX_CALLS, running: MAX_CALLS, waiting: 0 },
        }
    }

    pub(super) fn runner(self, store: &FakeStore) -> (AgentRunnerClient<Transport>, Service) {
        let mut names =
            self.models.iter().map(|(id, _)| ModelName { provider: (*id).to_owned(), model: "m".to_owned() });
        let agent = Agent {
            id: "main".parse().expect("a valid id"),
            name: String::new(),
            model: names.next().expect("a model"),
            fallbacks: names.collect(),
            system_prompt: "You are main.".to_owned(),
            workspace: None,
        };
        let agents = Agents::new(vec![agent], 0).expect("one agent");
        let provided = |model| Provided { names: Arc::new(["m".to_owned()]), ..Provided::of(model) };
        let models: Models = self.models.into_iter().map(|(id, model)| (id.to_owned(), provided(model))).collect();
        let patience = Patience { retries: 2, longest_pause: Duration::from_secs(5) };
        let shared = Shared {
            failover: Failover::new(&models, patience, None),
            prompts: Prompts::new(Arc::default(), TimeZone::UTC),
            tools: Tools::new(
                [("main".parse().expect("a valid id"), self.tools, self.policy)],
                Servers::new(Vec::new()),
                Workspaces::new(),
            ),
            images: Images::new(images::Settings::default()),
            embeddings: Embeddings::with(Duration::from_secs(65)),
            settings: self.settings,
        };
        let (shared, ready, warnings) = (Arc::new(shared), Ready::default(), Vec::new());
        let configured = Configured { agents, models, shared, ready, warnings };
        let times = StoreTimes { wait: Duration::from_secs(10), call_timeout: Duration::from_secs(10) };
        let store = Store::new(store.client(), times, &self.name);
        let service = Service::new(configured, Own::new(), store, Peers::default(), self.capacity);
        (AgentRunnerClient::new(local(service.server())), service)
    }
}

/// The policy of a `tools` block.
pub(super) fn policy(block: serde_json::Value) -> Policy {
    let scope: Scope = serde_json::from_value(block).expect("a valid block");
    Policy::new(Some(&scope), None)
}

/// A runner whose model is `fake/m`.
pub(super) fn runner(store: &FakeStore, script: Script) -> (AgentRunnerClient<Transport>, Service) {
    Setup::of(script).runner(store)
}

/// The same, with a name for the others.
pub(super) fn runner_called(name: &str, store: &FakeStore, script: Script) -> (AgentRunnerClient<Transport>, Service) {
    Setup { name: name.to_owned(), ..Setup::of(script) }.runner(store)
}
