//! Reads a patch.

use std::{iter::Peekable, str::Lines};

use crate::tool::Error;

/// What a patch does to one file.
#[derive(Debug, PartialEq)]
pub(super) enum Operation {
    Add { path: String, content: String },
    Delete { path: String },
    Update { path: String, move_to: Option<String>, chunks: Vec<Chunk> },
}

/// One place of a file that changes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    /// Lines that stand above it, each below the one before.
    pub(super) context: Vec<String>,
    pub(super) lines: Vec<Line>,
    /// Whether the lines are the last ones of the file.
    pub(super) is_at_end: bool,
}

/// One line of a chunk.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Keep(String),
    Remove(String),
    Add(String),
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const END_OF_FILE: &str = "*** End of File";

/// Reads a patch. What stands before its beginning and after its end, such as a here-document, is no part of it.
pub(super) fn parse(patch: &str) -> Result<Vec<Operation>, Error> {
    let mut lines = patch.trim().lines().peekable();
    if lines.next().map(str::trim) != Some(BEGIN) {
        return Err(Error(format!("the patch must begin with `{BEGIN}`")));
    }
    let mut operations = Vec::new();
    loop {
        let Some(line) = lines.next().map(str::trim_end) else {
            return Err(Error(format!("the patch must end with `{END}`")));
        };
        if line.trim().is_empty() {
            continue;
        }
        operations.push(if let Some(path) = header(line, "*** Add File:")? {
            Operation::Add { path, content: added(&mut lines)? }
        } else if let Some(path) = header(line, "*** Delete File:")? {
            Operation::Delete { path }
        } else if let Some(path) = header(line, "*** Update File:")? {
            let target = lines.peek().map(|line| header(line.trim_end(), "*** Move to:")).transpose()?.flatten();
            if target.is_some() {
                lines.next();
            }
            update(path, target, &mut lines)?
        } else if line == END {
            break;
        } else {
            return Err(Error(format!(
                "the patch has a line where the head of a file is expected (`*** Add File: `, `*** Update File: ` or \
                 `*** Delete File: `): {line:.80}"
            )));
        });
    }
    if lines.any(|line| !line.trim().is_empty()) {
        return Err(Error(format!("nothing may follow `{END}`")));
    }
    if operations.is_empty() {
        return Err(Error("the patch changes nothing".to_owned()));
    }
    Ok(operations)
}

fn header(line: &str, start: &str) -> Result<Option<String>, Error> {
    let Some(path) = line.strip_prefix(start).map(str::trim) else { return Ok(None) };
    if path.is_empty() {
        return Err(Error(format!("the patch has `{start}` without a path")));
    }
    Ok(Some(path.to_owned()))
}

fn added(lines: &mut Peekable<Lines<'_>>) -> Result<String, Error> {
    let mut content = String::new();
    while let Some(line) = lines.next_if(|line| !line.starts_with("***")) {
        let Some(line) = line.strip_prefix('+') else {
            return Err(Error(format!("each line of an added file must begin with `+`: {line:.80}")));
        };
        content.push_str(line);
        content.push('\n');
    }
    Ok(content)
}

fn update(path: String, move_to: Option<String>, lines: &mut Peekable<Lines<'_>>) -> Result<Operation, Error> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open = Chunk::default();
    while let Some(line) = lines.next_if(|line| line.trim_end() == END_OF_FILE || !line.starts_with("***")) {
        if line.trim_end() == END_OF_FILE {
            open.is_at_end = true;
        } else if let Some(context) = line.strip_prefix("@@") {
            if !open.lines.is_empty() {
                chunks.push(std::mem::take(&mut open));
            }
            // Some models close it as a unified diff does.
            let context = context.trim().trim_end_matches("@@").trim_end();
            if !context.is_empty() {
                open.context.push(context.to_owned());
            }
        } else {
            if open.is_at_end {
                return Err(Error(format!("nothing may follow `{END_OF_FILE}` in `{path}`")));
            }
            open.lines.push(read_line(line)?);
        }
    }
    if !open.lines.is_empty() {
        chunks.push(open);
    } else if !open.context.is_empty() {
        return Err(Error(format!("the patch of `{path}` has `@@` without a change below it")));
    }
    if chunks.is_empty() && move_to.is_none() {
        return Err(Error(format!("the patch changes nothing in `{path}`")));
    }
    Ok(Operation::Update { path, move_to, chunks })
}

fn read_line(line: &str) -> Result<Line, Error> {
    let mut characters = line.chars();
    let rest = |characters: std::str::Chars<'_>| characters.as_str().to_owned();
    match characters.next() {
        // Editors and models strip the space of an empty line.
        None => Ok(Line::Keep(String::new())),
        Some(' ') => Ok(Line::Keep(rest(characters))),
        Some('-') => Ok(Line::Remove(rest(characters))),
        Some('+') => Ok(Line::Add(rest(characters))),
        Some(_) => Err(Error(format!("each line of a change must begin with a space, `-` or `+`: {line:.80}"))),
    }
}
