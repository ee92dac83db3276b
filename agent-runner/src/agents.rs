//! The agents that can be run.

use std::{collections::HashMap, fmt, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use shared::AgentId;

/// One agent: a character and a model.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) name: String,
    pub(crate) model: ModelName,
    /// The models that answer when that one does not, in their order.
    pub(crate) fallbacks: Vec<ModelName>,
    pub(crate) system_prompt: String,
    /// Its folder, which need not exist; `None` where nothing says where it would be.
    pub(crate) workspace: Option<PathBuf>,
}

impl Agent {
    /// The models that may answer, in the order in which they are asked.
    pub(crate) fn models(&self) -> impl Iterator<Item = &ModelName> {
        std::iter::once(&self.model).chain(&self.fallbacks)
    }
}

#[cfg(test)]
impl Agent {
    /// An agent for tests, with the model `fake/m` and nothing else.
    pub(crate) fn called(id: &str) -> Self {
        Self {
            id: id.parse().expect("a valid id"),
            name: String::new(),
            model: ModelName { provider: "fake".to_owned(), model: "m".to_owned() },
            fallbacks: Vec::new(),
            system_prompt: String::new(),
            workspace: None,
        }
    }
}

/// All agents, in the configured order; never empty.
#[derive(Debug)]
pub(crate) struct Agents {
    list: Vec<Arc<Agent>>,
    by_id: HashMap<AgentId, usize>,
    default_index: usize,
}

impl Agents {
    /// Fails with the id that two agents have.
    ///
    /// # Panics
    /// When there is no agent at `default_index`.
    pub(crate) fn new(agents: Vec<Agent>, default_index: usize) -> Result<Self, AgentId> {
        assert!(default_index < agents.len(), "the default agent is in the list");
        let mut by_id = HashMap::with_capacity(agents.len());
        for (index, agent) in agents.iter().enumerate() {
            if by_id.insert(agent.id.clone(), index).is_some() {
                return Err(agent.id.clone());
            }
        }
        Ok(Self { list: agents.into_iter().map(Arc::new).collect(), by_id, default_index })
    }

    pub(crate) fn get(&self, agent_id: &AgentId) -> Option<&Arc<Agent>> {
        self.by_id.get(agent_id).map(|&index| &self.list[index])
    }

    pub(crate) fn default_agent(&self) -> &Agent {
        &self.list[self.default_index]
    }

    /// Whether an agent answers with this model.
    pub(crate) fn names_model(&self, name: &ModelName) -> bool {
        self.iter().flat_map(Agent::models).any(|model| model == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Agent> {
        self.list.iter().map(AsRef::as_ref)
    }
}

/// A model by its provider's id and its own name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelName {
    pub(crate) provider: String,
    pub(crate) model: String,
}

/// A text is not a model's name.
#[derive(Debug, thiserror::Error)]
#[error("expected `provider/model`")]
pub(crate) struct InvalidModelName;

impl FromStr for ModelName {
    type Err = InvalidModelName;

    /// Only the first `/` separates, since models may have one of their own (`openrouter/meta/llama`).
    fn from_str(text: &str) -> Result<Self, InvalidModelName> {
        match text.trim().split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
                Ok(Self { provider: provider.to_owned(), model: model.to_owned() })
            }
            _ => Err(InvalidModelName),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.provider, self.model)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
