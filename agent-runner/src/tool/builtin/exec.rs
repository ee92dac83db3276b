//! The tool that runs a program. It is offered only where the configuration allows it.

mod output;
mod process;
mod program;

use std::{collections::BTreeMap, fmt, os::fd::AsRawFd as _, path::PathBuf, sync::Arc, time::Duration};

use cap_std::fs::Dir;
use schemars::JsonSchema;
use serde::Deserialize;
use shared::config::Environment;
use tokio::process::Command;

use crate::{
    tool::{Error, RunFacts, blocking, function::Function},
    workspace::{Opened, Workspace},
};
use process::{Ended, run};
use program::Programs;

/// What a program is told of the runner's own environment.
const INHERITED: [&str; 4] = ["LANG", "LC_ALL", "TMPDIR", "TZ"];
/// Where programs are if the runner's environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// A home that is not there, as those have it who need none.
const NO_HOME: &str = "/nonexistent";

/// What may be run, and how.
#[derive(Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(crate) security: Security,
    /// Names looked up on the path, or absolute paths, that may be run with `allowlist`.
    pub(crate) safe_bins: Vec<String>,
    /// Folders in which programs are looked for first.
    pub(crate) path_prepend: Vec<PathBuf>,
    pub(crate) timeout_sec: u64,
    pub(crate) max_output_bytes: usize,
    /// More of the environment.
    pub(crate) env: BTreeMap<String, String>,
    #[serde(skip)]
    path: Option<String>,
    #[serde(skip)]
    inherited: BTreeMap<&'static str, String>,
}

/// Which programs may be run, the strictest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// None.
    #[default]
    Deny,
    /// Those that are listed. What they do, and what they start, is theirs.
    Allowlist,
    /// All that the runner's user may.
    Full,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            security: Security::Deny,
            safe_bins: Vec::new(),
            path_prepend: Vec::new(),
            timeout_sec: 50,
            max_output_bytes: 40_000,
            env: BTreeMap::new(),
            path: None,
            inherited: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Takes from the runner's environment what programs may know of it.
    pub(crate) fn inherit(&mut self, environment: &Environment) {
        self.path = environment.get("PATH").map(str::to_owned);
        let known = INHERITED.into_iter().filter_map(|name| Some((name, environment.get(name)?.to_owned())));
        self.inherited = known.collect();
    }

    /// Has a program end before the call that it belongs to is given up, which would lose what it has written.
    pub(crate) fn end_within(&mut self, call_timeout: Duration) {
        self.timeout_sec = self.timeout_sec.min(call_timeout.as_secs().saturating_sub(1).max(1));
    }
}

impl fmt::Debug for Settings {
    /// Without the environment, which may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Settings").field("security", &self.security).finish_non_exhaustive()
    }
}

/// Runs programs in a workspace.
pub(super) struct Exec {
    workspace: Arc<Workspace>,
    programs: Arc<Programs>,
    environment: BTreeMap<String, String>,
    timeout: Duration,
    max_output_bytes: usize,
}

/// What `exec` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The program and its arguments, quoted as in a shell.
    command: String,
    /// Have /bin/sh run the command, for pipes, globs and variables.
    #[serde(default)]
    shell: bool,
    /// The folder to run in, relative to the workspace.
    #[serde(default)]
    cwd: Option<String>,
    /// How long it may take.
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

impl Exec {
    pub(super) fn new(workspace: Arc<Workspace>, settings: &Settings, security: Security) -> Self {
        let path = settings.path.as_deref().unwrap_or(DEFAULT_PATH);
        let programs = Programs::new(workspace.path(), settings, security, path);
        let home = match security {
            // A program that is listed reads its own settings there, and some of them start others. The model must not
            // write them.
            Security::Allowlist => NO_HOME.to_owned(),
            Security::Deny | Security::Full => workspace.path().to_string_lossy().into_owned(),
        };
        let own = [("HOME", home), ("TERM", "dumb".to_owned())];
        let inherited = settings.inherited.iter().map(|(name, value)| (*name, value.clone()));
        let mut environment: BTreeMap<String, String> =
            inherited.chain(own).map(|(name, value)| (name.to_owned(), value)).collect();
        environment.extend(settings.env.clone());
        Self {
            workspace,
            programs: Arc::new(programs),
            environment,
            timeout: Duration::from_secs(settings.timeout_sec),
            max_output_bytes: settings.max_output_bytes,
        }
    }
}

impl Function for Exec {
    const NAME: &'static str = "exec";
    const DESCRIPTION: &'static str = "Run a program in the workspace and return what it writes, and its exit code. It \
                                       has no input, and what it leaves running in the background is stopped when it \
                                       ends.";
    const IS_EXCLUSIVE: bool = true;
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let Arguments { command, shell, cwd, timeout_seconds } = arguments;
        let (workspace, programs) = (self.workspace.clone(), self.programs.clone());
        let (words, path, dir) = blocking(move |_| {
            let words = programs.choose(&command, shell)?;
            Ok((words, programs.path(), folder(&workspace, cwd.as_deref().unwrap_or("."))?))
        })
        .await?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PATH", path).envs(&self.environment);
        // The folder that was checked, whatever has its name by now: the new process still has this handle when it
        // changes to it.
        command.current_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let timeout =
            timeout_seconds.map_or(self.timeout, |seconds| Duration::from_secs(seconds.max(1)).min(self.timeout));
        let Ended { text, status } = run(command, timeout, self.max_output_bytes).await?;
        match status {
            Some(status) => Ok(format!("{text}[{status}]")),
            None => Err(Error(format!("{text}[stopped after {} s, with all it had started]", timeout.as_secs()))),
        }
    }
}

fn folder(workspace: &Workspace, path: &str) -> Result<Dir, Error> {
    match workspace.open(path)? {
        Opened::Folder(dir) => Ok(dir),
        Opened::File(..) => Err(Error(format!("`{path}` is not a folder"))),
    }
}

#[cfg(test)]
mod tests;
