//! A run that has moved here from a runner which was cut off from its caller, but not from the session store: the turn that
//! it asks for is committed already, and its answer is told from there.

use proto::{
    agent::v1::{FinishReason, Finished, Started, ToolCallDelta, run_event::Kind},
    session::v1::{Message, Role, ToolCall, TurnEnd, part},
};

use super::{Events, Run, now_ms};
use crate::failure::Failure;

impl Run {
    /// Tells the answer that the session has. Runs that are kept have all of their events, and are told them elsewhere.
    pub(super) async fn tell_again(&mut self) -> Result<Finished, Failure> {
        let (Some(store), Events::Channel(_)) = (&self.store, &self.events) else {
            return Err(Failure::AlreadyCommitted);
        };
        let turn = store.turn_of(&self.request.session_key, &self.request.run_id).await?;
        let answers: Vec<Message> = turn.into_iter().filter(|message| message.role() == Role::Assistant).collect();
        let Some(last) = answers.last() else { return Err(Failure::AlreadyCommitted) };
        let TurnEnd { reason, usage } = last.turn_end.unwrap_or_default();
        let reason = match FinishReason::try_from(reason) {
            Ok(FinishReason::Unspecified) | Err(_) => FinishReason::Stop,
            Ok(reason) => reason,
        };
        let calls = last.tool_calls.clone();
        let model = self.candidates[0].name.to_string();
        self.events.send(Kind::Started(Started { model, started_at_ms: now_ms() })).await?;
        for said in said(answers) {
            self.events.send(said).await?;
        }
        for (index, call) in (0..).zip(calls) {
            let ToolCall { id, name, arguments, .. } = call;
            self.events.send(Kind::ToolCallDelta(ToolCallDelta { index, id, name, arguments })).await?;
        }
        tracing::info!(run.id = self.request.run_id, "a run that has moved is told from the session");
        Ok(Finished { reason: reason.into(), usage })
    }
}

/// What the client heard, or would have: one text, with a paragraph where tools were called, and what was refused.
fn said(answers: Vec<Message>) -> Vec<Kind> {
    let mut texts: Vec<String> = Vec::new();
    let mut refusals = Vec::new();
    for answer in answers {
        let mut text = String::new();
        for part in answer.parts {
            match part.kind {
                Some(part::Kind::Text(more)) => text.push_str(&more),
                Some(part::Kind::Refusal(more)) => refusals.push(Kind::RefusalDelta(more)),
                Some(part::Kind::Image(_) | part::Kind::Audio(_) | part::Kind::File(_) | part::Kind::Reasoning(_))
                | None => {}
            }
        }
        if !text.is_empty() {
            texts.push(text);
        }
    }
    let text = (!texts.is_empty()).then(|| Kind::TextDelta(texts.join("\n\n")));
    text.into_iter().chain(refusals).collect()
}
