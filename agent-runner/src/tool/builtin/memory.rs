//! The tool that searches what an agent has noted down.

mod rank;

use std::{io::Read as _, sync::Arc};

use cap_std::fs::Dir;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{
    tool::{Caller, Error, RunFacts, blocking, function::Function},
    workspace::{Opened, Workspace},
};
use rank::{Found, Note, Passage, rank};

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
    /// The most searches that go on at a time, of all agents.
    pub(crate) max_concurrent: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_files: 1000, max_bytes: 8 * 1024 * 1024, max_concurrent: 4 }
    }
}

/// Searches the memory files of a workspace.
pub(super) struct MemorySearch {
    workspace: Arc<Workspace>,
    settings: Settings,
    /// One permit for each search that may go on.
    searches: Arc<Semaphore>,
}

/// What `memory_search` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// Words to look for; the first 64 count.
    query: String,
    /// How many passages to return.
    #[serde(default)]
    max_results: Option<usize>,
}

impl MemorySearch {
    pub(super) fn new(workspace: Arc<Workspace>, settings: Settings, searches: Arc<Semaphore>) -> Self {
        Self { workspace, settings, searches }
    }
}

impl Function for MemorySearch {
    const NAME: &'static str = "memory_search";
    const DESCRIPTION: &'static str = "Search the notes in MEMORY.md and memory/ of the workspace by words. Returns the \
                                       passages that fit best, with file and lines; read the file for more.";
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let Arguments { query, max_results } = arguments;
        let max_results = max_results.unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS);
        let (workspace, settings) = (self.workspace.clone(), self.settings);
        let permit = self.searches.clone().acquire_owned().await.map_err(|_| Error::broken_off())?;
        blocking(move |caller| {
            // Of the thread, which may outlive the call.
            let _permit = permit;
            let mut search = Search { workspace: &workspace, settings, caller, bytes: 0, notes: Vec::new(), all: true };
            search.everything(workspace.dir()?.as_ref())?;
            search.tell(&query, max_results)
        })
        .await
    }
}

/// A search under way.
struct Search<'a> {
    workspace: &'a Workspace,
    settings: Settings,
    caller: &'a Caller,
    bytes: u64,
    notes: Vec<Note>,
    /// Whether everything was within the limits.
    all: bool,
}

impl Search<'_> {
    fn everything(&mut self, dir: &Dir) -> Result<(), Error> {
        for path in NOTES {
            self.file(path)?;
        }
        self.folder(dir, FOLDER, 0)
    }

    /// Reads the notes below a folder. What cannot be read, or leads out of the workspace, is no note.
    fn folder(&mut self, dir: &Dir, path: &str, depth: usize) -> Result<(), Error> {
        if depth == MAX_DEPTH {
            self.all = false;
            return Ok(());
        }
        let Ok(entries) = dir.read_dir(path) else { return Ok(()) };
        for entry in entries.flatten() {
            self.caller.check()?;
            if self.notes.len() >= self.settings.max_files || self.bytes >= self.settings.max_bytes {
                self.all = false;
                return Ok(());
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = format!("{path}/{name}");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.folder(dir, &below, depth + 1)?;
            } else if name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("md")) {
                self.file(&below)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str) -> Result<(), Error> {
        self.caller.check()?;
        let Ok(Opened::File(file, length)) = self.workspace.open(path) else { return Ok(()) };
        let room = self.settings.max_bytes.saturating_sub(self.bytes);
        let mut bytes = Vec::new();
        if file.take(room).read_to_end(&mut bytes).is_err() {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.all &= length <= room;
        let text =
            String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        self.notes.push(Note { path: path.to_owned(), text });
        Ok(())
    }

    fn tell(&self, query: &str, max_results: usize) -> Result<String, Error> {
        let best = rank(&self.notes, query, max_results, self.caller)?;
        let mut told: Vec<String> = best.iter().map(snippet).collect();
        if told.is_empty() {
            told.push("no note fits".to_owned());
        }
        if !self.all {
            told.push(
                "[there are more notes than are searched (`tools.memory.maxFiles`, `tools.memory.maxBytes`)]"
                    .to_owned(),
            );
        }
        Ok(told.join("\n\n"))
    }
}

/// The beginning of a passage, without its blank lines, and where it is.
fn snippet(found: &Found<'_>) -> String {
    let Found { path, passage: Passage { first_line, last_line, text }, .. } = found;
    let mut snippet = format!("{path}:{first_line}-{last_line}");
    let mut room = MAX_SNIPPET_CHARS;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if room == 0 {
            break;
        }
        snippet.push('\n');
        snippet.extend(line.chars().take(room));
        room = room.saturating_sub(line.chars().take(room).count() + 1);
    }
    snippet
}

#[cfg(test)]
mod tests;
