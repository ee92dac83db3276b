//! What is said of the agents, and of all their runs.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;
use serde::Deserialize;
use shared::AgentId;

use super::{Error, providers::Provider, workspace::Workspaces};
use crate::{
    agents::{Agent, Agents, ModelName},
    failover::Patience,
    run::{Limits, Settings, ToolLimits},
    service::Capacity,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AgentsSection {
    pub(super) defaults: Defaults,
    pub(super) list: Vec<ListedAgent>,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Defaults {
    pub(super) model: Option<ModelChoice>,
    pub(super) system_prompt: String,
    pub(super) timeout_seconds: u64,
    pub(super) idle_timeout_seconds: u64,
    pub(super) max_concurrent: usize,
    pub(super) max_queued: usize,
    pub(super) max_model_calls: u32,
    pub(super) max_tool_calls: u32,
    pub(super) max_parallel_tools: usize,
    pub(super) tool_timeout_seconds: u64,
    pub(super) tool_output_max_chars: usize,
    pub(super) model_retries: u32,
    pub(super) model_retry_max_delay_ms: u64,
    pub(super) compaction: Compaction,
    pub(super) workspace: String,
    pub(super) bootstrap_max_chars: usize,
    pub(super) user_timezone: String,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Compaction {
    pub(super) reserve_tokens_floor: u64,
    pub(super) keep_recent_tokens: u64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { reserve_tokens_floor: 20_000, keep_recent_tokens: 20_000 }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            model: None,
            system_prompt: String::new(),
            timeout_seconds: 600,
            idle_timeout_seconds: 120,
            max_concurrent: 1024,
            max_queued: 1024,
            max_model_calls: 32,
            max_tool_calls: 128,
            max_parallel_tools: 8,
            tool_timeout_seconds: 60,
            tool_output_max_chars: 50_000,
            model_retries: 2,
            model_retry_max_delay_ms: 5_000,
            compaction: Compaction::default(),
            workspace: String::new(),
            bootstrap_max_chars: 20_000,
            user_timezone: "UTC".to_owned(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedAgent {
    id: AgentId,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    name: String,
    model: Option<ModelChoice>,
    system_prompt: Option<String>,
    #[serde(default)]
    workspace: String,
}

/// A model, alone or with the ones to fall back on.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected `provider/model`, or an object with `primary`")]
pub(super) enum ModelChoice {
    Name(ModelName),
    WithFallbacks { primary: ModelName, fallbacks: Option<Vec<ModelName>> },
}

impl Defaults {
    /// Refuses limits under which nothing could be done.
    pub(super) fn check(&self) -> Result<(), Error> {
        let at_least_one = [
            ("maxConcurrent", self.max_concurrent as u64),
            ("maxModelCalls", self.max_model_calls.into()),
            ("maxParallelTools", self.max_parallel_tools as u64),
            ("timeoutSeconds", self.timeout_seconds),
            ("idleTimeoutSeconds", self.idle_timeout_seconds),
            ("toolTimeoutSeconds", self.tool_timeout_seconds),
        ];
        match at_least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => {
                Err(Error::Invalid { key: format!("agents.defaults.{key}"), reason: "must be at least 1".to_owned() })
            }
            None => Ok(()),
        }
    }

    pub(super) fn settings(&self, window_messages: u32) -> Settings {
        Settings {
            run_timeout: Duration::from_secs(self.timeout_seconds),
            limits: Limits { model_calls: self.max_model_calls, tool_calls: self.max_tool_calls },
            tools: ToolLimits {
                timeout: Duration::from_secs(self.tool_timeout_seconds),
                parallel: self.max_parallel_tools,
                output_chars: self.tool_output_max_chars,
            },
            reserve_tokens: self.compaction.reserve_tokens_floor,
            keep_recent_tokens: self.compaction.keep_recent_tokens,
            window_messages,
        }
    }

    pub(super) fn patience(&self) -> Patience {
        let longest_pause = Duration::from_millis(self.model_retry_max_delay_ms);
        Patience { retries: self.model_retries, longest_pause }
    }

    pub(super) fn capacity(&self, calls: usize) -> Capacity {
        Capacity { calls, running: self.max_concurrent, waiting: self.max_queued }
    }
}

impl ModelChoice {
    pub(super) fn primary(&self) -> ModelName {
        match self {
            Self::Name(name) | Self::WithFallbacks { primary: name, .. } => name.clone(),
        }
    }
}

/// The models to fall back on: an agent's own, even if there are none, else those of all agents.
fn fallbacks(own: Option<&ModelChoice>, defaults: &Defaults) -> Vec<ModelName> {
    let listed = |choice: &ModelChoice| match choice {
        ModelChoice::Name(_) => None,
        ModelChoice::WithFallbacks { fallbacks, .. } => fallbacks.clone(),
    };
    own.and_then(listed).or_else(|| defaults.model.as_ref().and_then(listed)).unwrap_or_default()
}

/// The agents of the list, or one called `main`. The default is the first that says so, else the first.
pub(super) fn agents(
    list: Vec<ListedAgent>,
    defaults: &Defaults,
    default_model: &ModelName,
    workspaces: &Workspaces<'_>,
) -> Result<Agents, Error> {
    let default_index = list.iter().position(|agent| agent.default).unwrap_or(0);
    let mut agents = Vec::with_capacity(list.len().max(1));
    for (index, agent) in list.into_iter().enumerate() {
        agents.push(Agent {
            workspace: workspaces.of(&agent.id, &agent.workspace, index == default_index)?,
            id: agent.id,
            name: agent.name,
            model: agent.model.as_ref().map_or_else(|| default_model.clone(), ModelChoice::primary),
            fallbacks: fallbacks(agent.model.as_ref(), defaults),
            system_prompt: agent.system_prompt.unwrap_or_else(|| defaults.system_prompt.clone()),
        });
    }
    if agents.is_empty() {
        let id: AgentId = "main".parse().expect("`main` is a valid agent id");
        agents.push(Agent {
            workspace: workspaces.of(&id, "", true)?,
            id,
            name: String::new(),
            model: default_model.clone(),
            fallbacks: fallbacks(None, defaults),
            system_prompt: defaults.system_prompt.clone(),
        });
    }
    Agents::new(agents, default_index).map_err(|duplicate| Error::Invalid {
        key: "agents.list".to_owned(),
        reason: format!("two agents are called `{duplicate}`"),
    })
}

pub(super) fn time_zone(name: &str) -> Result<TimeZone, Error> {
    TimeZone::get(name).map_err(|_| Error::Invalid {
        key: "agents.defaults.userTimezone".to_owned(),
        reason: format!("this machine knows no time zone `{name}`; expected a name such as `Europe/Rome`"),
    })
}

/// Refuses a model whose provider there is not.
pub(super) fn check(agents: &Agents, providers: &BTreeMap<String, Provider>) -> Result<(), Error> {
    for agent in agents.iter() {
        if let Some(model) = agent.models().find(|model| !providers.contains_key(&model.provider)) {
            let key = format!("agents.list ({})", agent.id);
            return Err(Error::Invalid { key, reason: format!("there is no model provider `{}`", model.provider) });
        }
    }
    Ok(())
}
