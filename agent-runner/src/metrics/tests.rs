//! What is counted, and under which labels.

use std::sync::Arc;

use futures_util::stream;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::{
    config::Provided,
    model::{EventStream, Model, Request},
};

struct Never;

impl Model for Never {
    fn stream(&self, _: &Request) -> EventStream {
        Box::pin(stream::empty())
    }
}

fn candidate(model: &str, is_configured: bool) -> Candidate {
    let provided = Provided::of(Arc::new(Never));
    Candidate { name: format!("p/{model}").parse().unwrap(), provided, is_configured }
}

/// The lines that are shown of these metrics after `recording`, in order.
fn shown(names: &[&str], recording: impl FnOnce()) -> Vec<String> {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, recording);
    let rendered = recorder.handle().render();
    let is_wanted = |line: &&str| names.iter().any(|name| line.starts_with(&format!("{name}{{")));
    let mut lines: Vec<String> = rendered.lines().filter(is_wanted).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_question_is_counted_by_its_outcome_and_its_tokens() {
    let agent_id: AgentId = "main".parse().unwrap();
    let usage = Usage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: 2, reasoning_tokens: 1 };
    let duration = format!("{MODEL_CALL_DURATION}_count");
    let first = format!("{TIME_TO_FIRST_TOKEN}_count");
    let lines = shown(&[MODEL_CALLS, TOKENS, &duration, &first], || {
        let candidate = candidate("m", true);
        let mut call = ModelCall::begin(&candidate);
        for text in ["a", "b"] {
            call.heard(&Event::Text(text.to_owned()));
        }
        call.answered(&agent_id, &usage);
        ModelCall::begin(&candidate).failed(Class::RateLimit);
        drop(ModelCall::begin(&candidate));
    });
    let expected = [
        r#"clawdbot_model_call_duration_seconds_count{provider="p",model="m"} 2"#,
        r#"clawdbot_model_calls_total{provider="p",model="m",outcome="cancelled"} 1"#,
        r#"clawdbot_model_calls_total{provider="p",model="m",outcome="ok"} 1"#,
        r#"clawdbot_model_calls_total{provider="p",model="m",outcome="rate_limit"} 1"#,
        r#"clawdbot_time_to_first_token_seconds_count{provider="p",model="m"} 1"#,
        r#"clawdbot_tokens_total{agent="main",model="m",kind="cached"} 2"#,
        r#"clawdbot_tokens_total{agent="main",model="m",kind="completion"} 3"#,
        r#"clawdbot_tokens_total{agent="main",model="m",kind="prompt"} 7"#,
        r#"clawdbot_tokens_total{agent="main",model="m",kind="reasoning"} 1"#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_a_client_or_a_model_makes_up_is_no_label() {
    let lines = shown(&[MODEL_CALLS, TOOL_CALLS], || {
        drop(ModelCall::begin(&candidate("made-up", false)));
        ToolCall::begin("made_up", false).ended(false);
        ToolCall::begin("read", true).ended(true);
        for name in ["mcp__files__list", "mcp__files__read__all"] {
            ToolCall::begin(name, true).ended(true);
        }
        drop(ToolCall::begin("mcp__files", true));
    });
    let expected = [
        r#"clawdbot_model_calls_total{provider="p",model="other",outcome="cancelled"} 1"#,
        r#"clawdbot_tool_calls_total{tool="mcp__files",outcome="cancelled"} 1"#,
        r#"clawdbot_tool_calls_total{tool="mcp__files",outcome="ok"} 2"#,
        r#"clawdbot_tool_calls_total{tool="read",outcome="ok"} 1"#,
        r#"clawdbot_tool_calls_total{tool="unknown",outcome="error"} 1"#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_run_is_counted_by_its_outcome() {
    let agent_id: AgentId = "main".parse().unwrap();
    let lines = shown(&[RUNS], || {
        run_ended(&agent_id, None);
        run_ended(&agent_id, Some(&Failure::SessionBusy(String::new())));
    });
    let expected = [
        r#"clawdbot_runs_total{agent="main",outcome="ok"} 1"#,
        r#"clawdbot_runs_total{agent="main",outcome="session_busy"} 1"#,
    ];
    assert_eq!(lines, expected);
}
