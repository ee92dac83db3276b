//! What a model is sent: the agent's prompt, the client's instructions, the transcript, what is new.

mod system;

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use proto::{
    agent::v1::{FunctionTool, RunRequest},
    session::v1::{Message, Part, Role, part::Kind},
};

use crate::{
    agents::{Agent, ModelName},
    bootstrap::Bootstrap,
    failure::Failure,
};

/// Builds the prompts of a runner's agents.
#[derive(Debug)]
pub(crate) struct Prompts {
    bootstrap: Arc<Bootstrap>,
    /// Whose date it is that the agents are told.
    time_zone: TimeZone,
}

/// What a system text is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) agent: &'a Agent,
    /// The model that is asked first.
    pub(crate) model: &'a ModelName,
    /// All tools that it may call.
    pub(crate) tools: &'a [FunctionTool],
    /// The client's system and developer messages.
    pub(crate) instructions: &'a [Message],
}

impl Prompts {
    pub(crate) fn new(bootstrap: Arc<Bootstrap>, time_zone: TimeZone) -> Self {
        Self { bootstrap, time_zone }
    }

    /// What looks at the workspaces.
    pub(crate) fn bootstrap(&self) -> &Arc<Bootstrap> {
        &self.bootstrap
    }

    /// Everything that instructs, as one text: the agent's own part, then the client's.
    pub(crate) fn system(&self, parts: &Parts<'_>) -> String {
        let snapshot = self.bootstrap.snapshot();
        let workspace = parts.agent.workspace.as_ref().and_then(|path| snapshot.of(path));
        let today = Timestamp::now().to_zoned(self.time_zone.clone()).date();
        let time_zone = self.time_zone.iana_name().unwrap_or("UTC");
        system::text(parts, workspace.map(AsRef::as_ref), &system::Today { date: today, time_zone })
    }

    /// Looks at the workspaces no more.
    pub(crate) async fn stop(&self) {
        self.bootstrap.stop().await;
    }
}

/// Takes out of a request what its turn adds before the answer. The client's history counts only where nothing is kept
/// yet: a client that sends it again does not double it.
pub(crate) fn new_messages(request: &mut RunRequest, is_transcript_empty: bool) -> Result<Vec<Message>, Failure> {
    let history = std::mem::take(&mut request.history);
    let input = std::mem::take(&mut request.input);
    let new: Vec<Message> = if is_transcript_empty { history.into_iter().chain(input).collect() } else { input };
    if new.is_empty() {
        let reason = "nothing follows the last assistant message".to_owned();
        return Err(Failure::Invalid { param: "messages", reason });
    }
    Ok(new)
}

/// The prompt after a system text. Everything that instructs is one system message, since many models take no second one;
/// every other message keeps its place and role.
pub(crate) fn build<'a>(system: &str, conversation: impl IntoIterator<Item = &'a Message>) -> Vec<Message> {
    let mut prompt = Vec::new();
    if !system.is_empty() {
        prompt.push(Message { role: Role::System.into(), parts: vec![text(system.to_owned())], ..Message::default() });
    }
    let mut unanswered: Vec<&str> = Vec::new();
    for message in conversation.into_iter().filter(|message| is_worth_sending(message)) {
        if message.role() == Role::Tool {
            unanswered.retain(|id| *id != message.tool_call_id);
        } else {
            prompt.extend(unanswered.drain(..).map(no_result));
            unanswered.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
        }
        prompt.push(message.clone());
    }
    prompt.extend(unanswered.drain(..).map(no_result));
    prompt
}

/// Stands for the result of a call that the client never answered: providers refuse a prompt without one.
fn no_result(tool_call_id: &str) -> Message {
    let parts = vec![text("(no result)".to_owned())];
    Message { role: Role::Tool.into(), parts, tool_call_id: tool_call_id.to_owned(), ..Message::default() }
}

/// A part that is plain text.
pub(crate) fn text(text: String) -> Part {
    Part { kind: Some(Kind::Text(text)) }
}

/// An assistant that said nothing and called nothing has no place in a prompt, whatever it thought; providers refuse it.
fn is_worth_sending(message: &Message) -> bool {
    let is_said = |part: &Part| !matches!(part.kind, Some(Kind::Reasoning(_)) | None);
    message.role() != Role::Assistant || message.parts.iter().any(is_said) || !message.tool_calls.is_empty()
}

#[cfg(test)]
mod tests {
    use proto::session::v1::ToolCall;

    use super::*;

    fn message(role: Role, content: &str) -> Message {
        let parts = if content.is_empty() { vec![] } else { vec![text(content.to_owned())] };
        Message { role: role.into(), parts, ..Message::default() }
    }

    #[test]
    fn the_system_text_comes_first_and_an_empty_answer_not_at_all() {
        let transcript = [message(Role::User, "hi"), message(Role::Assistant, "hello"), message(Role::Assistant, "")];
        let new = [message(Role::User, "bye")];
        let expected = [
            message(Role::System, "You are beta."),
            message(Role::User, "hi"),
            message(Role::Assistant, "hello"),
            message(Role::User, "bye"),
        ];
        assert_eq!(build("You are beta.", transcript.iter().chain(&new)), expected);
    }

    #[test]
    fn a_call_that_was_never_answered_gets_an_empty_result() {
        let call = |id: &str| ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
            ..ToolCall::default()
        };
        let result = |id: &str, said: &str| Message { tool_call_id: id.to_owned(), ..message(Role::Tool, said) };
        let calls = Message { tool_calls: vec![call("a"), call("b")], ..message(Role::Assistant, "") };
        let transcript = [message(Role::User, "hi"), calls.clone(), result("a", "7")];
        let new = [message(Role::User, "never mind")];
        let expected = [
            message(Role::User, "hi"),
            calls,
            result("a", "7"),
            result("b", "(no result)"),
            message(Role::User, "never mind"),
        ];
        assert_eq!(build("", transcript.iter().chain(&new)), expected);
        // The client may also have answered one of its calls and asked for the rest.
        let new = [result("b", "8")];
        let calls = &transcript[..2];
        let expected = [calls[0].clone(), calls[1].clone(), new[0].clone(), result("a", "(no result)")];
        assert_eq!(build("", calls.iter().chain(&new)), expected);
    }

    #[test]
    fn without_a_system_text_there_is_no_system_message() {
        let new = [message(Role::User, "hi")];
        assert_eq!(build("", &new), new);
    }
}
