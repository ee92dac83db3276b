//! The tool that applies a patch to several files at once, in the format that the coding models are trained on.

mod change;
mod parse;

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use super::files::{Settings, text};
use crate::{
    tool::{Caller, Error, RunFacts, blocking, function::Function},
    workspace::{Change, Workspace},
};
use parse::{Operation, parse};

/// Patches files of a workspace.
pub(super) struct ApplyPatch {
    workspace: Arc<Workspace>,
    settings: Settings,
}

/// What `apply_patch` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The patch, from `*** Begin Patch` to `*** End Patch`.
    input: String,
}

impl ApplyPatch {
    pub(super) fn new(workspace: Arc<Workspace>, settings: Settings) -> Self {
        Self { workspace, settings }
    }
}

impl Function for ApplyPatch {
    const NAME: &'static str = "apply_patch";
    const DESCRIPTION: &'static str = "\
Change files of the workspace with a patch; either all of it is applied or nothing. The format:
*** Begin Patch
*** Add File: new.txt
+each line of the new file
*** Update File: old.txt
*** Move to: renamed.txt (only to rename it)
@@ a line above the change, such as the head of its function (only if needed)
 a line that stays
-a line that goes
+a line that comes
*** Delete File: gone.txt
*** End Patch";
    const IS_EXCLUSIVE: bool = true;
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let (workspace, settings) = (self.workspace.clone(), self.settings);
        blocking(move |caller| {
            settings.check_size("the patch", arguments.input.len() as u128)?;
            let operations = parse(&arguments.input)?;
            let change = workspace.change()?;
            let mut plan = Plan { workspace: &workspace, settings, touched: BTreeSet::new(), steps: Vec::new() };
            for operation in &operations {
                caller.check()?;
                plan.add(operation)?;
            }
            plan.carry_out(change, caller)
        })
        .await
    }
}

/// What a patch comes to. Making it changes nothing.
struct Plan<'a> {
    workspace: &'a Workspace,
    settings: Settings,
    touched: BTreeSet<PathBuf>,
    steps: Vec<Step<'a>>,
}

/// One file's change.
struct Step<'a> {
    verb: &'static str,
    path: &'a str,
    /// The new content and where it goes.
    write: Option<(&'a str, String)>,
    /// Whether what is at `path` goes away.
    remove: bool,
}

impl<'a> Plan<'a> {
    fn add(&mut self, operation: &'a Operation) -> Result<(), Error> {
        let step = match operation {
            Operation::Add { path, content } => {
                self.claim_new(path)?;
                Step { verb: "added", path, write: Some((path, content.clone())), remove: false }
            }
            Operation::Delete { path } => {
                // Read, so that only files are deleted, and none that could not be looked at.
                self.claim_existing(path)?;
                self.workspace.open_file(path)?;
                Step { verb: "deleted", path, write: None, remove: true }
            }
            Operation::Update { path, move_to, chunks } => {
                self.claim_existing(path)?;
                let before = text(path, self.workspace.read(path, self.settings.max_file_bytes)?)?;
                let after = change::apply(path, &before, chunks)?;
                match move_to {
                    None => Step { verb: "updated", path, write: Some((path, after)), remove: false },
                    Some(target) => {
                        self.claim_new(target)?;
                        Step { verb: "moved", path, write: Some((target, after)), remove: true }
                    }
                }
            }
        };
        if let Some((path, content)) = &step.write {
            self.settings.check_size(path, content.len() as u128)?;
        }
        self.steps.push(step);
        Ok(())
    }

    fn claim_existing(&mut self, path: &str) -> Result<(), Error> {
        let resolved = self.workspace.resolve(path)?;
        let resolved = resolved.ok_or_else(|| Error(format!("there is no file `{path}`")))?;
        self.claim(path, resolved)
    }

    fn claim_new(&mut self, path: &str) -> Result<(), Error> {
        if self.workspace.exists(path)? {
            return Err(Error(format!("`{path}` exists; update it, or delete it first")));
        }
        self.claim(path, self.workspace.place_of_new(path)?)
    }

    /// Refuses a place that another step needs, as a file or as a folder.
    fn claim(&mut self, path: &str, place: PathBuf) -> Result<(), Error> {
        if self.touched.contains(&place) {
            return Err(Error(format!("the patch names `{path}` twice")));
        }
        if self.touched.iter().any(|other| other.starts_with(&place) || place.starts_with(other)) {
            return Err(Error(format!("the patch has `{path}` as a file and as a folder")));
        }
        self.touched.insert(place);
        Ok(())
    }

    fn carry_out(self, mut change: Change<'_>, caller: &Caller) -> Result<String, Error> {
        let mut told = String::new();
        for Step { verb, path, write, remove } in &self.steps {
            caller.check()?;
            if let Some((target, content)) = write {
                let permissions = if *remove { self.workspace.permissions(path)? } else { None };
                change.write(target, content.as_bytes(), permissions)?;
            }
            if *remove {
                change.remove(path)?;
            }
            let _ = match write {
                Some((target, _)) if target != path => writeln!(told, "{verb} `{path}` to `{target}`"),
                Some(_) | None => writeln!(told, "{verb} `{path}`"),
            };
        }
        caller.check()?;
        change.commit()?;
        Ok(told.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests;
