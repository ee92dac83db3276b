//! A message of a transcript, in the shape of Chat Completions.

use proto::session::v1::{Role, TranscriptMessage};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    content::Content,
    object::{Identified, seconds},
};
use crate::{error::ApiError, wire::WireToolCall};

/// What an id begins with; the message's number in the transcript follows.
const ID_PREFIX: &str = "msg_";

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionMessage")]
pub(crate) struct WireMessage {
    id: String,
    object: &'static str,
    created_at: u64,
    run_id: String,
    role: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    content: Option<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall>,
    #[serde(skip_serializing_if = "String::is_empty")]
    tool_call_id: String,
    /// Whether the agent wrote it, to stand for what was said before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_summary: bool,
}

/// The number of the message with this id, which came as `after`.
pub(super) fn seq(id: &str) -> Result<u64, ApiError> {
    let seq = id.strip_prefix(ID_PREFIX).and_then(|number| number.parse::<i64>().ok()).filter(|&seq| seq > 0);
    seq.and_then(|seq| seq.try_into().ok()).ok_or_else(|| ApiError::invalid_value("after", "is not a message's id"))
}

impl From<TranscriptMessage> for WireMessage {
    fn from(kept: TranscriptMessage) -> Self {
        let message = kept.message.unwrap_or_default();
        let role = message.role();
        let content = Content::of(message.parts);
        Self {
            id: format!("{ID_PREFIX}{}", kept.seq),
            object: "session.message",
            created_at: seconds(kept.created_at_ms),
            run_id: kept.run_id,
            role: name(role),
            name: message.name,
            // Only an assistant's content may be null in the API; a tool that said nothing said the empty text.
            content: content.or_else(|| (role != Role::Assistant).then(|| Content::Text(String::new()))),
            tool_calls: message.tool_calls.into_iter().map(WireToolCall::from).collect(),
            tool_call_id: message.tool_call_id,
            is_summary: message.compaction.is_some(),
        }
    }
}

impl Identified for WireMessage {
    fn id(&self) -> &str {
        &self.id
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Unspecified => "unspecified",
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

#[cfg(test)]
mod tests {
    use proto::session::v1::{Audio, Compaction, File, Image, Message, Part, ToolCall, part::Kind};
    use serde_json::{Value, json};

    use super::*;

    fn check(message: Message, expected: &Value) {
        let kept =
            TranscriptMessage { seq: 7, created_at_ms: 1_999, run_id: "chatcmpl_1".to_owned(), message: Some(message) };
        let mut whole = json!({
            "id": "msg_7", "object": "session.message", "created_at": 1, "run_id": "chatcmpl_1",
        });
        whole.as_object_mut().expect("an object").extend(expected.as_object().expect("an object").clone());
        assert_eq!(serde_json::to_value(WireMessage::from(kept)).expect("serialises"), whole);
    }

    fn message(role: Role, kinds: Vec<Kind>) -> Message {
        let parts = kinds.into_iter().map(|kind| Part { kind: Some(kind) }).collect();
        Message { role: role.into(), parts, ..Message::default() }
    }

    #[test]
    fn a_message_is_shown_as_a_client_would_write_it() {
        let text = |text: &str| Kind::Text(text.to_owned());
        let named = Message { name: "Al".to_owned(), ..message(Role::User, vec![text("hi")]) };
        check(named, &json!({"role": "user", "name": "Al", "content": "hi"}));
        let call = ToolCall {
            id: "call_1".to_owned(),
            name: "add".to_owned(),
            arguments: "{}".to_owned(),
            ..ToolCall::default()
        };
        let summary = Message { compaction: Some(Compaction::default()), ..message(Role::User, vec![text("so far")]) };
        check(summary, &json!({"role": "user", "content": "so far", "is_summary": true}));
        let calling = Message { tool_calls: vec![call], ..message(Role::Assistant, vec![]) };
        let shown = json!({"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}});
        check(calling, &json!({"role": "assistant", "content": null, "tool_calls": [shown]}));
        let result = Message { tool_call_id: "call_1".to_owned(), ..message(Role::Tool, vec![]) };
        check(result, &json!({"role": "tool", "content": "", "tool_call_id": "call_1"}));
    }

    #[test]
    fn parts_keep_their_kinds() {
        let kinds = vec![
            Kind::Text("see".to_owned()),
            Kind::Image(Image {
                url: "https://example.com/a.png".to_owned(),
                detail: "low".to_owned(),
                ..Image::default()
            }),
            Kind::Audio(Audio { data: "AA==".to_owned(), format: "wav".to_owned() }),
            Kind::File(File { file_id: "file_1".to_owned(), ..File::default() }),
            Kind::Refusal("no".to_owned()),
        ];
        let content = json!([
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file_1"}},
            {"type": "refusal", "refusal": "no"},
        ]);
        check(message(Role::User, kinds), &json!({"role": "user", "content": content}));
    }

    #[test]
    fn an_id_is_read_back_and_nothing_else_is() {
        let check = |id: &str, expected: Option<u64>| assert_eq!(seq(id).ok(), expected, "{id:?}");
        check("msg_7", Some(7));
        for id in ["7", "msg_", "msg_0", "msg_-1", "msg_9223372036854775808", "agent:main:x"] {
            check(id, None);
        }
    }
}
