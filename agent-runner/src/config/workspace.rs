//! Which folder is an agent's workspace.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;
use shared::{
    AgentId,
    config::{Document, Environment},
};

use super::Error;
use crate::bootstrap;

/// What the workspaces of all agents are found by.
#[derive(Debug)]
pub(super) struct Workspaces<'a> {
    /// That of the default agent.
    default: &'a str,
    home: Option<&'a Path>,
    /// The configuration file.
    file: Option<&'a Path>,
    state_dir: &'a Path,
}

impl<'a> Workspaces<'a> {
    /// `default` is `agents.defaults.workspace`.
    pub(super) fn new(default: &'a str, document: &'a Document, environment: &'a Environment) -> Self {
        let (file, state_dir) = (document.path(), document.state_dir());
        Self { default: default.trim(), home: environment.get("HOME").map(Path::new), file, state_dir }
    }

    /// The agent's own, as it is `configured`; else as upstream has it: the default agent's is `agents.defaults.workspace`
    /// or `~/clawd`, and another's is `~/clawd-<id>`, so that agents see each other's memory only where they are meant to.
    pub(super) fn of(&self, agent_id: &AgentId, configured: &str, is_default: bool) -> Result<Option<PathBuf>, Error> {
        let configured = configured.trim();
        if !configured.is_empty() {
            return self.resolve(&format!("agents.list ({agent_id}).workspace"), configured).map(Some);
        }
        if is_default && !self.default.is_empty() {
            return self.resolve("agents.defaults.workspace", self.default).map(Some);
        }
        let name = if is_default { "clawd".to_owned() } else { format!("clawd-{agent_id}") };
        Ok(self.home.map(|home| home.join(name)))
    }

    /// Where a configured path leads. A folder that holds our own secrets is none for the tools of a model.
    fn resolve(&self, key: &str, path: &str) -> Result<PathBuf, Error> {
        let folder = self.locate(key, path)?;
        let holds = |what: &Path| real(what).starts_with(real(&folder));
        let held = match self.file {
            Some(file) if holds(file) => "the configuration file",
            Some(_) | None if holds(self.state_dir) => "the state folder",
            Some(_) | None => return Ok(folder),
        };
        let reason = format!("`{path}` holds {held}, which the agent's tools must not reach; take a folder of its own");
        Err(Error::Invalid { key: key.to_owned(), reason })
    }

    fn locate(&self, key: &str, path: &str) -> Result<PathBuf, Error> {
        let invalid = |reason: &str| Error::Invalid { key: key.to_owned(), reason: format!("`{path}` {reason}") };
        let in_home = match path.strip_prefix('~') {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('/'),
            None => None,
        };
        if let Some(rest) = in_home {
            let home = self.home.ok_or_else(|| invalid("is in the home folder, but HOME is not set"))?;
            return Ok(home.join(rest));
        }
        if Path::new(path).is_absolute() {
            return Ok(path.into());
        }
        let folder = self
            .file
            .and_then(Path::parent)
            .ok_or_else(|| invalid("is relative, but there is no configuration file"))?;
        Ok(folder.join(path))
    }
}

/// A path without symbolic links and `..`, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                real.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                real.push(component);
                real = fs::canonicalize(&real).unwrap_or(real);
            }
        }
    }
    real
}

/// The limits of `skills`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SkillsSection {
    limits: SkillLimits,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SkillLimits {
    max_skills_in_prompt: usize,
}

impl Default for SkillLimits {
    fn default() -> Self {
        Self { max_skills_in_prompt: 150 }
    }
}

impl SkillsSection {
    /// How much of a workspace a prompt takes.
    pub(super) fn bootstrap(&self, max_chars: usize) -> bootstrap::Settings {
        bootstrap::Settings { max_chars, max_skills: self.limits.max_skills_in_prompt }
    }
}

#[cfg(test)]
mod tests {
    use shared::config::{Sources, documented_default};

    use super::*;

    fn workspace(agent: (&str, bool), own: &str, default: &str, home: Option<&str>) -> Result<String, String> {
        let environment: Environment = home.map(|home| ("HOME", home)).into_iter().collect();
        let sources = Sources { environment: environment.clone(), ..Sources::default() };
        let document = Document::from_text("{}", Path::new("/etc/clawdbot/clawdbot.json"), &sources).expect("readable");
        let agent_id = agent.0.parse().expect("a valid id");
        let found = Workspaces::new(default, &document, &environment).of(&agent_id, own, agent.1);
        found.map(|path| path.map_or("none".to_owned(), |path| path.display().to_string())).map_err(|e| e.to_string())
    }

    #[test]
    fn a_workspace_is_the_agents_own_or_the_default_agents_or_in_the_home_folder() {
        let check = |agent, own, default, expected: &str| {
            let found = workspace(agent, own, default, Some("/home/alice"));
            assert_eq!(found.as_deref(), Ok(expected), "{agent:?} {own} {default}");
        };
        let (main, beta) = (("main", true), ("beta", false));
        check(main, "", "", "/home/alice/clawd");
        check(beta, "", "", "/home/alice/clawd-beta");
        check(main, "", "/srv/main", "/srv/main");
        check(beta, "", "/srv/main", "/home/alice/clawd-beta");
        check(beta, " /srv/beta ", "/srv/main", "/srv/beta");
        check(beta, "~/beta", "", "/home/alice/beta");
        check(beta, "beta", "", "/etc/clawdbot/beta");
        check(beta, "~beta", "", "/etc/clawdbot/~beta");
    }

    #[test]
    fn a_folder_that_holds_our_own_secrets_is_no_workspace() {
        let check = |path: &str, held: &str| {
            let error = workspace(("beta", false), path, "", Some("/home/alice")).expect_err(path);
            let expected = format!("agents.list (beta).workspace: `{path}` holds {held}, which");
            assert!(error.starts_with(&expected), "{error}");
        };
        check(".", "the configuration file");
        check("x/..", "the configuration file");
        check("/", "the configuration file");
        check("/etc", "the configuration file");
        check("~", "the state folder");
        check("~/.clawdbot", "the state folder");
        check("~/clawd/../.clawdbot/", "the state folder");
        check("/home", "the state folder");
        let inside = workspace(("beta", false), "~/.clawdbot/workspace", "", Some("/home/alice"));
        assert_eq!(inside.as_deref(), Ok("/home/alice/.clawdbot/workspace"));
    }

    #[test]
    fn a_link_does_not_hide_our_own_secrets() {
        let folder = tempfile::TempDir::new().expect("makes a folder");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).expect("links");
        let home = folder.path().to_str().expect("is text");
        let error = workspace(("beta", false), "~/link", "", Some(home)).expect_err("is the home folder");
        assert!(error.contains("holds the state folder"), "{error}");
    }

    #[test]
    fn without_a_home_folder_only_what_needs_none_is_found() {
        let beta = ("beta", false);
        assert_eq!(workspace(beta, "", "", None).as_deref(), Ok("none"));
        assert_eq!(workspace(beta, "/srv/beta", "", None).as_deref(), Ok("/srv/beta"));
        let error = workspace(beta, "~/beta", "", None).expect_err("there is no home folder");
        assert_eq!(error, "agents.list (beta).workspace: `~/beta` is in the home folder, but HOME is not set");
    }

    #[test]
    fn a_relative_path_needs_a_file_to_be_relative_to() {
        let (environment, document) = (Environment::default(), Document::load(&Sources::default()).expect("empty"));
        let agent_id = "main".parse().expect("a valid id");
        let error = Workspaces::new("beta", &document, &environment).of(&agent_id, "", true).expect_err("no file");
        let expected = "agents.defaults.workspace: `beta` is relative, but there is no configuration file";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let max_skills = SkillLimits::default().max_skills_in_prompt.to_string();
        assert_eq!(documented_default("skills.limits.maxSkillsInPrompt"), Some(max_skills.as_str()));
    }
}
