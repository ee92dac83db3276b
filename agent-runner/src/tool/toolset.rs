//! The tools that an agent has with a model.

use std::{collections::HashMap, sync::Arc};

use proto::agent::v1::FunctionTool;
use shared::AgentId;

use super::Tool;
use crate::agents::ModelName;

/// Everything that agents can call.
#[derive(Default)]
pub(crate) struct Tools {
    empty: Arc<Toolset>,
}

/// The tools of one agent with one model.
#[derive(Default)]
pub(crate) struct Toolset {
    by_name: HashMap<String, Arc<dyn Tool>>,
    definitions: Arc<[FunctionTool]>,
}

impl Tools {
    /// These for every agent.
    #[cfg(test)]
    pub(crate) fn of(toolset: Toolset) -> Self {
        Self { empty: Arc::new(toolset) }
    }

    pub(crate) async fn for_run(&self, _: &AgentId, _: &ModelName) -> Arc<Toolset> {
        self.empty.clone()
    }
}

impl Toolset {
    pub(crate) fn new(tools: Vec<Arc<dyn Tool>>) -> Self {
        let definitions = tools.iter().map(|tool| tool.definition().clone()).collect();
        let by_name = tools.into_iter().map(|tool| (tool.definition().name.clone(), tool)).collect();
        Self { by_name, definitions }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.by_name.get(name)
    }

    pub(crate) fn definitions(&self) -> &Arc<[FunctionTool]> {
        &self.definitions
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
