//! Which program a command means, and whether it may be run.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{Security, Settings};
use crate::tool::Error;

const SHELL: &str = "/bin/sh";

/// The programs that can be run.
#[derive(Debug)]
pub(super) struct Programs {
    workspace: PathBuf,
    security: Security,
    listed: BTreeSet<String>,
    folders: Vec<PathBuf>,
}

impl Programs {
    pub(super) fn new(workspace: &Path, settings: &Settings, security: Security, path: &str) -> Self {
        let Settings { safe_bins, path_prepend, .. } = settings;
        let folders = path_prepend.iter().cloned().chain(env::split_paths(path));
        // What is relative depends on where one stands, and what has a colon cannot be handed on.
        let is_fit = |folder: &PathBuf| folder.is_absolute() && !folder.as_os_str().as_bytes().contains(&b':');
        let folders = folders.filter(is_fit).collect();
        Self { workspace: workspace.to_owned(), security, listed: safe_bins.iter().cloned().collect(), folders }
    }

    /// The path that a program is started with. It never leads into the workspace, where the model can put what it likes.
    pub(super) fn path(&self) -> OsString {
        let folders = self.folders.iter().filter(|folder| !self.is_in_workspace(folder));
        env::join_paths(folders).expect("no folder has a colon in its name")
    }

    /// What to run for a command: a program and its arguments.
    pub(super) fn choose(&self, command: &str, shell: bool) -> Result<Vec<String>, Error> {
        if command.contains('\0') {
            return Err(Error("a command cannot hold a NUL character".to_owned()));
        }
        match (self.security, shell) {
            (Security::Deny, _) => Err(Error("nothing may be run here (`tools.exec.security`)".to_owned())),
            (Security::Allowlist, true) => {
                Err(Error("a shell may not be used here (`tools.exec.security`); give one program".to_owned()))
            }
            (Security::Full, true) => Ok(vec![SHELL.to_owned(), "-c".to_owned(), command.to_owned()]),
            (Security::Allowlist | Security::Full, false) => {
                let words = shlex::split(command).ok_or_else(|| Error("the command has an open quote".to_owned()))?;
                let Some((program, arguments)) = words.split_first() else {
                    return Err(Error("the command is empty".to_owned()));
                };
                let mut words = vec![self.program(program)?];
                words.extend_from_slice(arguments);
                Ok(words)
            }
        }
    }

    fn program(&self, name: &str) -> Result<String, Error> {
        let is_path = name.contains('/');
        if self.security == Security::Allowlist {
            let is_fit = !is_path || (Path::new(name).is_absolute() && !self.is_in_workspace(Path::new(name)));
            if !is_fit || !self.listed.contains(name) {
                return Err(Error(format!("`{name}` may not be run here (`tools.exec.safeBins`)")));
            }
        }
        if is_path {
            return Ok(name.to_owned());
        }
        let found = self.folders.iter().map(|folder| folder.join(name)).find(|file| {
            let is_program =
                fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
            is_program && !self.is_in_workspace(file)
        });
        let found = found.and_then(|file| file.into_os_string().into_string().ok());
        found.ok_or_else(|| Error(format!("there is no program `{name}`")))
    }

    /// Whether a path leads into the workspace, by whatever links.
    fn is_in_workspace(&self, path: &Path) -> bool {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        path.starts_with(&self.workspace) || real(path).starts_with(real(&self.workspace))
    }
}
