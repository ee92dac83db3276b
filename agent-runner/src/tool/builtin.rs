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

use std::{sync::Arc, time::Duration};

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
    /// A call is given `call_timeout` by whoever makes it.
    pub(crate) fn new(mut settings: Settings, call_timeout: Duration) -> Self {
        settings.exec.end_within(call_timeout);
        let searches = settings.memory.max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        Self { settings, searches: Arc::new(Semaphore::new(searches)) }
    }

    /// The tools of an agent that may run such programs; most need a workspace. Those that the settings switch off are
    /// not among them.
    pub(crate) fn tools(&self, workspace: Option<&Arc<Workspace>>, security: exec::Security) -> Vec<Arc<dyn Tool>> {
        let settings = &self.settings;
        let mut tools = workspace.map(|workspace| self.in_workspace(workspace, security)).unwrap_or_default();
        tools.push(tool(session_status::SessionStatus));
        if settings.web_fetch.enabled {
            tools.push(tool(web_fetch::WebFetch::new(settings.web_fetch)));
        }
        tools
    }

    fn in_workspace(&self, workspace: &Arc<Workspace>, security: exec::Security) -> Vec<Arc<dyn Tool>> {
        let Settings { fs, memory, exec, .. } = &self.settings;
        let mut tools = vec![
            tool(read::Read::new(workspace.clone(), *fs)),
            tool(write::Write::new(workspace.clone(), *fs)),
            tool(edit::Edit::new(workspace.clone(), *fs)),
            tool(apply_patch::ApplyPatch::new(workspace.clone(), *fs)),
            tool(memory::MemorySearch::new(workspace.clone(), *memory, self.searches.clone())),
        ];
        if security != exec::Security::Deny {
            tools.push(tool(exec::Exec::new(workspace.clone(), exec, security)));
        }
        tools
    }
}

#[cfg(test)]
mod tests;
