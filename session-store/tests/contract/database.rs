//! A database to test with, and short words for the calls.

mod postgres;
mod shell;

use std::{fmt::Debug, future::poll_fn, pin::Pin, task::Poll};

use proto::session::v1::{
    AbandonTurnRequest, BeginTurnRequest, BeginTurnResponse, CommitTurnRequest, DeleteSessionRequest,
    GetSessionRequest, Lease, ListMessagesRequest, Message, Order, Part, RenewLeaseRequest, ResetSessionRequest, Role,
    Session, ToolCall, Usage, part::Kind, session_store_client::SessionStoreClient,
};
use session_store::{Config, Service, SessionConfig};
use shared::transport::{self, MAX_MESSAGE_BYTES, Transport};
pub(crate) use shell::Shell;
use tempfile::TempDir;
use tonic::{Code, Status};
use uuid::Uuid;

/// Longer than any test takes.
pub(crate) const LONG_MS: u64 = 60_000;

/// An empty database of its own.
pub(crate) struct Database {
    url: String,
    pub(crate) shell: Shell,
    _folder: Option<TempDir>,
}

/// A store that has the database open.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) client: SessionStoreClient<Transport>,
    pub(crate) service: Service,
    shell: Shell,
}

pub(crate) type Beginning = Pin<Box<dyn Future<Output = Result<BeginTurnResponse, Status>> + Send>>;

pub(crate) async fn sqlite() -> Database {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/sessions.db");
    let url = format!("sqlite:{}", path.display());
    Database { url, shell: Shell::Sqlite(path), _folder: Some(folder) }
}

pub(crate) async fn postgres() -> Database {
    let url = postgres::database().await;
    Database { shell: Shell::Postgres(postgres::connect(&url).await), url, _folder: None }
}

impl Database {
    pub(crate) async fn open(&self) -> Store {
        self.open_with(SessionConfig::default()).await
    }

    /// Opens it, if that can be done.
    pub(crate) async fn try_open(&self) -> Result<Service, session_store::Error> {
        self.config(SessionConfig::default()).build().await
    }

    pub(crate) async fn open_with(&self, session: SessionConfig) -> Store {
        let service = self.config(session).build().await.unwrap();
        let client = SessionStoreClient::new(transport::local(service.server()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Store { client, service, shell: self.shell.clone() }
    }

    /// How many stores can share its lines.
    pub(crate) fn replicas(&self) -> usize {
        match self.shell {
            Shell::Sqlite(_) => 1,
            Shell::Postgres(_) => 2,
        }
    }

    pub(crate) fn config(&self, session: SessionConfig) -> Config {
        Config::new(self.url.parse().unwrap(), session)
    }
}

/// Asks for `session`'s turn, waiting at most a minute for it.
pub(crate) fn asks(session: &str, run_id: &str) -> BeginTurnRequest {
    BeginTurnRequest {
        session_key: session.to_owned(),
        agent_id: "main".to_owned(),
        run_id: run_id.to_owned(),
        wait_ms: LONG_MS,
        lease_ms: LONG_MS,
        ..BeginTurnRequest::default()
    }
}

/// The same, for who will not wait.
pub(crate) fn asks_now(session: &str, run_id: &str) -> BeginTurnRequest {
    BeginTurnRequest { wait_ms: 0, ..asks(session, run_id) }
}

impl Store {
    pub(crate) fn begin(&self, request: BeginTurnRequest) -> Beginning {
        let mut client = self.client.clone();
        Box::pin(async move { Ok(client.begin_turn(request).await?.into_inner()) })
    }

    /// Has the call arrive, and returns it while it waits.
    pub(crate) async fn begin_and_wait(&self, request: BeginTurnRequest) -> Beginning {
        let before = self.shell.newest_ticket(&request.session_key).await;
        let session_key = request.session_key.clone();
        let mut beginning = self.begin(request);
        loop {
            let arrived = arrive(&mut beginning).await;
            assert!(arrived.is_pending(), "{arrived:?}");
            if before.is_none() {
                // Writes come one by one, so the call has seen that it has to wait once another write is done.
                let lease = Some(Lease { session_id: Uuid::nil().to_string(), token: 1 });
                self.client.clone().abandon_turn(AbandonTurnRequest { lease }).await.unwrap();
                return beginning;
            }
            if self.shell.newest_ticket(&session_key).await > before {
                return beginning;
            }
        }
    }

    /// Returns once so many wait for the session's turn.
    pub(crate) async fn line_has(&self, session: &str, length: i64) {
        while self.shell.line_length(session).await.is_some_and(|now| now != length) {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn commit(&self, begun: &BeginTurnResponse, run_id: &str, texts: &[&str]) -> Result<u64, Status> {
        self.commit_messages(begun, run_id, texts.iter().map(|text| user(text)).collect()).await
    }

    pub(crate) async fn commit_messages(
        &self,
        begun: &BeginTurnResponse,
        run_id: &str,
        messages: Vec<Message>,
    ) -> Result<u64, Status> {
        let usage = Usage { prompt_tokens: 10, completion_tokens: 5, cached_tokens: 3, reasoning_tokens: 1 };
        let request = CommitTurnRequest {
            lease: begun.lease.clone(),
            run_id: run_id.to_owned(),
            messages,
            usage: Some(usage),
            ..CommitTurnRequest::default()
        };
        Ok(self.client.clone().commit_turn(request).await?.into_inner().last_seq)
    }

    /// Takes a whole turn.
    pub(crate) async fn turn(&self, session: &str, run_id: &str, texts: &[&str]) -> BeginTurnResponse {
        let begun = self.begin(asks(session, run_id)).await.unwrap();
        self.commit(&begun, run_id, texts).await.unwrap();
        begun
    }

    pub(crate) async fn renew(&self, begun: &BeginTurnResponse, lease_ms: u64) -> Result<u64, Status> {
        let request = RenewLeaseRequest { lease: begun.lease.clone(), lease_ms };
        Ok(self.client.clone().renew_lease(request).await?.into_inner().lease_ms)
    }

    pub(crate) async fn abandon(&self, begun: &BeginTurnResponse) -> Result<(), Status> {
        let request = AbandonTurnRequest { lease: begun.lease.clone() };
        self.client.clone().abandon_turn(request).await.map(drop)
    }

    pub(crate) async fn get(&self, session: &str) -> Result<Session, Status> {
        let request = GetSessionRequest { session_key: session.to_owned() };
        Ok(self.client.clone().get_session(request).await?.into_inner().session.unwrap())
    }

    pub(crate) async fn reset(&self, session: &str) -> Result<Session, Status> {
        let request = ResetSessionRequest { session_key: session.to_owned() };
        Ok(self.client.clone().reset_session(request).await?.into_inner().session.unwrap())
    }

    pub(crate) async fn delete(&self, session: &str) -> Result<(), Status> {
        let request = DeleteSessionRequest { session_key: session.to_owned() };
        self.client.clone().delete_session(request).await.map(drop)
    }

    /// The whole transcript's texts, oldest first.
    pub(crate) async fn transcript(&self, session: &str) -> Vec<String> {
        let request = ListMessagesRequest {
            session_key: session.to_owned(),
            limit: 1000,
            order: Order::Ascending.into(),
            after_seq: 0,
        };
        let page = self.client.clone().list_messages(request).await.unwrap().into_inner();
        page.messages.into_iter().map(|message| text(&message.message.unwrap())).collect()
    }
}

/// Polls the call once, which takes it as far as the database or the line.
pub(crate) async fn arrive<F: Future + Unpin>(call: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *call).poll(context))).await
}

pub(crate) fn user(text: &str) -> Message {
    message(Role::User, text)
}

pub(crate) fn message(role: Role, text: &str) -> Message {
    let part = Part { kind: Some(Kind::Text(text.to_owned())) };
    Message { role: role.into(), parts: vec![part], ..Message::default() }
}

pub(crate) fn tool_call(id: &str) -> Message {
    let call =
        ToolCall { id: id.to_owned(), name: "look".to_owned(), arguments: "{}".to_owned(), ..ToolCall::default() };
    Message { role: Role::Assistant.into(), tool_calls: vec![call], ..Message::default() }
}

pub(crate) fn tool_result(id: &str) -> Message {
    Message { tool_call_id: id.to_owned(), ..message(Role::Tool, "seen") }
}

pub(crate) fn text(message: &Message) -> String {
    match &message.parts[0].kind {
        Some(Kind::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(text).collect()
}

pub(crate) fn lease(begun: &BeginTurnResponse) -> &Lease {
    begun.lease.as_ref().unwrap()
}

#[track_caller]
pub(crate) fn refused<T: Debug>(outcome: Result<T, Status>, code: Code) -> String {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}
