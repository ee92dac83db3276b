//! Requests taken apart: what the contract forbids is refused here, so that nothing behind has to check again.

use std::time::Duration;

use prost::{Message, bytes::Bytes};
use proto::session::v1::{
    self as wire, BeginTurnRequest, CommitTurnRequest, GetRunRequest, ListMessagesRequest, ListSessionsRequest, Order,
    PutRunRequest, RenewLeaseRequest, Role, RunState, Usage,
};
use uuid::Uuid;

use crate::{
    Error, SessionConfig,
    store::{BeginTurn, CommitTurn, Direction, Lease, MessagesPage, NewMessage, PutRun, SessionsPage},
};

const MAX_SESSION_KEY_BYTES: usize = 512;
const MAX_RUN_ID_BYTES: usize = 128;
const MAX_AGENT_ID_BYTES: usize = 128;
const MAX_RUNNER_BYTES: usize = 256;
const MAX_FINGERPRINT_BYTES: usize = 64;
/// A century.
const MAX_RUN_TTL_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
const MAX_WINDOW_MESSAGES: u32 = 1000;
const MAX_LEASE_MS: u64 = 60 * 60 * 1000;
const MAX_PAGE: u32 = 1000;
const DEFAULT_PAGE: u32 = 20;
/// Half of what a gRPC message may hold, so that a message that was taken can always be given back.
const MAX_MESSAGE_BYTES: usize = shared::transport::MAX_MESSAGE_BYTES / 2;
/// Far beyond any model, and low enough that a session's sums stay within 63 bits.
const MAX_TOKENS: u64 = u32::MAX as u64;

/// Checks a [`BeginTurnRequest`]; also says how long it may wait.
pub(crate) fn begin_turn(request: BeginTurnRequest, config: &SessionConfig) -> Result<(BeginTurn, Duration), Error> {
    let session_key = session_key("session_key", request.session_key)?.into();
    let run_id = run_id("run_id", request.run_id)?;
    if request.agent_id.len() > MAX_AGENT_ID_BYTES {
        return Err(invalid("agent_id", "must be at most 128 bytes"));
    }
    let agent_id = storable("agent_id", request.agent_id)?;
    let window_messages = match request.window_messages {
        0 => config.window_messages,
        window_messages => window_messages,
    };
    let wait = Duration::from_millis(request.wait_ms.min(config.wait_ms));
    let begin = BeginTurn {
        session_key,
        agent_id,
        run_id,
        runner: runner("runner", request.runner)?,
        window_messages: window_messages.min(MAX_WINDOW_MESSAGES),
        lease_ms: lease_ms(request.lease_ms, config),
        reset: config.reset(),
    };
    Ok((begin, wait))
}

/// Checks a [`RenewLeaseRequest`].
pub(crate) fn renew_lease(request: RenewLeaseRequest, config: &SessionConfig) -> Result<(Lease, u64), Error> {
    Ok((lease(request.lease)?, lease_ms(request.lease_ms, config)))
}

/// Checks a [`CommitTurnRequest`].
pub(crate) fn commit_turn(request: CommitTurnRequest, config: &SessionConfig) -> Result<CommitTurn, Error> {
    let lease = lease(request.lease)?;
    let run_id = run_id("run_id", request.run_id)?;
    if request.messages.is_empty() {
        return Err(invalid("messages", "must have at least one message"));
    }
    let messages = request.messages.iter().enumerate().map(|(index, message)| new_message(index, message));
    let messages = messages.collect::<Result<_, _>>()?;
    Ok(CommitTurn {
        lease,
        run_id,
        messages,
        usage: usage(request.usage.unwrap_or_default())?,
        outcome: outcome("outcome", request.outcome)?,
        run_ttl_ms: run_ttl_ms(config),
        max_messages: Some(config.max_messages).filter(|&max| max > 0),
    })
}

/// Checks a [`PutRunRequest`].
pub(crate) fn put_run(request: PutRunRequest, config: &SessionConfig) -> Result<PutRun, Error> {
    let run = request.run.ok_or_else(|| invalid("run", "is missing"))?;
    let state = run.state();
    if state == RunState::Unspecified {
        return Err(invalid("run.state", "is not a state"));
    }
    if state == RunState::Failed && !run.outcome.is_empty() {
        return Err(invalid("run.outcome", "a failed run has none"));
    }
    if run.runner.is_empty() {
        return Err(invalid("run.runner", "must be 1 to 256 bytes"));
    }
    if run.fingerprint.is_empty() || run.fingerprint.len() > MAX_FINGERPRINT_BYTES {
        return Err(invalid("run.fingerprint", "must be 1 to 64 bytes"));
    }
    Ok(PutRun {
        run_id: run_id("run.run_id", run.run_id)?,
        session_key: session_key("run.session_key", run.session_key)?,
        runner: runner("run.runner", run.runner)?,
        fingerprint: run.fingerprint.into(),
        state,
        outcome: outcome("run.outcome", run.outcome)?,
        replaces_runner: runner("replaces_runner", request.replaces_runner)?,
        ttl_ms: run_ttl_ms(config),
    })
}

/// Checks a [`GetRunRequest`].
pub(crate) fn get_run(request: GetRunRequest) -> Result<String, Error> {
    run_id("run_id", request.run_id)
}

/// Checks a [`ListSessionsRequest`].
pub(crate) fn list_sessions(request: ListSessionsRequest) -> Result<SessionsPage, Error> {
    let after = match request.after {
        after if after.is_empty() => None,
        after => Some(session_key("after", after)?),
    };
    let namespace = match (request.all_namespaces, request.namespace) {
        (true, namespace) if namespace.is_empty() => None,
        (true, _) => return Err(invalid("namespace", "must be empty where all namespaces are asked for")),
        (false, namespace) => Some(storable("namespace", namespace)?),
    };
    let agent_id = Some(storable("agent_id", request.agent_id)?).filter(|agent_id| !agent_id.is_empty());
    Ok(SessionsPage { namespace, limit: limit(request.limit)?, direction: direction(request.order)?, agent_id, after })
}

/// Checks a [`ListMessagesRequest`].
pub(crate) fn list_messages(request: ListMessagesRequest) -> Result<MessagesPage, Error> {
    let after_seq = match request.after_seq {
        0 => None,
        after_seq if i64::try_from(after_seq).is_ok() => Some(after_seq),
        _ => return Err(invalid("after_seq", "is no message's number")),
    };
    Ok(MessagesPage {
        session_key: session_key("session_key", request.session_key)?,
        limit: limit(request.limit)?,
        direction: direction(request.order)?,
        after_seq,
    })
}

/// Checks a session key that came in `field`.
pub(crate) fn session_key(field: &str, key: String) -> Result<String, Error> {
    if key.is_empty() || key.len() > MAX_SESSION_KEY_BYTES {
        return Err(invalid(field, "must be 1 to 512 bytes"));
    }
    storable(field, key)
}

/// Checks a lease.
pub(crate) fn lease(lease: Option<wire::Lease>) -> Result<Lease, Error> {
    let lease = lease.ok_or_else(|| invalid("lease", "is missing"))?;
    let session_id = Uuid::try_parse(&lease.session_id).map_err(|_| invalid("lease.session_id", "is not a UUID"))?;
    if lease.token == 0 || i64::try_from(lease.token).is_err() {
        return Err(invalid("lease.token", "is not a token that this store gives"));
    }
    Ok(Lease { session_id, token: lease.token })
}

/// PostgreSQL's text has every character but one.
fn storable(field: &str, text: String) -> Result<String, Error> {
    if text.contains('\0') { Err(invalid(field, "must not have a NUL character")) } else { Ok(text) }
}

fn run_id(field: &str, run_id: String) -> Result<String, Error> {
    if run_id.is_empty() || run_id.len() > MAX_RUN_ID_BYTES {
        return Err(invalid(field, "must be 1 to 128 bytes"));
    }
    storable(field, run_id)
}

fn runner(field: &str, runner: String) -> Result<String, Error> {
    if runner.len() > MAX_RUNNER_BYTES {
        return Err(invalid(field, "must be at most 256 bytes"));
    }
    storable(field, runner)
}

fn outcome(field: &str, outcome: Bytes) -> Result<Vec<u8>, Error> {
    if outcome.len() > MAX_MESSAGE_BYTES { Err(invalid(field, "must be at most 32 MiB")) } else { Ok(outcome.into()) }
}

fn run_ttl_ms(config: &SessionConfig) -> u64 {
    config.run_ttl.as_millis().unwrap_or(MAX_RUN_TTL_MS).min(MAX_RUN_TTL_MS)
}

fn lease_ms(lease_ms: u64, config: &SessionConfig) -> u64 {
    match lease_ms {
        0 => config.lease_ms.min(MAX_LEASE_MS),
        lease_ms => lease_ms.min(MAX_LEASE_MS),
    }
}

fn new_message(index: usize, message: &wire::Message) -> Result<NewMessage, Error> {
    let role = Role::try_from(message.role).unwrap_or_default();
    if role == Role::Unspecified {
        return Err(invalid(format!("messages[{index}].role"), "is not a role"));
    }
    let body = message.encode_to_vec();
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(invalid(format!("messages[{index}]"), "must be at most 32 MiB"));
    }
    Ok(NewMessage { role, body })
}

fn usage(usage: Usage) -> Result<Usage, Error> {
    let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens } = usage;
    if [prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens].into_iter().any(|n| n > MAX_TOKENS) {
        return Err(invalid("usage", "has more tokens than one turn can cost"));
    }
    Ok(usage)
}

fn limit(limit: u32) -> Result<u32, Error> {
    match limit {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(limit),
        _ => Err(invalid("limit", "must be 1 to 1000")),
    }
}

fn direction(order: i32) -> Result<Direction, Error> {
    Order::try_from(order).map(Direction::from).map_err(|_| invalid("order", "is not an order"))
}

fn invalid(field: impl Into<String>, reason: &'static str) -> Error {
    Error::Invalid { field: field.into(), reason }
}
