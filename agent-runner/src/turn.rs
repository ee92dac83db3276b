//! A run's side of the session store: begin a turn, keep its lease, commit or abandon it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use prost::bytes::Bytes;
use proto::session::v1::{
    AbandonTurnRequest, BeginTurnRequest, CommitTurnRequest, GetRunRequest, Lease, ListMessagesRequest, Message, Order,
    PutRunRequest, RenewLeaseRequest, Role, Run, Usage, session_store_client::SessionStoreClient,
};
use shared::transport::{Transport, is_overload};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::failure::Failure;

/// The most messages that the store lists at a time.
const MAX_PAGE: u32 = 1000;
/// Between the tries of a commit.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The session store, as runs see it; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    client: SessionStoreClient<Transport>,
    times: Arc<ArcSwap<StoreTimes>>,
    runner: Arc<str>,
}

/// How long a run has patience with the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreTimes {
    /// How long it waits for a busy session.
    pub(crate) wait: Duration,
    /// How long any other call may take.
    pub(crate) call_timeout: Duration,
}

/// A turn that has begun. It must be committed or abandoned; until then nobody else can take the session's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    store: Store,
    run_id: String,
    lease: Lease,
    lease_ms: u64,
}

/// What was said in the session before.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// The newest messages, oldest first.
    pub(crate) window: Vec<Message>,
    /// How many there are in all.
    pub(crate) message_count: u64,
}

impl Store {
    /// `runner` is what other runners know this one by.
    pub(crate) fn new(client: SessionStoreClient<Transport>, times: StoreTimes, runner: &str) -> Self {
        Self { client, times: Arc::new(ArcSwap::from_pointee(times)), runner: runner.into() }
    }

    /// Has this much patience from now on, wherever the store is used.
    pub(crate) fn set_times(&self, times: StoreTimes) {
        self.times.store(Arc::new(times));
    }

    fn times(&self) -> StoreTimes {
        **self.times.load()
    }

    /// This runner, as others know it.
    pub(crate) fn runner(&self) -> &str {
        &self.runner
    }

    /// Records a run; returns what is recorded then.
    pub(crate) async fn put_run(&self, request: PutRunRequest) -> Result<Run, Failure> {
        let put = self.client.clone().put_run(within(self.times().call_timeout, request)).await?.into_inner();
        Ok(put.run.unwrap_or_default())
    }

    /// Looks a recorded run up; `None` when there is none, or it has expired.
    pub(crate) async fn get_run(&self, run_id: &str) -> Result<Option<Run>, Failure> {
        let request = GetRunRequest { run_id: run_id.to_owned() };
        match self.client.clone().get_run(within(self.times().call_timeout, request)).await {
            Ok(got) => Ok(got.into_inner().run),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Reads what a turn would begin with, without beginning one. Of very long messages it may be less than a turn gets.
    pub(crate) async fn read(&self, session_key: &str, limit: u32) -> Result<Transcript, Failure> {
        let request = ListMessagesRequest {
            session_key: session_key.to_owned(),
            limit: limit.clamp(1, MAX_PAGE),
            order: Order::Descending.into(),
            ..ListMessagesRequest::default()
        };
        let page = match self.client.clone().list_messages(within(self.times().call_timeout, request)).await {
            Ok(page) => page.into_inner().messages,
            Err(status) if status.code() == Code::NotFound => Vec::new(),
            Err(status) => return Err(status.into()),
        };
        let message_count = page.len() as u64;
        let newest = page.into_iter().rev().filter_map(|message| message.message);
        // As the store does for a turn: results whose calls are not in the window mean nothing to a model.
        let window = newest.skip_while(|message| message.role() == Role::Tool).collect();
        Ok(Transcript { window, message_count })
    }

    /// The run that the session's newest turn is of; `None` when there is none.
    pub(crate) async fn newest_run(&self, session_key: &str) -> Result<Option<String>, Failure> {
        let request = ListMessagesRequest {
            session_key: session_key.to_owned(),
            limit: 1,
            order: Order::Descending.into(),
            ..ListMessagesRequest::default()
        };
        match self.client.clone().list_messages(within(self.times().call_timeout, request)).await {
            Ok(page) => Ok(page.into_inner().messages.into_iter().next().map(|message| message.run_id)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// The messages of a turn that is committed, oldest first; none of one that is too long to be read at once.
    pub(crate) async fn turn_of(&self, session_key: &str, run_id: &str) -> Result<Vec<Message>, Failure> {
        let request = ListMessagesRequest {
            session_key: session_key.to_owned(),
            limit: MAX_PAGE,
            order: Order::Descending.into(),
            ..ListMessagesRequest::default()
        };
        let page = self.client.clone().list_messages(within(self.times().call_timeout, request)).await?.into_inner();
        let is_cut = page.has_more && page.messages.last().is_some_and(|oldest| oldest.run_id == run_id);
        let ours = page.messages.into_iter().rev().filter(|message| message.run_id == run_id && !is_cut);
        Ok(ours.filter_map(|message| message.message).collect())
    }

    /// Waits for the session's lease; returns the turn and the transcript.
    pub(crate) async fn begin(
        &self,
        session_key: &str,
        agent_id: &str,
        run_id: &str,
    ) -> Result<(Turn, Transcript), Failure> {
        let request = BeginTurnRequest {
            session_key: session_key.to_owned(),
            agent_id: agent_id.to_owned(),
            run_id: run_id.to_owned(),
            wait_ms: millis(self.times().wait),
            runner: self.runner.to_string(),
            ..BeginTurnRequest::default()
        };
        let request = within(self.times().wait + self.times().call_timeout, request);
        let begun = match self.client.clone().begin_turn(request).await {
            Ok(begun) => begun.into_inner(),
            Err(status) if status.code() == Code::ResourceExhausted && !is_overload(&status) => {
                return Err(Failure::SessionBusy(status.message().to_owned()));
            }
            Err(status) if status.code() == Code::AlreadyExists => return Err(Failure::AlreadyCommitted),
            Err(status) => return Err(status.into()),
        };
        let turn = Turn {
            store: self.clone(),
            run_id: run_id.to_owned(),
            lease: begun.lease.unwrap_or_default(),
            lease_ms: begun.lease_ms,
        };
        Ok((turn, Transcript { window: begun.messages, message_count: begun.message_count }))
    }
}

impl Turn {
    /// Renews the lease for as long as it is polled; returns only when the lease is lost. A store that cannot be
    /// reached is tried again: the lease may still outlast the trouble.
    pub(crate) async fn keep(&self) -> Failure {
        let pause = Duration::from_millis((self.lease_ms / 3).max(1));
        loop {
            tokio::time::sleep(pause).await;
            let request = RenewLeaseRequest { lease: Some(self.lease.clone()), lease_ms: self.lease_ms };
            let renewed = self.store.client.clone().renew_lease(within(self.store.times().call_timeout, request)).await;
            match renewed.map_err(Failure::from) {
                Ok(_) => {}
                Err(lost @ Failure::LeaseLost) => return lost,
                Err(failure) => tracing::warn!(run.id = self.run_id, %failure, "cannot renew a session's lease"),
            }
        }
    }

    /// Appends the turn to the transcript and gives the lease back. While the store cannot be reached the call is
    /// repeated, for as long as the lease lasts: the store knows the run, so a turn is never kept twice.
    ///
    /// `outcome` is kept with the run's record; it is empty for a run without one.
    pub(crate) async fn commit(self, messages: Vec<Message>, usage: Usage, outcome: Bytes) -> Result<(), Failure> {
        let Self { store, run_id, lease, lease_ms } = self;
        let request = CommitTurnRequest { lease: Some(lease), run_id, messages, usage: Some(usage), outcome };
        let last_try = Instant::now() + Duration::from_millis(lease_ms);
        let mut pause = FIRST_PAUSE;
        loop {
            let call = within(store.times().call_timeout, request.clone());
            let Err(status) = store.client.clone().commit_turn(call).await else { return Ok(()) };
            let is_final = matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument);
            if is_final || Instant::now() + pause > last_try {
                return Err(status.into());
            }
            if pause == FIRST_PAUSE {
                tracing::warn!(run.id = request.run_id, %status, "committing a turn failed; trying while its lease lasts");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Gives the lease back and keeps nothing. If that fails, the lease expires by itself.
    pub(crate) async fn abandon(self) {
        let Self { store, run_id, lease, .. } = self;
        let request = AbandonTurnRequest { lease: Some(lease) };
        if let Err(status) = store.client.clone().abandon_turn(within(store.times().call_timeout, request)).await {
            tracing::warn!(run.id = run_id, %status, "a session's lease could not be given back");
        }
    }
}

fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
