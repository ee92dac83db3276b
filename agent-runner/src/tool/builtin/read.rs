//! The tool that reads a file, or lists a folder.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    sync::Arc,
};

use cap_std::fs::Dir;
use schemars::JsonSchema;
use serde::Deserialize;

use super::files::Settings;
use crate::{
    tool::{Caller, Error, RunFacts, blocking, function::Function},
    workspace::{Opened, Workspace, refusal},
};

/// What is looked at to tell text from anything else.
const SNIFFED_BYTES: usize = 8192;
/// How far into a file a line is looked for.
const MAX_SCANNED_BYTES: usize = 256 * 1024 * 1024;

/// Reads files of a workspace.
pub(super) struct Read {
    workspace: Arc<Workspace>,
    settings: Settings,
}

/// What `read` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The file or folder, relative to the workspace.
    path: String,
    /// The first line to read; lines count from 1.
    #[serde(default)]
    offset: Option<usize>,
    /// How many lines to read.
    #[serde(default)]
    limit: Option<usize>,
}

impl Read {
    pub(super) fn new(workspace: Arc<Workspace>, settings: Settings) -> Self {
        Self { workspace, settings }
    }
}

impl Function for Read {
    const NAME: &'static str = "read";
    const DESCRIPTION: &'static str = "Read a text file of the workspace, or list a folder. Of a long file only a part \
                                       is read; offset and limit choose which lines.";
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let (workspace, settings) = (self.workspace.clone(), self.settings);
        blocking(move |caller| {
            let Arguments { path, offset, limit } = arguments;
            match workspace.open(&path)? {
                Opened::Folder(dir) => list(&dir, &path, settings, caller),
                Opened::File(file, length) => {
                    let first = offset.unwrap_or(1).max(1);
                    let count = limit.unwrap_or(usize::MAX).clamp(1, settings.max_read_lines.max(1));
                    let part = Part { first, count, max_bytes: settings.max_read_bytes };
                    part.read(&mut BufReader::with_capacity(64 * 1024, file), &path, length, caller)
                }
            }
        })
        .await
    }
}

/// Which lines are wanted.
struct Part {
    first: usize,
    count: usize,
    max_bytes: usize,
}

/// Why reading ended.
#[derive(PartialEq)]
enum End {
    File,
    Lines,
    Bytes,
}

impl Part {
    fn read(&self, file: &mut impl BufRead, path: &str, length: u64, caller: &Caller) -> Result<String, Error> {
        let failed = |error| refusal("read", path, &error);
        let start = file.fill_buf().map_err(failed)?;
        if !is_text(&start[..start.len().min(SNIFFED_BYTES)]) {
            return Err(Error(format!(
                "`{path}` is not UTF-8 text ({length} bytes); a program that knows its format can read it"
            )));
        }
        let (mut wanted, mut line, mut scanned) = (Vec::new(), 1, 0);
        let end = loop {
            caller.check()?;
            let buffer = file.fill_buf().map_err(failed)?;
            if buffer.is_empty() {
                break End::File;
            }
            if line >= self.first.saturating_add(self.count) {
                break End::Lines;
            }
            if scanned > MAX_SCANNED_BYTES {
                return Err(Error(format!("line {} of `{path}` is too far into the file to be read", self.first)));
            }
            let newline = buffer.iter().position(|&byte| byte == b'\n');
            let length = newline.map_or(buffer.len(), |newline| newline + 1);
            if line >= self.first {
                let room = self.max_bytes - wanted.len();
                wanted.extend_from_slice(&buffer[..length.min(room)]);
                if length > room {
                    break End::Bytes;
                }
            }
            file.consume(length);
            scanned += length;
            line += usize::from(newline.is_some());
        };
        self.tell(wanted, line, &end, path)
    }

    /// The text, with how to read on. `line` is the one that reading ended at.
    fn tell(&self, mut wanted: Vec<u8>, line: usize, end: &End, path: &str) -> Result<String, Error> {
        if *end == End::File {
            return match (wanted.is_empty(), self.first) {
                (false, _) => Ok(String::from_utf8_lossy(&wanted).into_owned()),
                (true, 1) => Ok("[the file is empty]".to_owned()),
                (true, first) => Err(Error(format!("`{path}` ends before line {first}"))),
            };
        }
        // A line that does not fit beside those before it is read next time; one that never fits is cut.
        let whole_lines = wanted.iter().rposition(|&byte| byte == b'\n').map(|newline| newline + 1);
        let is_cut = *end == End::Bytes && line == self.first;
        if let (End::Bytes, false, Some(length)) = (end, is_cut, whole_lines) {
            wanted.truncate(length);
        }
        let mut text = String::from_utf8_lossy(&wanted).into_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let next = if is_cut {
            let _ = writeln!(text, "[line {line} is longer than {} bytes and cut]", self.max_bytes);
            line + 1
        } else {
            line
        };
        let _ = write!(text, "[the file goes on; read on with offset {next}]");
        Ok(text)
    }
}

fn is_text(start: &[u8]) -> bool {
    if start.contains(&0) {
        return false;
    }
    match std::str::from_utf8(start) {
        Ok(_) => true,
        // A character may be cut where the look ends.
        Err(error) => error.error_len().is_none(),
    }
}

/// The names in a folder: `/` marks a folder, `@` a symbolic link.
fn list(dir: &Dir, path: &str, settings: Settings, caller: &Caller) -> Result<String, Error> {
    let failed = |error| refusal("list", path, &error);
    let (mut names, mut bytes, mut is_cut) = (Vec::new(), 0, false);
    for entry in dir.entries().map_err(failed)? {
        caller.check()?;
        let entry = entry.map_err(failed)?;
        let mut name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(kind) = entry.file_type() {
            let is_marked = [(kind.is_dir(), '/'), (kind.is_symlink(), '@')];
            name.extend(is_marked.iter().filter(|(is, _)| *is).map(|(_, mark)| mark));
        }
        bytes += name.len() + 1;
        if names.len() == settings.max_read_lines || bytes > settings.max_read_bytes {
            is_cut = true;
            break;
        }
        names.push(name);
    }
    names.sort();
    if is_cut {
        names.push("[there is more in this folder than can be listed]".to_owned());
    } else if names.is_empty() {
        names.push("[the folder is empty]".to_owned());
    }
    Ok(names.join("\n"))
}

#[cfg(test)]
mod tests;
