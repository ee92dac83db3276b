//! Which tools a run has: its agent's own and those of MCP servers, as far as the policy lets them pass.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future;
use proto::agent::v1::FunctionTool;
use shared::AgentId;

use super::{
    Tool,
    policy::{Filter, Policy, Variant},
};
use crate::{
    agents::ModelName,
    mcp::{McpTool, Server, Servers},
    workspace::Workspace,
};

/// The tools of all agents.
pub(crate) struct Tools {
    /// The agents that may have tools.
    agents: HashMap<AgentId, AgentTools>,
    servers: Servers,
    workspaces: Workspaces,
    none: Arc<Toolset>,
}

/// The workspaces that tools change, by their paths: whoever changes the same folder shares what keeps changes apart.
pub(crate) type Workspaces = BTreeMap<PathBuf, Arc<Workspace>>;

/// The tools of one run.
#[derive(Default)]
pub(crate) struct Toolset {
    by_name: HashMap<String, Arc<dyn Tool>>,
    definitions: Arc<[FunctionTool]>,
}

struct AgentTools {
    builtin: Vec<Arc<dyn Tool>>,
    policy: Policy,
    /// By what the models of a run differ in.
    made: Mutex<HashMap<Vec<Variant>, Made>>,
}

/// A toolset and what it was made from.
struct Made {
    /// The version of each server's listing, if it had one.
    versions: Vec<Option<u64>>,
    toolset: Arc<Toolset>,
}

impl Tools {
    /// Takes each agent with its built-in tools, which change these workspaces, and its policy.
    pub(crate) fn new(
        agents: impl IntoIterator<Item = (AgentId, Vec<Arc<dyn Tool>>, Policy)>,
        servers: Servers,
        workspaces: Workspaces,
    ) -> Self {
        let may_have_tools = agents.into_iter().filter(|(_, _, policy)| !policy.allows_nothing());
        let agent = |(agent_id, builtin, policy)| (agent_id, AgentTools { builtin, policy, made: Mutex::default() });
        Self { agents: may_have_tools.map(agent).collect(), servers, workspaces, none: Arc::default() }
    }

    /// The tools of an agent that every one of these models may use, so that a prompt stays as it is when another model
    /// takes over, and none is offered what its provider's rules deny. Servers that may have some are started; those that
    /// cannot be are left out.
    pub(crate) async fn for_run(
        &self,
        agent_id: &AgentId,
        models: impl IntoIterator<Item = &ModelName>,
    ) -> Arc<Toolset> {
        let Some(agent) = self.agents.get(agent_id) else { return Arc::clone(&self.none) };
        let mut variants: Vec<Variant> = models.into_iter().map(|model| agent.policy.variant(model)).collect();
        variants.sort_unstable();
        variants.dedup();
        let filters: Vec<Filter<'_>> = variants.iter().map(|variant| agent.policy.filter(variant)).collect();
        let may_have_tools =
            |server: &&Arc<Server>| filters.iter().all(|filter| filter.may_allow_server(server.name()));
        let servers: Vec<&Arc<Server>> = self.servers.iter().filter(may_have_tools).collect();
        let listings = future::join_all(servers.iter().map(|server| server.listing())).await;
        let versions = listings.iter().map(|listing| listing.as_ref().map(|listing| listing.version)).collect();
        let mut made = agent.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.get(&variants).filter(|made| made.versions == versions) {
            return Arc::clone(&made.toolset);
        }
        let of_servers = servers.into_iter().zip(listings).flat_map(|(server, listing)| {
            let tools = listing.map(|listing| listing.tools).unwrap_or_default();
            let tool = |listed| Arc::new(McpTool::new(Arc::clone(server), Arc::clone(listed))) as Arc<dyn Tool>;
            tools.iter().map(tool).collect::<Vec<_>>()
        });
        let tools = agent.builtin.iter().cloned().chain(of_servers);
        let tools = tools.filter(|tool| filters.iter().all(|filter| filter.allows(&tool.definition().name)));
        let toolset = Arc::new(Toolset::new(tools));
        made.insert(variants, Made { versions, toolset: Arc::clone(&toolset) });
        toolset
    }

    /// The MCP servers.
    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The workspaces that the tools change.
    pub(crate) fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// Ends the MCP servers, and waits for that.
    pub(crate) async fn shutdown(&self) {
        self.servers.shutdown().await;
    }
}

impl Toolset {
    /// Of two tools with one name, the first counts.
    pub(crate) fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        let (mut by_name, mut definitions) = (HashMap::new(), Vec::new());
        for tool in tools {
            let definition = tool.definition().clone();
            if !by_name.contains_key(&definition.name) {
                by_name.insert(definition.name.clone(), tool);
                definitions.push(definition);
            }
        }
        Self { by_name, definitions: definitions.into() }
    }

    /// The tool of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.by_name.get(name)
    }

    /// What the model is told of all of them.
    pub(crate) fn definitions(&self) -> &Arc<[FunctionTool]> {
        &self.definitions
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests;
