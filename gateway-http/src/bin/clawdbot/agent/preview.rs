//! What `--show-prompt` prints for people.

use std::fmt::Write;

use proto::{
    agent::v1::PreviewPromptResponse,
    session::v1::{Message, Part, part},
};

use super::json;

/// The model, the tools, and every message under its role.
pub(super) fn text(preview: &PreviewPromptResponse) -> String {
    let mut sections = vec![format!("=== model ===\n{}", preview.model)];
    if !preview.tools.is_empty() {
        let tools = preview.tools.iter().map(|tool| match tool.description.trim() {
            "" => format!("- {}", tool.name),
            description => format!("- {}: {description}", tool.name),
        });
        sections.push(format!("=== tools ===\n{}", tools.collect::<Vec<_>>().join("\n")));
    }
    sections.extend(preview.messages.iter().map(message));
    sections.join("\n\n") + "\n"
}

fn message(message: &Message) -> String {
    let mut section = format!("=== {}", json::role(message));
    for detail in [&message.name, &message.tool_call_id].into_iter().filter(|detail| !detail.is_empty()) {
        write!(section, " ({detail})").expect("a text can be written to");
    }
    section.push_str(" ===");
    let parts = message.parts.iter().filter_map(part);
    let calls =
        message.tool_calls.iter().map(|call| format!("[calls {} ({}): {}]", call.name, call.id, call.arguments));
    for line in parts.chain(calls) {
        section.push('\n');
        section.push_str(&line);
    }
    section
}

/// A part that is no text is only named: its data would fill the screen.
fn part(part: &Part) -> Option<String> {
    Some(match part.kind.as_ref()? {
        part::Kind::Text(text) => text.clone(),
        part::Kind::Refusal(text) => format!("[refuses: {text}]"),
        part::Kind::Reasoning(reasoning) => format!("[thinks: {}]", reasoning.text),
        part::Kind::Image(image) if image.url.starts_with("data:") => {
            format!("[image of {} bytes]", image.url.len())
        }
        part::Kind::Image(image) => format!("[image: {}]", image.url),
        part::Kind::Audio(audio) => format!("[{} recording of {} bytes]", audio.format, audio.data.len()),
        part::Kind::File(file) => format!("[file: {}{}]", file.filename, file.file_id),
    })
}

#[cfg(test)]
mod tests {
    use proto::{
        agent::v1::FunctionTool,
        session::v1::{Image, Reasoning, Role, ToolCall},
    };

    use super::*;

    #[test]
    fn a_prompt_is_shown_message_by_message() {
        let said = |role: Role, kinds: Vec<part::Kind>| Message {
            role: role.into(),
            parts: kinds.into_iter().map(|kind| Part { kind: Some(kind) }).collect(),
            ..Message::default()
        };
        let text_of = |text: &str| part::Kind::Text(text.to_owned());
        let call = ToolCall { id: "c1".into(), name: "read".into(), arguments: "{}".into(), ..ToolCall::default() };
        let thought = Reasoning { text: "Hm.".into(), ..Reasoning::default() };
        let picture = Image { url: "data:image/png;base64,AAAA".into(), ..Image::default() };
        let preview = PreviewPromptResponse {
            model: "stub/m".into(),
            tools: vec![
                FunctionTool { name: "read".into(), description: "Reads a file.".into(), ..FunctionTool::default() },
                FunctionTool { name: "f".into(), ..FunctionTool::default() },
            ],
            messages: vec![
                said(Role::System, vec![text_of("Be good.\n\nBe brief.")]),
                Message { name: "alice".into(), ..said(Role::User, vec![text_of("hi"), part::Kind::Image(picture)]) },
                Message { tool_calls: vec![call], ..said(Role::Assistant, vec![part::Kind::Reasoning(thought)]) },
                Message { tool_call_id: "c1".into(), ..said(Role::Tool, vec![text_of("text")]) },
            ],
        };
        let expected = "=== model ===\nstub/m\n\n=== tools ===\n- read: Reads a file.\n- f\n\n\
                        === system ===\nBe good.\n\nBe brief.\n\n\
                        === user (alice) ===\nhi\n[image of 26 bytes]\n\n\
                        === assistant ===\n[thinks: Hm.]\n[calls read (c1): {}]\n\n\
                        === tool (c1) ===\ntext\n";
        assert_eq!(text(&preview), expected);
    }
}
