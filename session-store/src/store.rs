//! What the service asks of a database, and what it gets back; every request here is already checked.

use std::{sync::Arc, time::Duration};

use proto::session::v1::{Message, Order, Role, Usage};
use uuid::Uuid;

/// A turn that a run asks for.
#[derive(Debug)]
pub(crate) struct BeginTurn {
    pub(crate) session_key: Arc<str>,
    pub(crate) agent_id: String,
    pub(crate) run_id: String,
    pub(crate) window_messages: u32,
    pub(crate) lease_ms: u64,
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
}

/// A message that is to be kept.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) role: Role,
    /// The encoded [`Message`].
    pub(crate) body: Vec<u8>,
}

/// A page of all sessions, or of one agent's.
#[derive(Debug)]
pub(crate) struct SessionsPage {
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
