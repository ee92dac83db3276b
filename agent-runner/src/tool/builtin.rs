//! The tools that every runner has.

mod apply_patch;
mod edit;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod memory;
mod read;
mod session_status;
pub(crate) mod web_fetch;
mod write;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    tool::{Settings, Tool, function::tool},
    workspace::Workspace,
};

/// Makes the built-in tools. Those of all agents share what bounds them together.
pub(crate) struct Builtin {
    settings: Settings,
    searches: Arc<Semaphore>,
}

impl Builtin {
    pub(crate) fn new(settings: Settings) -> Self {
        let searches = settings.memory.max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        Self { settings, searches: Arc::new(Semaphore::new(searches)) }
    }

    /// The tools of an agent, of which most need a workspace. Those that the settings switch off are not among them.
    pub(crate) fn tools(&self, workspace: Option<&Arc<Workspace>>) -> Vec<Arc<dyn Tool>> {
        let settings = &self.settings;
        let mut tools = workspace.map(|workspace| self.in_workspace(workspace)).unwrap_or_default();
        tools.push(tool(session_status::SessionStatus));
        if settings.web_fetch.enabled {
            tools.push(tool(web_fetch::WebFetch::new(settings.web_fetch)));
        }
        tools
    }

    fn in_workspace(&self, workspace: &Arc<Workspace>) -> Vec<Arc<dyn Tool>> {
        let Settings { fs, memory, exec, .. } = &self.settings;
        let mut tools = vec![
            tool(read::Read::new(workspace.clone(), *fs)),
            tool(write::Write::new(workspace.clone(), *fs)),
            tool(edit::Edit::new(workspace.clone(), *fs)),
            tool(apply_patch::ApplyPatch::new(workspace.clone(), *fs)),
            tool(memory::MemorySearch::new(workspace.clone(), *memory, self.searches.clone())),
        ];
        if exec.security != exec::Security::Deny {
            tools.push(tool(exec::Exec::new(workspace.clone(), exec)));
        }
        tools
    }
}

#[cfg(test)]
mod tests;
