//! The tool that writes a file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::files::Settings;
use crate::{
    tool::{Error, RunFacts, blocking, function::Function},
    workspace::Workspace,
};

/// Writes files of a workspace.
pub(super) struct Write {
    workspace: Arc<Workspace>,
    settings: Settings,
}

/// What `write` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The file, relative to the workspace. Its folders are made.
    path: String,
    /// The whole content of the file.
    content: String,
}

impl Write {
    pub(super) fn new(workspace: Arc<Workspace>, settings: Settings) -> Self {
        Self { workspace, settings }
    }
}

impl Function for Write {
    const NAME: &'static str = "write";
    const DESCRIPTION: &'static str =
        "Write a file of the workspace: makes it with its folders, or replaces all of its content.";
    const IS_EXCLUSIVE: bool = true;
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let Arguments { path, content } = arguments;
        self.settings.check_size(&path, content.len() as u128)?;
        let workspace = self.workspace.clone();
        blocking(move |caller| {
            let mut change = workspace.change()?;
            caller.check()?;
            change.write(&path, content.as_bytes(), None)?;
            caller.check()?;
            change.commit()?;
            Ok(format!("wrote {} bytes to `{path}`", content.len()))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
