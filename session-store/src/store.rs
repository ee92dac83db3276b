//! What the service asks of a database, and what it gets back; every request here is already checked.

use std::{sync::Arc, time::Duration};

use proto::session::v1::{
    CommitTurnResponse, ListMessagesResponse, ListSessionsResponse, Message, Order, Role, Run, RunState, Session, Usage,
};
use shared::Namespace;
use uuid::Uuid;

use crate::{Error, config::Reset};

/// A database that keeps sessions, their turns, and the runs that others have to find.
///
/// Every method is one transaction by the database's own clock, and does all of its work or none even if its caller
/// goes away. What cannot reach the database fails with [`Error::Unavailable`], and works again once the database does.
#[tonic::async_trait]
pub(crate) trait Store: Send + Sync {
    /// Waits for the session's turn, in the order of arrival, and takes it. Whoever drops this leaves the line, and
    /// gives back what was granted unseen.
    async fn begin_turn(&self, begin: BeginTurn, wait: Duration) -> Result<Turn, Error>;
    async fn renew_lease(&self, lease: Lease, lease_ms: u64) -> Result<(), Error>;
    async fn commit_turn(&self, commit: CommitTurn) -> Result<CommitTurnResponse, Error>;
    async fn abandon_turn(&self, lease: Lease) -> Result<(), Error>;

    async fn get_session(&self, session_key: String) -> Result<Session, Error>;
    async fn list_sessions(&self, page: SessionsPage) -> Result<ListSessionsResponse, Error>;
    async fn list_messages(&self, page: MessagesPage) -> Result<ListMessagesResponse, Error>;
    async fn reset_session(&self, session_key: String) -> Result<Session, Error>;
    async fn delete_session(&self, session_key: String) -> Result<(), Error>;

    async fn put_run(&self, put: PutRun) -> Result<Run, Error>;
    async fn get_run(&self, run_id: String) -> Result<Run, Error>;

    /// Deletes some of what is past its time, sessions `ttl_ms` after their last turn if at all; says whether there may
    /// be more.
    async fn prune(&self, ttl_ms: Option<u64>) -> Result<bool, Error>;

    /// Sends away the turns that wait, now and from now on, with [`Error::Closed`]; all else goes on.
    fn drain(&self);
    /// Finishes what was taken, and closes the database. Calls that come later fail with [`Error::Closed`].
    async fn close(&self);
}

/// A turn that a run asks for.
#[derive(Debug)]
pub(crate) struct BeginTurn {
    pub(crate) session_key: Arc<str>,
    pub(crate) agent_id: String,
    pub(crate) run_id: String,
    /// Where the run is; may be empty.
    pub(crate) runner: String,
    pub(crate) window_messages: u32,
    pub(crate) lease_ms: u64,
    /// When a session that nobody has used begins anew.
    pub(crate) reset: Reset,
}

/// A run that is to be recorded.
#[derive(Debug)]
pub(crate) struct PutRun {
    pub(crate) run_id: String,
    pub(crate) session_key: String,
    pub(crate) runner: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) state: RunState,
    pub(crate) outcome: Vec<u8>,
    pub(crate) replaces_runner: String,
    /// For how long it is kept from now on.
    pub(crate) ttl_ms: u64,
}

/// Which leases a [`BeginTurn`] may take; the run's own always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A free one too.
    FreeOrOwn,
    /// No other, since somebody else is first in line for the free one.
    OwnOnly,
}

/// What came of a [`BeginTurn`].
pub(crate) enum Begun<T = Grant> {
    /// The run has the lease.
    Granted(T),
    /// Another run has it, for so long if it isn't renewed.
    Busy { expires_in: Duration },
}

/// A turn that has begun.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) lease: Lease,
    pub(crate) lease_ms: u64,
    pub(crate) message_count: u64,
    /// The newest encoded messages, newest first.
    pub(crate) window: Vec<Vec<u8>>,
}

/// A turn on its way to the caller, whose lease is given back if it never gets there.
pub(crate) struct Grant {
    turn: Option<Turn>,
    give_back: Option<Box<dyn FnOnce(Lease) + Send>>,
}

/// The right to write a session's next turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) session_id: Uuid,
    pub(crate) token: u64,
}

/// A turn that is to be kept.
#[derive(Debug)]
pub(crate) struct CommitTurn {
    pub(crate) lease: Lease,
    pub(crate) run_id: String,
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) usage: Usage,
    /// What the recorded run has come to; empty when it isn't recorded.
    pub(crate) outcome: Vec<u8>,
    /// For how long the outcome is kept.
    pub(crate) run_ttl_ms: u64,
    /// How many of the session's newest messages are kept; `None` keeps all.
    pub(crate) max_messages: Option<u64>,
}

/// A message that is to be kept.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) role: Role,
    /// The encoded [`Message`].
    pub(crate) body: Vec<u8>,
}

/// A page of all sessions, or of one agent's, or of one namespace's.
#[derive(Debug)]
pub(crate) struct SessionsPage {
    /// The namespace's name, empty for the main one; `None` for all.
    pub(crate) namespace: Option<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) limit: u32,
    pub(crate) direction: Direction,
    pub(crate) after: Option<String>,
}

/// A page of a transcript.
#[derive(Debug)]
pub(crate) struct MessagesPage {
    pub(crate) session_key: String,
    pub(crate) limit: u32,
    pub(crate) direction: Direction,
    pub(crate) after_seq: Option<u64>,
}

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    OldestFirst,
    NewestFirst,
}

impl Grant {
    pub(crate) fn new(turn: Turn, give_back: impl FnOnce(Lease) + Send + 'static) -> Self {
        Self { turn: Some(turn), give_back: Some(Box::new(give_back)) }
    }

    /// Hands the turn over to a caller who is still there.
    pub(crate) fn accept(mut self) -> Turn {
        self.give_back = None;
        self.turn.take().expect("nothing takes the turn but this and drop")
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let (Some(turn), Some(give_back)) = (self.turn.take(), self.give_back.take()) {
            give_back(turn.lease);
        }
    }
}

impl BeginTurn {
    /// The name of the session's namespace; empty for the main one.
    pub(crate) fn namespace(&self) -> &str {
        Namespace::split(&self.session_key).0
    }
}

impl CommitTurn {
    /// The number of the first message that is kept, of those from `first_seq` to `last_seq`. A session that is far
    /// too long gets there step by step, so that no commit is slow.
    pub(crate) fn first_seq(&self, first_seq: u64, last_seq: u64) -> u64 {
        const STEP: u64 = 64;
        let wanted = self.max_messages.map_or(0, |max| (last_seq + 1).saturating_sub(max));
        wanted.clamp(first_seq, first_seq + self.messages.len() as u64 + STEP)
    }
}

impl NewMessage {
    /// What its role is called in a table, for reading along with a database shell.
    pub(crate) fn role_name(&self) -> &'static str {
        match self.role {
            Role::Unspecified => "unspecified",
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

impl Turn {
    /// The window as the caller gets it: oldest first, and without the tool messages at its start, whose calls it does
    /// not reach back to.
    pub(crate) fn messages(&self) -> Result<Vec<Message>, prost::DecodeError> {
        let mut messages = Vec::with_capacity(self.window.len());
        for body in self.window.iter().rev() {
            let message: Message = prost::Message::decode(body.as_slice())?;
            if !(messages.is_empty() && message.role() == Role::Tool) {
                messages.push(message);
            }
        }
        Ok(messages)
    }
}

impl From<Order> for Direction {
    fn from(order: Order) -> Self {
        match order {
            Order::Unspecified | Order::Descending => Self::NewestFirst,
            Order::Ascending => Self::OldestFirst,
        }
    }
}
