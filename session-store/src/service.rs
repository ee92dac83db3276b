//! The gRPC service: every call taken apart, handed on, and answered.

use std::sync::Arc;

use arc_swap::ArcSwap;
use proto::session::v1::{
    self as wire, AbandonTurnRequest, AbandonTurnResponse, BeginTurnRequest, BeginTurnResponse, CommitTurnRequest,
    CommitTurnResponse, DeleteSessionRequest, DeleteSessionResponse, GetRunRequest, GetRunResponse, GetSessionRequest,
    GetSessionResponse, ListMessagesRequest, ListMessagesResponse, ListSessionsRequest, ListSessionsResponse,
    PutRunRequest, PutRunResponse, RenewLeaseRequest, RenewLeaseResponse, ResetSessionRequest, ResetSessionResponse,
    session_store_server::{SessionStore, SessionStoreServer},
};
use shared::transport::{Layered, MAX_MESSAGE_BYTES};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Request, Response, Status};
use tracing::instrument;

use crate::{Config, Error, SessionConfig, metrics, prune, request, store::Store};

/// The session store, for the generated server; cheap to clone.
///
/// [`shutdown`](Self::shutdown) before the last clone is dropped: a drop may block its thread, or leave calls unfinished.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    config: Arc<ArcSwap<SessionConfig>>,
    max_concurrent_calls: usize,
    pruning: TaskTracker,
    // Pruning ends with the last clone, too.
    stop_pruning: Arc<DropGuard>,
}

impl Service {
    pub(crate) fn new(store: Arc<dyn Store>, config: SessionConfig, max_concurrent_calls: usize) -> Self {
        metrics::describe();
        let (pruning, stop_pruning) = (TaskTracker::new(), CancellationToken::new());
        let config = Arc::new(ArcSwap::from_pointee(config));
        pruning.spawn(prune::run(store.clone(), config.clone(), stop_pruning.clone()));
        pruning.close();
        let stop_pruning = Arc::new(stop_pruning.drop_guard());
        Self { store, config, max_concurrent_calls, pruning, stop_pruning }
    }

    /// The generated server, with the layers that every call passes.
    pub fn server(&self) -> Layered<SessionStoreServer<Self>> {
        let server = SessionStoreServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Layered::new(server, self.max_concurrent_calls)
    }

    /// Has the section `session` of another configuration hold from now on; the database and the bounds on calls and
    /// connections stay as they are.
    pub fn reload(&self, config: Config) {
        self.config.store(Arc::new(config.session));
    }

    /// Sends away the turns that wait for a lease, now and from now on, with UNAVAILABLE; all else goes on.
    pub fn drain(&self) {
        self.store.drain();
    }

    /// Finishes what was taken and closes the database. Calls that come later are answered with UNAVAILABLE.
    pub async fn shutdown(&self) {
        self.drain();
        self.stop_pruning.token().cancel();
        self.pruning.wait().await;
        self.store.close().await;
    }

    async fn begin(&self, request: BeginTurnRequest) -> Result<BeginTurnResponse, Error> {
        let (begin, wait) = request::begin_turn(request, &self.config.load())?;
        let waiting = metrics::Waiting::begin();
        let turn = self.store.begin_turn(begin, wait).await;
        waiting.ended(&turn);
        let turn = turn?;
        let lease = wire::Lease { session_id: turn.lease.session_id.to_string(), token: turn.lease.token };
        Ok(BeginTurnResponse {
            lease: Some(lease),
            lease_ms: turn.lease_ms,
            messages: turn.messages()?,
            message_count: turn.message_count,
        })
    }
}

#[tonic::async_trait]
impl SessionStore for Service {
    #[instrument(skip_all, fields(session.key = request.get_ref().session_key, run.id = request.get_ref().run_id))]
    async fn begin_turn(&self, request: Request<BeginTurnRequest>) -> Result<Response<BeginTurnResponse>, Status> {
        Ok(Response::new(self.begin(request.into_inner()).await?))
    }

    #[instrument(skip_all, fields(session.id = session_id(request.get_ref().lease.as_ref())))]
    async fn renew_lease(&self, request: Request<RenewLeaseRequest>) -> Result<Response<RenewLeaseResponse>, Status> {
        let (lease, lease_ms) = request::renew_lease(request.into_inner(), &self.config.load())?;
        let renewed = self.store.renew_lease(lease, lease_ms).await;
        metrics::renewed(&renewed);
        renewed?;
        Ok(Response::new(RenewLeaseResponse { lease_ms }))
    }

    #[instrument(skip_all, fields(
        session.id = session_id(request.get_ref().lease.as_ref()), run.id = request.get_ref().run_id
    ))]
    async fn commit_turn(&self, request: Request<CommitTurnRequest>) -> Result<Response<CommitTurnResponse>, Status> {
        let commit = request::commit_turn(request.into_inner(), &self.config.load())?;
        let committed = self.store.commit_turn(commit).await;
        metrics::committed(&committed);
        Ok(Response::new(committed?))
    }

    #[instrument(skip_all, fields(session.id = session_id(request.get_ref().lease.as_ref())))]
    async fn abandon_turn(
        &self,
        request: Request<AbandonTurnRequest>,
    ) -> Result<Response<AbandonTurnResponse>, Status> {
        let lease = request::lease(request.into_inner().lease)?;
        self.store.abandon_turn(lease).await?;
        Ok(Response::new(AbandonTurnResponse {}))
    }

    #[instrument(skip_all, fields(session.key = request.get_ref().session_key))]
    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let session_key = request::session_key("session_key", request.into_inner().session_key)?;
        let session = self.store.get_session(session_key).await?;
        Ok(Response::new(GetSessionResponse { session: Some(session) }))
    }

    #[instrument(skip_all)]
    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let page = request::list_sessions(request.into_inner())?;
        Ok(Response::new(self.store.list_sessions(page).await?))
    }

    #[instrument(skip_all, fields(session.key = request.get_ref().session_key))]
    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let page = request::list_messages(request.into_inner())?;
        Ok(Response::new(self.store.list_messages(page).await?))
    }

    #[instrument(skip_all, fields(session.key = request.get_ref().session_key))]
    async fn reset_session(
        &self,
        request: Request<ResetSessionRequest>,
    ) -> Result<Response<ResetSessionResponse>, Status> {
        let session_key = request::session_key("session_key", request.into_inner().session_key)?;
        let session = self.store.reset_session(session_key).await?;
        Ok(Response::new(ResetSessionResponse { session: Some(session) }))
    }

    #[instrument(skip_all, fields(session.key = request.get_ref().session_key))]
    async fn delete_session(
        &self,
        request: Request<DeleteSessionRequest>,
    ) -> Result<Response<DeleteSessionResponse>, Status> {
        let session_key = request::session_key("session_key", request.into_inner().session_key)?;
        self.store.delete_session(session_key).await?;
        Ok(Response::new(DeleteSessionResponse {}))
    }

    #[instrument(skip_all, fields(run.id = request.get_ref().run.as_ref().map(|run| run.run_id.as_str())))]
    async fn put_run(&self, request: Request<PutRunRequest>) -> Result<Response<PutRunResponse>, Status> {
        let put = request::put_run(request.into_inner(), &self.config.load())?;
        let run = self.store.put_run(put).await?;
        Ok(Response::new(PutRunResponse { run: Some(run) }))
    }

    #[instrument(skip_all, fields(run.id = request.get_ref().run_id))]
    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let run_id = request::get_run(request.into_inner())?;
        let run = self.store.get_run(run_id).await?;
        Ok(Response::new(GetRunResponse { run: Some(run) }))
    }
}

fn session_id(lease: Option<&wire::Lease>) -> Option<&str> {
    lease.map(|lease| lease.session_id.as_str())
}
