//! What a user has before anything runs: a home, a configuration file and an environment.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::provider::Provider;

/// The secret that every test's gateway knows.
pub(crate) const TOKEN: &str = "secret";

/// The key that every test's gateway has for the provider.
pub(crate) const PROVIDER_KEY: &str = "provider-key";

/// A folder with a configuration file, an empty state folder and a place for logs; removed when dropped.
pub(crate) struct Installation {
    folder: TempDir,
    config: Value,
    env: BTreeMap<String, String>,
}

impl Installation {
    /// Makes one whose only model is `provider`, with the agents `main`, `beta` and `alpha`.
    pub(crate) fn new(provider: &Provider) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "logs"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let config = json!({
            "models": {"providers": {"stub": {
                "baseUrl": provider.base_url(),
                "apiKey": PROVIDER_KEY,
                "api": "openai-completions",
            }}},
            "agents": {
                "defaults": {"model": "stub/test-model"},
                "list": [
                    {"id": "main", "default": true},
                    {"id": "beta", "systemPrompt": "You are beta."},
                    {"id": "alpha"},
                ],
            },
        });
        let env = BTreeMap::from([("CLAWDBOT_GATEWAY_TOKEN".to_owned(), TOKEN.to_owned())]);
        let mut installation = Self { folder, config, env };
        installation.configure(json!({}));
        installation
    }

    /// Merges `patch` into the configuration file, as RFC 7396 says.
    pub(crate) fn configure(&mut self, patch: Value) {
        merge(&mut self.config, patch);
        self.write_config(&self.config.to_string());
    }

    /// Writes this in the configuration file's place; what is merged into it later does not know of it.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.config_file(), text).unwrap();
    }

    /// Sets a variable for every process.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Removes a variable for every process.
    pub(crate) fn remove_env(&mut self, name: &str) {
        self.env.remove(name);
    }

    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// The user's home, in which agents have their workspaces.
    pub(crate) fn home(&self) -> &Path {
        self.folder.path()
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("clawdbot.json")
    }

    /// A command with this installation's environment and no other.
    #[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
    pub(crate) fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("CLAWDBOT_STATE_DIR", self.state())
            .env("CLAWDBOT_CONFIG_PATH", self.config_file())
            .envs(&self.env)
            .current_dir(self.folder.path());
        command
    }

    /// The content of every file in the state folder.
    ///
    /// Without the database's shared memory, which is an index that readers touch too.
    pub(crate) fn state_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.state()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.to_string_lossy().ends_with("-shm") {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }

    /// Whether any file in the state folder holds `text`.
    pub(crate) fn state_holds(&self, text: &str) -> bool {
        self.state_files().values().any(|content| content.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}
