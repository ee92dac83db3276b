//! The session store, as the gateway asks it.

use std::{future::Future, time::Duration};

use proto::session::v1::{
    AbandonTurnRequest, DeleteSessionRequest, GetSessionRequest, Lease, ListMessagesRequest, ListMessagesResponse,
    ListSessionsRequest, ListSessionsResponse, ResetSessionRequest, Session, session_store_client::SessionStoreClient,
};
use shared::{
    SessionKey,
    transport::{MAX_MESSAGE_BYTES, Transport},
};
use tonic::{Response, Status};

use crate::error::ApiError;

/// A store that can be gone: chat without a session does not need it, so it is no part of whether the gateway is ready.
pub(crate) struct Store {
    client: SessionStoreClient<Transport>,
    call_timeout: Duration,
}

impl Store {
    pub(crate) fn new(store: Transport, call_timeout: Duration) -> Self {
        let client = SessionStoreClient::new(store)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, call_timeout }
    }

    pub(super) async fn get(&self, key: &SessionKey) -> Result<Session, ApiError> {
        let request = GetSessionRequest { session_key: key.to_string() };
        Ok(self.answer(self.client.clone().get_session(request), ApiError::of_store).await?.session.unwrap_or_default())
    }

    pub(super) async fn list(&self, request: ListSessionsRequest) -> Result<ListSessionsResponse, ApiError> {
        self.answer(self.client.clone().list_sessions(request), ApiError::of_store_list).await
    }

    pub(crate) async fn messages(&self, request: ListMessagesRequest) -> Result<ListMessagesResponse, ApiError> {
        self.answer(self.client.clone().list_messages(request), ApiError::of_store).await
    }

    pub(super) async fn reset(&self, key: &SessionKey) -> Result<Session, ApiError> {
        let request = ResetSessionRequest { session_key: key.to_string() };
        Ok(self
            .answer(self.client.clone().reset_session(request), ApiError::of_store)
            .await?
            .session
            .unwrap_or_default())
    }

    pub(super) async fn delete(&self, key: &SessionKey) -> Result<(), ApiError> {
        let request = DeleteSessionRequest { session_key: key.to_string() };
        self.answer(self.client.clone().delete_session(request), ApiError::of_store).await.map(|_| ())
    }

    pub(super) async fn abandon(&self, lease: Option<Lease>) -> Result<(), ApiError> {
        self.answer(self.client.clone().abandon_turn(AbandonTurnRequest { lease }), ApiError::of_store)
            .await
            .map(|_| ())
    }

    /// Waits for a call, but not for longer than one may take. A dropped call is given up.
    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
        refused: fn(&Status) -> ApiError,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.call_timeout, call).await {
            Ok(answer) => answer.map(Response::into_inner).map_err(|status| refused(&status)),
            Err(_) => Err(ApiError::unavailable("the session store did not answer; try again later")),
        }
    }
}
