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

use crate::{
    tool::{Settings, Tool, function::tool},
    workspace::Workspace,
};

/// The built-in tools of an agent with this workspace. Those that the settings switch off are not among them.
pub(crate) fn all(workspace: Arc<Workspace>, settings: &Settings) -> Vec<Arc<dyn Tool>> {
    let fs = settings.fs;
    let mut tools = vec![
        tool(read::Read::new(workspace.clone(), fs)),
        tool(write::Write::new(workspace.clone(), fs)),
        tool(edit::Edit::new(workspace.clone(), fs)),
        tool(apply_patch::ApplyPatch::new(workspace.clone(), fs)),
        tool(memory::MemorySearch::new(workspace.clone(), settings.memory)),
        tool(session_status::SessionStatus),
    ];
    if settings.web_fetch.enabled {
        tools.push(tool(web_fetch::WebFetch::new(settings.web_fetch)));
    }
    if settings.exec.security != exec::Security::Deny {
        tools.push(tool(exec::Exec::new(workspace, &settings.exec)));
    }
    tools
}

#[cfg(test)]
mod tests;
