//! `clawdbot agent`: one run through the same runner and store as every request, printed as it streams.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use proto::{
    agent::v1::{
        FailureCode, FinishReason, ListAgentsRequest, RunEvent, RunRequest, agent_runner_client::AgentRunnerClient,
        run_event::Kind,
    },
    session::v1::{Message, Part, Role, Usage, part},
};
use serde_json::{Value, json};
use shared::{AgentId, Namespace, SessionKey, process::Process, transport::Transport};
use uuid::Uuid;

use crate::{arguments::Agent, stack::Stack};

const INTERRUPTED: u8 = 130;

pub(crate) async fn run(process: &Process, asked: Agent) -> anyhow::Result<ExitCode> {
    let interrupted = || Ok(ExitCode::from(INTERRUPTED));
    let stack = tokio::select! {
        stack = Stack::build(&process.document, &process.environment) => stack?,
        () = process.shutdown.cancelled() => return interrupted(),
    };
    let outcome = tokio::select! {
        outcome = ask(stack.runner(), asked) => outcome,
        () = process.shutdown.cancelled() => interrupted(),
    };
    stack.shutdown().await;
    outcome
}

async fn ask(runner: Transport, asked: Agent) -> anyhow::Result<ExitCode> {
    let mut runner = AgentRunnerClient::new(runner);
    let is_json = asked.json;
    let request = request(&mut runner, asked).await?;
    let refused = |status: tonic::Status| anyhow::anyhow!("{}", status.message());
    let mut events = runner.run(request).await.map_err(refused)?.into_inner();
    let mut out = io::stdout();
    while let Some(response) = events.message().await.map_err(refused)? {
        let Some(RunEvent { seq, kind: Some(kind) }) = response.event else { continue };
        if is_json {
            writeln!(out, "{}", as_json(seq, &kind))?;
        }
        match kind {
            Kind::TextDelta(text) if !is_json => {
                write!(out, "{text}")?;
                out.flush()?;
            }
            Kind::Finished(_) => {
                if !is_json {
                    writeln!(out)?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            Kind::Failed(failed) => bail!("{}", failed.message),
            Kind::TextDelta(_)
            | Kind::Started(_)
            | Kind::ReasoningDelta(_)
            | Kind::ToolCallDelta(_)
            | Kind::ToolStarted(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_) => {}
        }
    }
    bail!("the run broke off")
}

async fn request(runner: &mut AgentRunnerClient<Transport>, asked: Agent) -> anyhow::Result<RunRequest> {
    let agents = runner.list_agents(ListAgentsRequest {}).await?.into_inner();
    let default_agent: AgentId = agents.default_agent_id.parse()?;
    let agent_id = match &asked.agent {
        Some(id) => id.parse::<AgentId>().context("--agent")?,
        None => default_agent.clone(),
    };
    let session_key = match (&asked.session_key, &asked.user) {
        (Some(key), _) => {
            Some(SessionKey::from_client(&Namespace::MAIN, key, &default_agent).context("--session-key")?)
        }
        (None, Some(user)) => Some(SessionKey::for_user(&Namespace::MAIN, &agent_id, user).context("--user")?),
        (None, None) => None,
    };
    let stateless = session_key.is_none();
    let session_key = session_key.unwrap_or_else(|| SessionKey::stateless(&agent_id, Uuid::new_v4()));
    let text = Part { kind: Some(part::Kind::Text(asked.message)) };
    Ok(RunRequest {
        run_id: Uuid::new_v4().to_string(),
        agent_id: session_key.agent_id().unwrap_or(agent_id).to_string(),
        session_key: session_key.to_string(),
        stateless,
        input: vec![Message { role: Role::User.into(), parts: vec![text], ..Message::default() }],
        ..RunRequest::default()
    })
}

/// An event as `--json` prints it: `seq`, `type`, and what belongs to the type.
fn as_json(seq: u64, kind: &Kind) -> Value {
    match kind {
        Kind::Started(started) => json!({"seq": seq, "type": "started", "model": started.model}),
        Kind::TextDelta(text) => json!({"seq": seq, "type": "text_delta", "text": text}),
        Kind::ReasoningDelta(text) => json!({"seq": seq, "type": "reasoning_delta", "text": text}),
        Kind::ToolCallDelta(delta) => json!({
            "seq": seq, "type": "tool_call_delta", "index": delta.index, "id": delta.id, "name": delta.name,
            "arguments": delta.arguments,
        }),
        Kind::ToolStarted(tool) => {
            json!({"seq": seq, "type": "tool_started", "tool_call_id": tool.tool_call_id, "name": tool.name})
        }
        Kind::ToolFinished(tool) => json!({
            "seq": seq, "type": "tool_finished", "tool_call_id": tool.tool_call_id, "name": tool.name,
            "is_error": tool.is_error,
        }),
        Kind::Usage(usage) => json!({"seq": seq, "type": "usage", "usage": usage_json(*usage)}),
        Kind::Finished(finished) => json!({
            "seq": seq, "type": "finished", "reason": name(finished.reason().as_str_name(), FinishReason::Unspecified.as_str_name()),
            "usage": usage_json(finished.usage.unwrap_or_default()),
        }),
        Kind::Failed(failed) => json!({
            "seq": seq, "type": "failed", "code": name(failed.code().as_str_name(), FailureCode::Unspecified.as_str_name()),
            "message": failed.message, "retryable": failed.retryable,
        }),
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens, "reasoning_tokens": usage.reasoning_tokens,
    })
}

/// An enum value's own part of its protobuf name, in lower case; `unspecified` tells the part that all share.
fn name(value: &str, unspecified: &str) -> String {
    let shared = unspecified.trim_end_matches("UNSPECIFIED");
    value.trim_start_matches(shared).to_ascii_lowercase()
}
