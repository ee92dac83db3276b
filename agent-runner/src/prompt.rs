//! What a model is sent: the agent's prompt, the client's instructions, the transcript, what is new.

use proto::session::v1::{Message, Part, Role, part::Kind};

/// The whole prompt, in order. Everything that instructs becomes one system message, since many models take no second
/// one; every other message keeps its place and role.
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

/// What instructs the model: the agent's own prompt, then what the client adds.
pub(crate) fn system(system_prompt: &str, instructions: &[Message]) -> String {
    let mut texts = vec![system_prompt.trim()];
    for part in instructions.iter().flat_map(|message| &message.parts) {
        if let Some(Kind::Text(text)) = &part.kind {
            texts.push(text.trim());
        }
    }
    texts.retain(|text| !text.is_empty());
    texts.join("\n\n")
}

/// An assistant that said nothing and called nothing has no place in a prompt; providers refuse it.
fn is_worth_sending(message: &Message) -> bool {
    message.role() != Role::Assistant || !message.parts.is_empty() || !message.tool_calls.is_empty()
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
    fn instructions_come_first_and_as_one_message() {
        let instructions = [message(Role::System, "Be brief."), message(Role::Developer, " Be kind.\n")];
        let transcript = [message(Role::User, "hi"), message(Role::Assistant, "hello"), message(Role::Assistant, "")];
        let new = [message(Role::User, "bye")];
        let expected = [
            message(Role::System, "You are beta.\n\nBe brief.\n\nBe kind."),
            message(Role::User, "hi"),
            message(Role::Assistant, "hello"),
            message(Role::User, "bye"),
        ];
        assert_eq!(build(&system("You are beta.", &instructions), transcript.iter().chain(&new)), expected);
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
    }

    #[test]
    fn without_instructions_there_is_no_system_message() {
        let new = [message(Role::User, "hi")];
        assert_eq!(build(&system(" ", &[]), &new), new);
    }
}
