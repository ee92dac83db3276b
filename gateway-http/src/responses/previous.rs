//! `previous_response_id`: the response that another one follows.

use proto::{
    agent::v1::{Accepted, run_event::Kind},
    session::v1::{ListMessagesRequest, Message, Order, Role, TranscriptMessage},
};
use shared::{AgentId, SessionKey};

use super::object::Progress;
use crate::{
    Gateway,
    caller::Caller,
    error::ApiError,
    kept::{Annotation, KeptRun, is_run_id},
};

const FIELD: &str = "previous_response_id";
/// How much of a conversation a branch of it begins with, the newest of it. Models see no more by far.
const MAX_BRANCH_MESSAGES: usize = 1000;
/// The same in bytes.
const MAX_BRANCH_BYTES: usize = 8 * 1024 * 1024;
const PAGE_MESSAGES: u32 = 200;

/// A response that is followed, and how it stands in its session.
pub(super) enum Previous {
    /// Nothing was said after it.
    Newest { session_key: SessionKey, run_id: String },
    /// Something was.
    Older { session_key: SessionKey, run_id: String },
}

impl Gateway {
    /// The response with this id, which must be one that this caller may see, of this agent, and in this session, if one
    /// is named.
    pub(super) async fn previous(
        &self,
        caller: &Caller,
        id: &str,
        agent_id: &AgentId,
        named: Option<&SessionKey>,
    ) -> Result<Previous, ApiError> {
        if !is_run_id(id) {
            return Err(ApiError::invalid_value(FIELD, "is no id of a response"));
        }
        let KeptRun { accepted, mut events } =
            self.kept_run(caller, id, true).await.map_err(|error| error.about(FIELD))?;
        let Accepted { agent_id: of_agent, session_key, stateless, annotation, .. } = accepted;
        let Some(Annotation::Response(annotation)) = Annotation::read(&annotation) else {
            return Err(ApiError::run_not_found(id).about(FIELD));
        };
        let refused = |reason: &str| Err(ApiError::invalid_value(FIELD, reason));
        if of_agent != agent_id.as_str() {
            return refused(&format!("it is of the agent `{of_agent}`"));
        }
        if stateless {
            return refused("nothing of it was kept");
        }
        if named.is_some_and(|named| named.as_str() != session_key) {
            return refused("it is of another session");
        }
        let session_key = SessionKey::of_store(session_key);
        let mut progress = Progress::new(id, annotation);
        while let Ok(event) = events.next().await {
            let has_failed = matches!(event, Kind::Failed(_));
            progress.take(event, &mut |_| {});
            if has_failed {
                return refused("it failed, so that there is nothing to follow");
            }
        }
        let run_id = id.to_owned();
        // One that still goes on will be the newest when its session is free.
        if !progress.is_answered() {
            return Ok(Previous::Newest { session_key, run_id });
        }
        let newest = self.page(&session_key, 0, 1).await?;
        let is_newest = newest.first().is_some_and(|message| message.run_id == run_id);
        Ok(if is_newest { Previous::Newest { session_key, run_id } } else { Previous::Older { session_key, run_id } })
    }

    /// What was said up to the end of a response's turn.
    pub(super) async fn said_until(&self, previous: &Previous) -> Result<Vec<Message>, ApiError> {
        let (Previous::Newest { session_key, run_id } | Previous::Older { session_key, run_id }) = previous;
        let mut said: Vec<Message> = Vec::new();
        let (mut after_seq, mut is_reached, mut bytes) = (0, false, 0);
        loop {
            let page = self.page(session_key, after_seq, PAGE_MESSAGES).await?;
            let Some(last) = page.last() else { break };
            after_seq = last.seq;
            for message in page {
                is_reached |= message.run_id == *run_id;
                // A summary stands for messages that are here themselves.
                let message = message.message.filter(|message| is_reached && message.compaction.is_none());
                bytes += message.as_ref().map_or(0, prost::Message::encoded_len);
                if bytes <= MAX_BRANCH_BYTES {
                    said.extend(message);
                }
            }
            if said.len() >= MAX_BRANCH_MESSAGES || bytes > MAX_BRANCH_BYTES || after_seq <= 1 {
                break;
            }
        }
        if !is_reached {
            return Err(ApiError::invalid_value(FIELD, "it is no longer in its session"));
        }
        let is_cut = said.len() > MAX_BRANCH_MESSAGES || bytes > MAX_BRANCH_BYTES || after_seq > 1;
        said.truncate(MAX_BRANCH_MESSAGES);
        said.reverse();
        if is_cut {
            // The rest of a turn makes no sense without its beginning.
            let beginning = said.iter().position(|message| message.role() == Role::User);
            said.drain(..beginning.unwrap_or(said.len()));
        }
        Ok(said)
    }

    /// A page of a transcript, newest first.
    async fn page(
        &self,
        session_key: &SessionKey,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<TranscriptMessage>, ApiError> {
        let request = ListMessagesRequest {
            session_key: session_key.to_string(),
            limit,
            order: Order::Descending.into(),
            after_seq,
        };
        Ok(self.inner.store.messages(request).await?.messages)
    }
}
