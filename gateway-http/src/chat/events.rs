//! `x-clawdbot-events`: what a client wants to see of the agent's work beside its answer.

use http::HeaderMap;
use proto::agent::v1::{ToolFinished, ToolStarted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{brand, error::ApiError};

/// What a client is shown; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Shown {
    /// The calls of the agent's own tools.
    pub(crate) tools: bool,
    /// What the model thinks.
    pub(crate) reasoning: bool,
}

impl Shown {
    /// What the headers ask for: `tools`, `reasoning` or both, separated by commas.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut shown = Self::default();
        for word in brand::header(headers, brand::EVENTS)?.into_iter().flat_map(|words| words.split(',')) {
            match word.trim().to_ascii_lowercase().as_str() {
                "tools" => shown.tools = true,
                "reasoning" => shown.reasoning = true,
                "" => {}
                other => {
                    let reason = format!("`{other}` is none of tools, reasoning");
                    return Err(ApiError::invalid_value(brand::EVENTS[0], &reason));
                }
            }
        }
        Ok(shown)
    }
}

/// What happens to a tool, in a chunk's field `clawdbot`.
#[derive(Serialize)]
pub(super) struct Activity<'a> {
    tool: ToolActivity<'a>,
}

#[derive(Serialize)]
struct ToolActivity<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(flatten)]
    phase: Phase<'a>,
}

#[derive(Serialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
enum Phase<'a> {
    Start { arguments: &'a str },
    End { is_error: bool, duration_ms: u64 },
}

impl<'a> From<&'a ToolStarted> for Activity<'a> {
    fn from(started: &'a ToolStarted) -> Self {
        let phase = Phase::Start { arguments: &started.arguments };
        Self { tool: ToolActivity { id: &started.tool_call_id, name: &started.name, phase } }
    }
}

impl<'a> From<&'a ToolFinished> for Activity<'a> {
    fn from(finished: &'a ToolFinished) -> Self {
        let phase = Phase::End { is_error: finished.is_error, duration_ms: finished.duration_ms };
        Self { tool: ToolActivity { id: &finished.tool_call_id, name: &finished.name, phase } }
    }
}

/// What the agent did, in a whole answer's field `clawdbot`.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "ChatActivities")]
pub(super) struct Activities {
    tools: Vec<ToolUse>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChatToolUse")]
struct ToolUse {
    id: String,
    name: String,
    arguments: String,
    is_error: bool,
    duration_ms: u64,
}

impl Activities {
    pub(super) fn start(&mut self, started: ToolStarted) {
        let ToolStarted { tool_call_id, name, arguments } = started;
        self.tools.push(ToolUse { id: tool_call_id, name, arguments, is_error: false, duration_ms: 0 });
    }

    pub(super) fn finish(&mut self, finished: &ToolFinished) {
        // The newest: models give the same id twice.
        let tool = self.tools.iter_mut().rev().find(|tool| tool.id == finished.tool_call_id);
        if let Some(tool) = tool {
            (tool.is_error, tool.duration_ms) = (finished.is_error, finished.duration_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_list_of_words() {
        let check = |name: &'static str, value: &str, expected: Option<(bool, bool)>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header value"));
            let shown = Shown::of(&headers).map(|shown| (shown.tools, shown.reasoning));
            assert_eq!(shown.as_ref().ok(), expected.as_ref(), "{name}: {value}");
        };
        check("x-clawdbot-events", "tools, Reasoning", Some((true, true)));
        check("x-openclaw-events", "tools", Some((true, false)));
        check("x-moltbot-events", "reasoning,", Some((false, true)));
        check("x-clawdbot-events", " ", Some((false, false)));
        check("x-clawdbot-events", "tools,thoughts", None);
        check("x-events", "thoughts", Some((false, false)));
    }

    #[test]
    fn what_is_shown_can_be_kept_with_a_run() {
        let shown = Shown { tools: true, reasoning: false };
        let text = serde_json::to_string(&shown).expect("it serialises");
        assert_eq!(
            (text.as_str(), serde_json::from_str(&text).ok()),
            (r#"{"tools":true,"reasoning":false}"#, Some(shown))
        );
        assert_eq!(serde_json::from_str::<Shown>("{}").ok(), Some(Shown::default()));
    }
}
