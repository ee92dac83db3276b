//! The tool that searches what an agent has noted down.

mod rank;

use std::{io::Read as _, sync::Arc};

use cap_std::fs::Dir;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    tool::{Error, RunFacts, blocking, function::Function},
    workspace::{Opened, Workspace},
};
use rank::{Passage, passages, rank};

const NOTES: [&str; 2] = ["MEMORY.md", "memory.md"];
const FOLDER: &str = "memory";
const MAX_DEPTH: usize = 8;
const DEFAULT_RESULTS: usize = 6;
const MAX_RESULTS: usize = 20;
const MAX_SNIPPET_CHARS: usize = 700;

/// How much is searched.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Settings {
    /// The most files that are read.
    pub(crate) max_files: usize,
    /// The most bytes that are read.
    pub(crate) max_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_files: 1000, max_bytes: 8 * 1024 * 1024 }
    }
}

/// Searches the memory files of a workspace.
pub(super) struct MemorySearch {
    workspace: Arc<Workspace>,
    settings: Settings,
}

/// What `memory_search` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// Words to look for.
    query: String,
    /// How many passages to return.
    #[serde(default)]
    max_results: Option<usize>,
}

impl MemorySearch {
    pub(super) fn new(workspace: Arc<Workspace>, settings: Settings) -> Self {
        Self { workspace, settings }
    }
}

impl Function for MemorySearch {
    const NAME: &'static str = "memory_search";
    const DESCRIPTION: &'static str = "Search the notes in MEMORY.md and memory/ of the workspace by words. Returns the \
                                       passages that fit best, with file and lines; read the file for more.";
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let (workspace, settings) = (self.workspace.clone(), self.settings);
        blocking(move || {
            let Arguments { query, max_results } = arguments;
            let mut search =
                Search { workspace: &workspace, settings, files: 0, bytes: 0, found: Vec::new(), all: true };
            search.everything(workspace.dir()?.as_ref());
            Ok(search.tell(&query, max_results.unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS)))
        })
        .await
    }
}

/// A search under way.
struct Search<'a> {
    workspace: &'a Workspace,
    settings: Settings,
    files: usize,
    bytes: u64,
    found: Vec<Passage>,
    /// Whether everything was within the limits.
    all: bool,
}

impl Search<'_> {
    fn everything(&mut self, dir: &Dir) {
        for path in NOTES {
            self.file(path);
        }
        self.folder(dir, FOLDER, 0);
    }

    /// Reads the notes below a folder. What cannot be read, or leads out of the workspace, is no note.
    fn folder(&mut self, dir: &Dir, path: &str, depth: usize) {
        if depth == MAX_DEPTH {
            self.all = false;
            return;
        }
        let Ok(entries) = dir.read_dir(path) else { return };
        for entry in entries.flatten() {
            if self.files >= self.settings.max_files || self.bytes >= self.settings.max_bytes {
                self.all = false;
                return;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = format!("{path}/{name}");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.folder(dir, &below, depth + 1);
            } else if name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("md")) {
                self.file(&below);
            }
        }
    }

    fn file(&mut self, path: &str) {
        let Ok(Opened::File(file, length)) = self.workspace.open(path) else { return };
        let room = self.settings.max_bytes.saturating_sub(self.bytes);
        let mut bytes = Vec::new();
        if file.take(room).read_to_end(&mut bytes).is_err() {
            return;
        }
        self.files += 1;
        self.bytes += bytes.len() as u64;
        self.all &= length <= room;
        self.found.extend(passages(path, &String::from_utf8_lossy(&bytes)));
    }

    fn tell(&self, query: &str, max_results: usize) -> String {
        let best = rank(&self.found, query);
        let mut told: Vec<String> = best
            .into_iter()
            .take(max_results)
            .map(|Passage { path, first_line, last_line, text }| {
                format!("{path}:{first_line}-{last_line}\n{text:.MAX_SNIPPET_CHARS$}")
            })
            .collect();
        if told.is_empty() {
            told.push("no note fits".to_owned());
        }
        if !self.all {
            told.push(
                "[there are more notes than are searched (`tools.memory.maxFiles`, `tools.memory.maxBytes`)]"
                    .to_owned(),
            );
        }
        told.join("\n\n")
    }
}

#[cfg(test)]
mod tests;
