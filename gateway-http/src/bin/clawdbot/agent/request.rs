//! What the command line asks for, as a run.

use std::{
    io::{self, Read},
    thread,
};

use anyhow::{Context, bail};
use proto::{
    agent::v1::{ListAgentsRequest, RunRequest, agent_runner_client::AgentRunnerClient},
    session::v1::{Message, Part, Role, part},
};
use shared::{
    AgentId, Namespace, SessionKey,
    transport::{MAX_MESSAGE_BYTES, Transport},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::arguments::Agent;

/// Stands for standard input.
const STDIN: &str = "-";

/// What is to be said: as it stands on the command line, or as it comes in.
pub(super) async fn message(asked: Option<&str>) -> anyhow::Result<Option<String>> {
    if asked != Some(STDIN) {
        return Ok(asked.map(str::to_owned));
    }
    // A thread of its own: one of the runtime's would hold up the end of the process while nothing comes in.
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(standard_input()));
    let text = receiver.await.context("cannot read standard input")??;
    if text.trim().is_empty() {
        bail!("--message: standard input holds no message");
    }
    Ok(Some(text.trim_end().to_owned()))
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = MAX_MESSAGE_BYTES as u64;
    io::stdin().lock().take(limit + 1).read_to_string(&mut text).context("--message: cannot read standard input")?;
    if text.len() > MAX_MESSAGE_BYTES {
        bail!("--message: standard input holds more than {limit} bytes");
    }
    Ok(text)
}

pub(super) async fn request(
    runner: &mut AgentRunnerClient<Transport>,
    asked: &Agent,
    message: Option<String>,
) -> anyhow::Result<RunRequest> {
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
    let input = message.map(|text| Message {
        role: Role::User.into(),
        parts: vec![Part { kind: Some(part::Kind::Text(text)) }],
        ..Message::default()
    });
    Ok(RunRequest {
        run_id: Uuid::new_v4().to_string(),
        agent_id: session_key.agent_id().unwrap_or(agent_id).to_string(),
        session_key: session_key.to_string(),
        stateless,
        input: input.into_iter().collect(),
        model: asked.model.clone().unwrap_or_default(),
        ..RunRequest::default()
    })
}
