use std::{fs, path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::tool::{Call, Error, RunFacts};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A workspace beside a folder that is none of its business.
pub(super) struct Place {
    folder: TempDir,
    pub(super) workspace: Arc<Workspace>,
    tools: Vec<Arc<dyn Tool>>,
}

impl Place {
    pub(super) fn new(settings: &Settings) -> Self {
        let folder = TempDir::new().expect("makes a folder");
        let path = folder.path().join("workspace");
        let workspace = Arc::new(Workspace::new(path));
        workspace.dir().expect("is made");
        fs::create_dir(folder.path().join("outside")).expect("makes a folder");
        fs::write(folder.path().join("outside/secret.md"), "secret tea").expect("writes");
        Self {
            tools: Builtin::new(settings.clone(), CALL_TIMEOUT).tools(Some(&workspace), settings.exec.security),
            workspace,
            folder,
        }
    }

    /// A path in the workspace.
    pub(super) fn inside(&self, path: &str) -> PathBuf {
        self.workspace.path().join(path)
    }

    /// A path in the other folder.
    pub(super) fn outside(&self, path: &str) -> PathBuf {
        self.folder.path().join("outside").join(path)
    }

    /// Calls a tool as a model does.
    pub(super) async fn call(&self, name: &str, arguments: serde_json::Value) -> Result<String, Error> {
        let tool = self.tools.iter().find(|tool| tool.definition().name == name).expect("there is such a tool");
        tool.call(Call { arguments: &arguments.to_string(), run: &run_facts() }).await
    }

    /// Checks that nothing outside has changed.
    pub(super) fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.outside(""))
            .expect("is a folder")
            .map(|entry| entry.expect("is there").file_name())
            .collect();
        assert_eq!(names, ["secret.md"]);
        assert_eq!(fs::read_to_string(self.outside("secret.md")).expect("is there"), "secret tea");
    }
}

pub(super) fn run_facts() -> RunFacts {
    RunFacts {
        run_id: "run-1".into(),
        agent_id: "main".parse().expect("is an agent id"),
        session_key: Some("chat".into()),
        model: "fake/model".parse().expect("is a model's name"),
        message_count: 2,
    }
}

fn names(settings: &Settings) -> Vec<String> {
    Place::new(settings).tools.iter().map(|tool| tool.definition().name.clone()).collect()
}

#[test]
fn what_is_switched_off_is_not_offered() {
    let files = ["read", "write", "edit", "apply_patch", "memory_search"];
    let mut settings = Settings::default();
    assert_eq!(names(&settings), [files.as_slice(), &["session_status", "web_fetch"]].concat());
    settings.web_fetch.enabled = false;
    assert_eq!(names(&settings), [files.as_slice(), &["session_status"]].concat());
    settings.exec.security = exec::Security::Full;
    assert_eq!(names(&settings), [files.as_slice(), &["exec", "session_status"]].concat());
}

#[test]
fn without_a_workspace_there_is_what_needs_none() {
    let tools = Builtin::new(Settings::default(), CALL_TIMEOUT).tools(None, exec::Security::Full);
    let names: Vec<_> = tools.iter().map(|tool| tool.definition().name.as_str()).collect();
    assert_eq!(names, ["session_status", "web_fetch"]);
}

#[test]
fn every_definition_has_a_description_and_a_schema_of_an_object() {
    let mut settings = Settings::default();
    settings.exec.security = exec::Security::Allowlist;
    for tool in &Place::new(&settings).tools {
        let definition = tool.definition();
        assert!(!definition.description.is_empty(), "{}", definition.name);
        let schema: serde_json::Value = serde_json::from_str(&definition.parameters).expect("is JSON");
        assert_eq!(schema["type"], "object", "{}", definition.name);
        assert!(schema.get("$schema").is_none() && schema.get("title").is_none(), "{schema}");
    }
}
