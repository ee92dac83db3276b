//! A run's side of the session store: begin a turn, keep its lease, commit or abandon it.

use std::time::Duration;

use proto::session::v1::{
    AbandonTurnRequest, BeginTurnRequest, CommitTurnRequest, Lease, Message, RenewLeaseRequest, Usage,
    session_store_client::SessionStoreClient,
};
use shared::transport::Transport;
use tonic::Request;

use crate::{failure::Failure, service::Settings};

/// The session store, as runs see it; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    client: SessionStoreClient<Transport>,
    lease_ms: u64,
    wait: Duration,
    window_messages: u32,
    call_timeout: Duration,
}

/// A turn that has begun. It must be committed or abandoned; until then nobody else can take the session's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    store: Store,
    run_id: String,
    lease: Lease,
    lease_ms: u64,
}

impl Store {
    pub(crate) fn new(client: SessionStoreClient<Transport>, settings: &Settings, call_timeout: Duration) -> Self {
        Self {
            client,
            lease_ms: millis(settings.lease),
            wait: settings.lease_wait,
            window_messages: settings.window_messages,
            call_timeout,
        }
    }

    /// Waits for the session's lease; returns the turn and the transcript's window, oldest message first.
    pub(crate) async fn begin(
        &self,
        session_key: &str,
        agent_id: &str,
        run_id: &str,
    ) -> Result<(Turn, Vec<Message>), Failure> {
        let request = BeginTurnRequest {
            session_key: session_key.to_owned(),
            agent_id: agent_id.to_owned(),
            run_id: run_id.to_owned(),
            window_messages: self.window_messages,
            wait_ms: millis(self.wait),
            lease_ms: self.lease_ms,
        };
        let begun = self.client.clone().begin_turn(within(self.wait + self.call_timeout, request)).await?.into_inner();
        let turn = Turn {
            store: self.clone(),
            run_id: run_id.to_owned(),
            lease: begun.lease.unwrap_or_default(),
            lease_ms: begun.lease_ms,
        };
        Ok((turn, begun.messages))
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
            let renewed = self.store.client.clone().renew_lease(within(self.store.call_timeout, request)).await;
            match renewed.map_err(Failure::from) {
                Ok(_) => {}
                Err(lost @ Failure::LeaseLost) => return lost,
                Err(failure) => tracing::warn!(run.id = self.run_id, %failure, "cannot renew a session's lease"),
            }
        }
    }

    /// Appends the turn to the transcript and gives the lease back. A failed call is repeated once: the store knows
    /// the run, so a turn is never kept twice.
    pub(crate) async fn commit(self, messages: Vec<Message>, usage: Usage) -> Result<(), Failure> {
        let Self { store, run_id, lease, .. } = self;
        let request = CommitTurnRequest { lease: Some(lease), run_id, messages, usage: Some(usage) };
        let mut client = store.client.clone();
        match client.commit_turn(within(store.call_timeout, request.clone())).await.map_err(Failure::from) {
            Err(Failure::Store(status)) => {
                tracing::warn!(run.id = request.run_id, %status, "committing a turn failed; trying once more");
                client.commit_turn(within(store.call_timeout, request)).await?;
                Ok(())
            }
            outcome => outcome.map(|_| ()),
        }
    }

    /// Gives the lease back and keeps nothing. If that fails, the lease expires by itself.
    pub(crate) async fn abandon(self) {
        let Self { store, run_id, lease, .. } = self;
        let request = AbandonTurnRequest { lease: Some(lease) };
        if let Err(status) = store.client.clone().abandon_turn(within(store.call_timeout, request)).await {
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
